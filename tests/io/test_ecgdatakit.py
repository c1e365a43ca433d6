"""ISHNE, Mortara ELI, MFER and Kardia JSON made byte by byte; the ecgdatakit library as an oracle of our readers."""

import base64
import binascii
import json
import struct
import warnings

import numpy as np
import pytest
from damaged_copies import read_right_or_refused, truncated

from merit_hf.io import read_ecg

parsing = pytest.importorskip("ecgdatakit.parsing")
COUNTS = np.random.default_rng(0).integers(-900, 900, (2, 600)).astype("<i2")


def ishne(rate=200, nanovolts=(2500, 5000), codes=(5, 6), counts=COUNTS):
    header = bytearray(522)
    header[:8] = b"ISHNE1.0"
    struct.pack_into("<iiiih", header, 10, 0, counts.shape[1], 522, 522, 1)
    header[28:33], header[68:71] = b"Erika", b"Doe"
    struct.pack_into("<h", header, 156, len(codes))
    struct.pack_into(f"<{len(codes)}h", header, 158, *codes)
    struct.pack_into(f"<{len(nanovolts)}h", header, 206, *nanovolts)
    struct.pack_into("<h", header, 272, rate)
    struct.pack_into("<H", header, 8, binascii.crc_hqx(bytes(header[10:]), 0xFFFF))
    return bytes(header) + counts.T.tobytes()


def kardia(**changes):
    block = {"frequency": 300, "mainsFrequency": 50, "gain": 1e6, "amplitudeResolution": 500, "numLeads": 2}
    samples = {"leadI": COUNTS[0].tolist(), "leadII": COUNTS[1].tolist()}
    document = {
        "id": "1",
        "recordedAt": "2020-01-01T10:00:00Z",
        "data": {"raw": block | {"samples": samples} | changes},
    }
    return json.dumps(document).encode()


def eli(units_per_mv="200", offset="0"):
    channels = "".join(
        f'<CHANNEL NAME="{name}" UNITS_PER_MV="{units_per_mv}" SAMPLE_FREQ="500" DURATION="600" BITS="16" '
        f'OFFSET="{offset}" FORMAT="SIGNED" ENCODING="BASE64" DATA="{base64.b64encode(row.tobytes()).decode()}"/>'
        for name, row in zip(("I", "V6"), COUNTS, strict=True)
    )
    return f'<?xml version="1.0"?><ECG ACQUISITION_TIME="20200101100000">{channels}</ECG>'.encode()


def mfer(lead_codes=(1, 65), sensitivity=True):
    def field(tag, value):
        return bytes([tag, len(value)]) + value

    body = field(0x40, b"MFR ".ljust(32)) + field(0x01, b"\1") + field(0x04, struct.pack("<H", 600))
    body += field(0x05, struct.pack("<H", 2)) + field(0x06, struct.pack("<H", 1)) + field(0x0A, b"\0")
    body += field(0x0B, struct.pack("<BbH", 1, -3, 2))  # 2 thousandths of a second
    body += field(0x0C, struct.pack("<BbH", 0, -6, 5)) if sensitivity else b""  # 5 millionths of a volt
    for channel, code in enumerate(lead_codes):
        body += bytes([0x3F, channel]) + bytes([4]) + field(0x09, struct.pack("<H", code))
    data = COUNTS.tobytes()
    return body + bytes([0x1E, 0x82]) + struct.pack(">H", len(data)) + data + b"\x80\x00"


def write(path, content):
    path.write_bytes(content)
    return path


def test_kardia(tmp_path):
    record = read_ecg(write(tmp_path / "ecg.json", kardia()))
    np.testing.assert_allclose(record.signal, COUNTS * 0.0005, rtol=1e-6)
    assert (record.lead_names, record.sampling_rate) == (("I", "II"), 300.0)
    assert record.metadata["format"] == "Kardia JSON"
    with pytest.raises(ValueError, match="lead I has no unit"):
        read_ecg(write(tmp_path / "ecg.json", kardia(amplitudeResolution=None)))
    with pytest.raises(ValueError, match="damaged, truncated or unusual Kardia JSON"):
        read_ecg(write(tmp_path / "ecg.json", kardia(frequency="nan")))


def test_mortara_eli(tmp_path):
    record = read_ecg(write(tmp_path / "ecg.xml", eli()))
    np.testing.assert_allclose(record.signal, COUNTS / 200, rtol=1e-6)
    assert (record.lead_names, record.sampling_rate) == (("I", "V6"), 500.0)
    with pytest.raises(ValueError, match="lead I has no unit"):
        read_ecg(write(tmp_path / "ecg.xml", eli(units_per_mv="")))
    with pytest.raises(ValueError, match="offsets"):
        read_ecg(write(tmp_path / "ecg.xml", eli(offset="12")))


def test_mfer(tmp_path):
    record = read_ecg(write(tmp_path / "ecg.mwf", mfer(lead_codes=(1, 2))))
    np.testing.assert_allclose(record.signal, COUNTS * 0.005, rtol=1e-6)
    assert (record.lead_names, record.sampling_rate) == (("I", "II"), 500.0)
    with pytest.raises(ValueError, match="'-aVR'"):  # a turned lead is not the standard one
        read_ecg(write(tmp_path / "ecg.mwf", mfer()))
    assert read_ecg(write(tmp_path / "ecg.mwf", mfer()), skip_unknown_leads=True).lead_names == ("I",)


def test_ishne(tmp_path):
    record = read_ecg(write(tmp_path / "ecg.ecg", ishne()))
    np.testing.assert_allclose(record.signal, COUNTS * [[0.0025], [0.005]], rtol=1e-6)
    assert record.sampling_rate == 200
    assert record.metadata["format"] == "ISHNE Holter"
    assert "patient" not in record.metadata
    assert read_ecg(tmp_path / "ecg.ecg", include_patient=True).metadata["patient"]["name"] == "Erika Doe"
    damaged = bytearray(ishne())
    damaged[300] ^= 1
    with pytest.raises(ValueError, match="damaged or truncated ISHNE Holter"):
        read_ecg(write(tmp_path / "ecg.ecg", bytes(damaged)))
    with pytest.raises(ValueError, match="no unit"):
        read_ecg(write(tmp_path / "ecg.ecg", ishne(nanovolts=(0, 0))))
    with pytest.raises(ValueError, match="ISHNE"):
        read_ecg(write(tmp_path / "ecg.ecg", b"ISHNE1.0" + b"\0" * 514 + b"\1\2" * 3000))


@pytest.mark.parametrize(("make", "name"), [(kardia, "e.json"), (eli, "e.xml"), (lambda: mfer((1, 2)), "e.mwf")])
def test_files_that_are_cut_off(tmp_path, make, name):
    content = make()
    reference = read_ecg(write(tmp_path / name, content))
    for fraction in np.linspace(0.01, 0.99, 25):
        read_right_or_refused(tmp_path / f"cut_{name}", content, truncated(float(fraction)), reference)


ORACLE = [
    "formats/dicom/waveform_ecg.dcm",
    "formats/philips_sierra/*.xml",
    "formats/hl7_aecg_fda/*.xml",
    "ptb-xl/records100/00000/0000[12]_lr.hea",
]


@pytest.mark.parametrize("pattern", ORACLE)
def test_our_readers_agree_with_the_library(real_data, pattern):
    compared = 0
    for path in sorted(real_data.glob(pattern))[:4]:
        try:
            record = read_ecg(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                truth = parsing.FileParser.parse(path)
        except (ValueError, KeyError):  # files that must be refused are looked at elsewhere
            continue
        theirs = {lead.label: np.asarray(lead.samples) for lead in truth.leads}
        for lead, ours in zip(record.lead_names, record.signal, strict=True):
            if lead not in theirs:
                continue
            length = min(len(ours), len(theirs[lead]))
            np.testing.assert_allclose(ours[:length], theirs[lead][:length], atol=1e-6)
            compared += 1
    assert compared >= 2
