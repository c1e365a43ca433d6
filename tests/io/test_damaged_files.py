"""Every reader on damaged files: whatever is wrong with the bytes, the outcome is a record or a line with the path."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_ecgdatakit import eli, ishne, kardia, mfer

from merit_hf.io import read_ecg

SIGNAL = np.random.default_rng(0).normal(size=(2, 300)).round(3)
FACTS = {"sampling_rate": 250.0, "lead_names": ["I", "II"], "units": "mV"}
TIMES_PER_FORMAT = 150
# Words of NumPy, the codecs and pydicom, which say nothing to those who read the message.
FOREIGN = ("reshape", "force=", "allow_pickle", "codec", "invalid literal", "convert string", "unpack", "decompress")
HEADER = "rec 2 250 100 16:31:00 24/04/2143\nrec.dat {0} 200(7)/mV 16 0 0 0 0 I\nrec.dat {0} 200(7)/mV 16 0 0 0 0 II\n"


def damaged_copies(content: bytes, times: int, seed: int) -> Iterator[bytes]:
    """Copies that are cut off, or have bits flipped and bytes replaced, left out or added, most of them early on."""
    generator = random.Random(seed)
    for _ in range(times):
        copy = bytearray(content)
        if generator.random() < 0.25:
            yield bytes(copy[: generator.randrange(1, len(copy))])
            continue
        for _ in range(generator.choice([1, 1, 2, 5, 20])):
            at = int(len(copy) * generator.random() ** generator.choice([1, 1, 4, 8]))
            kind = generator.random()
            if kind < 0.5:
                copy[at] ^= 1 << generator.randrange(8)
            elif kind < 0.8:
                copy[at] = generator.choice(b"\x00\xff\x800-.e \n")
            elif kind < 0.9:
                del copy[at : at + generator.randrange(1, 9)]
            else:
                copy[at:at] = generator.randbytes(generator.randrange(1, 9))
            copy = copy or bytearray(b"x")
        yield bytes(copy)


def read_or_one_line(path: Path, **options: object) -> None:
    try:
        record = read_ecg(path, **options)
    except ValueError as error:
        message = str(error)
        assert str(path) in message
        assert "\n" not in message
        assert len(message) < 400
        assert not [word for word in FOREIGN if word in message], message
    else:
        assert not np.isinf(record.signal).any()
        assert 10 <= record.sampling_rate <= 1e5


def arrays_and_tables(folder: Path) -> dict[str, dict[str, object]]:
    """Files of the array formats in a folder, by name, and the options that each needs."""
    scipy_io = pytest.importorskip("scipy.io")
    np.save(folder / "e.npy", SIGNAL)
    np.savez(folder / "e.npz", signal=SIGNAL, **FACTS)
    np.savez_compressed(folder / "c.npz", signal=SIGNAL, **FACTS)
    names = np.array(["I", "II"], dtype=object)
    counts = (SIGNAL * 1000).astype("i2")
    scipy_io.savemat(folder / "e.mat", {"val": counts, "adc_gain": 1000.0, "fs": 250.0, "leads": names})
    scipy_io.savemat(folder / "c.mat", {"val": SIGNAL, "fs": 250.0, "leads": names}, do_compression=True)
    scipy_io.savemat(folder / "4.mat", {"I": SIGNAL[0], "II": SIGNAL[1], "fs": 250.0}, format="4")
    rows = "".join(f"{at / 250:.3f},{a},{b}\n" for at, (a, b) in enumerate(SIGNAL.T))
    (folder / "e.csv").write_text(f"time (s),I,II\n{rows}")
    given = {"sampling_rate": 250, "lead_names": ["I", "II"]}
    return {"e.npy": given, **{name: {} for name in ("e.npz", "c.npz", "e.mat", "c.mat", "4.mat", "e.csv")}}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["e.npy", "e.npz", "c.npz", "e.mat", "c.mat", "4.mat", "e.csv"])
def test_arrays_and_tables(tmp_path, name):
    options = arrays_and_tables(tmp_path)[name]
    content = (tmp_path / name).read_bytes()
    for copy in damaged_copies(content, TIMES_PER_FORMAT, seed=1):
        (tmp_path / f"copy_{name}").write_bytes(copy)
        read_or_one_line(tmp_path / f"copy_{name}", **options)


@pytest.mark.filterwarnings("ignore")
def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"I": SIGNAL[0], "II": SIGNAL[1]}), tmp_path / "e.parquet")
    for copy in damaged_copies((tmp_path / "e.parquet").read_bytes(), TIMES_PER_FORMAT, seed=2):
        (tmp_path / "copy").write_bytes(copy)
        read_or_one_line(tmp_path / "copy", sampling_rate=250)


@pytest.mark.parametrize("form", ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "212x2", "segments"])
def test_wfdb_headers(tmp_path, form):
    (tmp_path / "rec.dat").write_bytes(random.Random(0).randbytes(1700))
    header = HEADER.format(form)
    if form == "segments":
        header = "rec/2 2 250 100\none 50\ntwo 50\n"
        for name in ("one", "two"):
            (tmp_path / f"{name}.hea").write_text(HEADER.format(16).replace("rec 2 250 100", f"{name} 2 250 50"))
    for copy in damaged_copies(header.encode(), TIMES_PER_FORMAT, seed=3):
        (tmp_path / "rec.hea").write_bytes(copy)
        read_or_one_line(tmp_path / "rec")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [ishne, kardia, eli, lambda: mfer((1, 2))], ids=["ishne", "kardia", "eli", "mfer"])
def test_formats_of_ecgdatakit(tmp_path, make):
    content = make()
    for copy in damaged_copies(content, TIMES_PER_FORMAT, seed=4):
        (tmp_path / "copy").write_bytes(copy)
        read_or_one_line(tmp_path / "copy")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "pattern",
    ["formats/dicom/*.dcm", "formats/philips_sierra/*.xml", "formats/hl7_aecg_fda/*.xml", "formats/**/*.edf"],
)
def test_genuine_files(tmp_path, real_data, pattern):
    path = min(real_data.glob(pattern), key=lambda path: (path.stat().st_size > 500_000, -path.stat().st_size))
    for copy in damaged_copies(path.read_bytes(), TIMES_PER_FORMAT // 5, seed=5):
        (tmp_path / "copy").write_bytes(copy)
        read_or_one_line(tmp_path / "copy")
