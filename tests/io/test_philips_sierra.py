"""Philips Sierra XML: a genuine file against the sierraecg library, and files compressed here and read back."""

import base64

import numpy as np
import pytest
from damaged_copies import damages, read_right_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from merit_hf.io import read_ecg
from merit_hf.leads_merit import STANDARD_12

GENUINE = "formats/philips_sierra/2020-5-18_15-48-11.xml"


# -- writing the format, from its description


def lzw(data):
    """Codes of 10 bits, highest bit first; no more entries once the table is full."""
    table = {bytes([code]): code for code in range(256)}
    codes, piece = [], b""
    for value in data:
        longer = piece + bytes([value])
        if longer in table:
            piece = longer
            continue
        codes.append(table[piece])
        if len(table) < 1023:
            table[longer] = len(table)
        piece = bytes([value])
    codes.append(table[piece])
    bits = "".join(f"{code:010b}" for code in [*codes, 1023])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def xli(samples):
    """One lead: header, then the compressed high and low bytes of the deltas."""
    x = [int(value) for value in samples]
    second = [2 * x[at - 1] - x[at - 2] - x[at] for at in range(2, len(x))]  # what each delta has to be, before it
    deltas = [x[0], x[1], *(value + 64 for value in second[1:]), 0]
    data = np.array(deltas, dtype=np.int64).astype(np.int16).view(np.uint16)
    packed = lzw((data >> 8).astype(np.uint8).tobytes() + (data & 255).astype(np.uint8).tobytes())
    return len(packed).to_bytes(4, "little") + b"\1\0" + second[0].to_bytes(2, "little", signed=True) + packed


def residuals(counts):
    """Limb leads as XLI stores them: what is left after predicting them."""
    stored = counts.astype(np.int64).copy()
    i, ii, iii = counts[:3].astype(np.int64)
    stored[2] = ii - i - iii
    stored[3] = -counts[3] - (i + ii) // 2
    stored[4] = (i - iii) // 2 - counts[4]
    stored[5] = (ii + iii) // 2 - counts[5]
    return stored


def sierra(counts, rate=500, leads=STANDARD_12, compressed=True, version="1.04", resolution=5, **replaced):
    data = b"".join(map(xli, residuals(counts))) if compressed else counts.astype("<i2").tobytes()
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<restingecgdata xmlns="http://www3.medical.philips.com">
 <documentinfo><documentname>doc-7</documentname><documenttype>PhilipsECG</documenttype>
  <documentversion>{version}</documentversion></documentinfo>
 <dataacquisition date="2020-05-18" time="15:48:11"><machine>PageWriter</machine><signalcharacteristics>
  <samplingrate>{rate}</samplingrate><resolution>{resolution}</resolution><acquisitiontype>10-WIRE</acquisitiontype>
 </signalcharacteristics></dataacquisition>
 <patient><generalpatientdata><patientid>MRN-0815</patientid>
  <name><lastname>Mustermann</lastname><firstname>Erika</firstname></name>
  <age><dateofbirth>1951-01-01</dateofbirth></age><sex>Female</sex></generalpatientdata></patient>
 <interpretations>
  <interpretation date="2020-05-18" time="15:48:11">
   <statement><leftstatement>Machine says so</leftstatement></statement></interpretation>
  <interpretation date="2020-05-19" time="08:00:00">
   <mdsignatureline>Confirmed by Hippokrates</mdsignatureline><severity>- ABNORMAL ECG -</severity>
   <statement><leftstatement>Atrial fibrillation</leftstatement><rightstatement>no P</rightstatement></statement>
  </interpretation></interpretations>
 <waveforms><parsedwaveforms dataencoding="Base64" compression="{"XLI" if compressed else "Uncompressed"}"
  numberofleads="{len(leads)}" leadlabels="{" ".join(leads)}" durationperchannel="{counts.shape[1] * 1000 // rate}"
  samplespersecond="{rate}" resolution="{resolution}">{base64.b64encode(data).decode()}</parsedwaveforms></waveforms>
</restingecgdata>"""
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return text


def counts_of(num_samples=1000, largest=300):
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.integers(-9, 10, (12, num_samples)), axis=1)
    counts = np.clip(walk, -largest, largest)
    counts[2] = counts[1] - counts[0] + rng.integers(-1, 2, num_samples)  # limb leads as a device would have them
    counts[3] = -(counts[0] + counts[1]) // 2
    counts[4] = (counts[0] - counts[2]) // 2
    counts[5] = (counts[1] + counts[2]) // 2
    return counts


def written(folder, text, name="ecg.bin"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_values_names_and_facts(tmp_path, compressed):
    counts = counts_of()
    record = read_ecg(written(tmp_path, sierra(counts, compressed=compressed)))
    np.testing.assert_array_equal(record.signal, (counts / 200).astype(np.float32))
    assert record.lead_names == STANDARD_12
    assert (record.sampling_rate, record.units, record.record_id) == (500.0, "mV", "doc-7")
    assert (record.age, record.sex) == (69.0, "female")
    assert record.report == "Atrial fibrillation. ABNORMAL ECG"
    assert record.metadata["start"] == "2020-05-18T15:48:11"
    assert record.metadata["device"] == "PageWriter"
    assert record.metadata["adc_gain"].tolist() == [200.0] * 12


@settings(max_examples=50, deadline=None)
@given(lead=st.lists(st.integers(-8000, 8000), min_size=3, max_size=300))
def test_any_lead_survives_its_compression(tmp_path_factory, lead):
    counts = np.zeros((12, len(lead)), dtype=np.int64)
    counts[[0, 7]] = lead
    path = written(tmp_path_factory.mktemp("xli"), sierra(counts, rate=1000))
    record = read_ecg(path, keep_calibration=True)
    np.testing.assert_array_equal(record.signal, (counts / 200).astype(np.float32))


def test_the_patient_stays_in_the_file_unless_asked_for(tmp_path):
    path = written(tmp_path, sierra(counts_of()))
    said = repr(read_ecg(path))
    for secret in ("Mustermann", "Erika", "MRN-0815", "1951", "Hippokrates"):
        assert secret not in said
    patient = read_ecg(path, include_patient=True).metadata["patient"]
    assert patient == {"name": "Erika Mustermann", "id": "MRN-0815", "birth_date": "1951-01-01"}


def test_the_calibration_pulse_is_no_ecg(tmp_path):
    counts = counts_of(1000)
    counts[:, 900:] = 0
    counts[:, 920:970] = 200
    path = written(tmp_path, sierra(counts))
    record = read_ecg(path)
    np.testing.assert_array_equal(record.signal, (counts[:, :900] / 200).astype(np.float32))
    assert record.metadata["calibration_samples"] == 100
    assert read_ecg(path, keep_calibration=True).signal.shape == (12, 1000)
    counts[5, 999] = 1  # no longer the same in all leads to the end: the ECG's own
    assert read_ecg(written(tmp_path, sierra(counts))).signal.shape == (12, 1000)


def test_leads_of_other_names(tmp_path):
    leads = [*STANDARD_12[:11], "Q7"]
    path = written(tmp_path, sierra(counts_of(), leads=leads))
    with pytest.raises(ValueError, match="Unknown lead name 'Q7'"):
        read_ecg(path)
    record = read_ecg(path, skip_unknown_leads=True)
    assert record.lead_names == STANDARD_12[:11]
    assert record.metadata["other_signals"] == ["Q7"]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"PhilipsECG": "MortaraECG"}, "is of type MortaraECG 1.04, expected SierraECG or PhilipsECG in version 1.03"),
        ({">1.04<": ">1.05<"}, "is of type PhilipsECG 1.05"),
        ({">1.04<": "><"}, "is of type PhilipsECG None"),
        ({"parsedwaveforms": "otherwaveforms"}, "lacks its element parsedwaveforms"),
        ({"signalcharacteristics": "other"}, "lacks its element signalcharacteristics"),
        ({'samplespersecond="500"': 'samplespersecond="250"'}, "samplingrate is 250 and 500, expected one number"),
        ({'resolution="5"': 'resolution="-5"', "<resolution>5": "<resolution>-5"}, "-5 uV per count"),
        ({'durationperchannel="2000"': 'durationperchannel="2200"'}, "lead 1 of 12 does not have the 1100 samples"),
        ({'durationperchannel="2000"': 'durationperchannel="1800"'}, "lead 1 of 12 does not have the 900 samples"),
        ({'durationperchannel="2000"': 'durationperchannel="9e99"'}, "expected the length of an ECG"),
        ({'dataencoding="Base64"': 'dataencoding="Plain"'}, "dataencoding is 'Plain'"),
        ({'"XLI"': '"ZIP"'}, "compression is 'ZIP'"),
        ({'"XLI"': '"Uncompressed"'}, "bytes of samples, expected 2 x 1000 samples x 12 leads"),
        ({'numberofleads="12"': 'numberofleads="13"'}, "numberofleads is 13"),
        ({"I II III": "I II II"}, "holds lead II twice"),
    ],
)
def test_a_faulty_file_gives_one_line(tmp_path, replaced, message):
    path = written(tmp_path, sierra(counts_of(), **replaced))
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limb_leads_of_unknown_coding_are_refused(tmp_path):
    counts = counts_of()
    with pytest.raises(ValueError, match="unclear how limb leads are stored"):
        read_ecg(written(tmp_path, sierra(residuals(counts), compressed=False)))


def test_chunks_that_point_backwards_end(tmp_path):
    data = b"".join(map(xli, residuals(counts_of())))
    size = int.from_bytes(data[:4], "little")
    for wrong in (-8, -size, 0, 2**31 - 1):
        faulty = wrong.to_bytes(4, "little", signed=True) + data[4:]
        text = sierra(counts_of()).replace(base64.b64encode(data).decode(), base64.b64encode(faulty).decode())
        with pytest.raises(ValueError, match="damaged or truncated in the samples of lead 1 of 12"):
            read_ecg(written(tmp_path, text))


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("sierra"), sierra(counts_of()), "ecg.xml")
    return path, path.read_bytes(), read_ecg(path)


@settings(max_examples=100, deadline=None)
@given(damage=damages)
def test_damaged_copies_are_read_right_or_refused(intact, damage):
    read_right_or_refused(*intact[:2], damage, intact[2])


# -- genuine files


def truth(path):
    sierraecg = pytest.importorskip("sierraecg")
    leads = sierraecg.read_file(str(path)).leads
    return tuple(lead.label for lead in leads), np.stack([lead.samples for lead in leads])


def test_a_genuine_file_as_the_library_reads_it(real_data):
    path = real_data / GENUINE
    names, counts = truth(path)
    record = read_ecg(path, keep_calibration=True)
    assert record.lead_names == names
    np.testing.assert_array_equal(record.signal, (counts * 5 / 1000).astype(np.float32))
    assert read_ecg(path).signal.shape == (12, 5300)
    np.testing.assert_array_equal(read_ecg(path).signal, record.signal[:, :5300])
    assert read_ecg(path).metadata["calibration_samples"] == 200
    assert record.report == "Sinus rhythm. Abnormal R-wave progression, early transition. OTHERWISE NORMAL ECG"


def test_version_1_03_as_the_library_reads_it(real_data, tmp_path):
    text = (real_data / "formats/philips_sierra/invalid-doc-type.xml").read_text("utf-8")
    path = written(tmp_path, text.replace("MortaraECG", "SierraECG"))
    names, counts = truth(path)
    record = read_ecg(path, keep_calibration=True)
    assert record.lead_names == names
    np.testing.assert_array_equal(record.signal, (counts * 5 / 1000).astype(np.float32))
    assert (record.age, record.sex, record.sampling_rate) == (50.0, "male", 500.0)
    assert record.report.endswith(">>> Acute MI <<<. ABNORMAL ECG")


@pytest.mark.parametrize("name", ["invalid-doc-type.xml", "invalid-doc-version.xml"])
def test_what_only_looks_like_it_is_refused(real_data, name):
    with pytest.raises(ValueError, match=r"is of type \w+ [\d.]+, expected SierraECG or PhilipsECG in version 1.03"):
        read_ecg(real_data / "formats/philips_sierra" / name)


@pytest.fixture(scope="module")
def genuine(real_data, tmp_path_factory):
    path = real_data / GENUINE
    return tmp_path_factory.mktemp("sierra") / path.name, path.read_bytes(), read_ecg(path)


@settings(max_examples=60, deadline=None)
@given(damage=damages)
def test_damaged_copies_of_a_genuine_file(genuine, damage):
    read_right_or_refused(*genuine[:2], damage, genuine[2])
