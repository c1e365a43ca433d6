"""Plain WFDB records, read without the library: equal to what the library reads, and None for everything else."""

import random

import numpy as np
import pytest

from merit_hf.io import read_ecg
from merit_hf.io.formats import wfdb as wfdb_format
from merit_hf.io.plain_wfdb import PlainRecord, read_plain

wfdb = pytest.importorskip("wfdb")

HEADER = """rec 2 250 100 16:31:00 24/04/2143
rec.dat 16 200(7)/mV 16 0 0 0 0 I
rec.dat 16 200(7)/mV 16 0 0 0 0 II
# <age>: 61 <sex>: F
#Dx: 426783006
"""


def write_samples(folder, num_bytes=2000):
    counts = np.random.default_rng(0).integers(-900, 900, num_bytes // 2).astype("<i2")
    counts[::17] = -32768
    counts.tofile(folder / "rec.dat")


def assert_as_the_library(header, plain):
    truth = wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    for name in PlainRecord.__dataclass_fields__:
        if name != "e_p_signal":
            assert getattr(plain, name) == getattr(truth, name), name
    assert type(plain.fs) is type(truth.fs)
    assert len(plain.e_p_signal) == len(truth.e_p_signal)
    for ours, theirs in zip(plain.e_p_signal, truth.e_p_signal, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("folder", ["ptb-xl/records100", "ptb-xl/records500", "csn", "cpsc2018"])
def test_records_of_corpora_are_all_plain(real_data, folder):
    headers = sorted((real_data / folder).rglob("*.hea"))
    assert len(headers) >= 5
    for header in headers:
        plain = read_plain(header)
        assert plain is not None, header
        assert_as_the_library(header, plain)


def test_hard_cases_are_equal_or_left_to_the_library(real_data):
    headers = sorted((real_data / "formats" / "wfdb_python").rglob("*.hea"))
    plain = {header: record for header in headers if (record := read_plain(header)) is not None}
    for header, record in plain.items():
        assert_as_the_library(header, record)
    assert {header.stem for header in plain} >= {"test01_00s"}
    assert {header.stem for header in headers} - {header.stem for header in plain} >= {
        *(
            "100skew",
            "a103l-no-len",
            "binformats",
            "flacformats",
            "mixedsignals",
            "s0010_re",
            "s25047-2704-05-04-10-44",
        ),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        (" 16:31:00 24/04/2143", ""),
        (" 24/04/2143", ""),
        ("16:31:00 24", "6:31:00.25 4"),
        ("250", "62.4725"),
        ("250", "500.000000001"),
        ("100 ", "37 "),  # the file may hold more
        ("16 200", "16x1 200"),
        ("16 200", "16+24 200"),
        ("200(7)/mV", "200/mV"),  # the baseline is then the converter's zero
        ("16 0 0 0 0 I\n", "16 -12 0 0 0 I\n"),
        ("200(7)/mV 16 0", "200/uV 16 12"),
        ("200(7)/mV", "0(7)/mV"),
        ("200(7)/mV", "204.8(-1024)"),
        (" I\n", " lead one (I)\n"),
        ("0 0 0 0 II", "0 -5 40000 0 II"),  # checksums are not looked at
        ("\nrec.dat", "\r\n\n  rec.dat"),
        ("# <age>", "#\t <age>"),
        ("/mV", "/µV"),
    ],
)
def test_plain_forms(tmp_path, old, new):
    write_samples(tmp_path)
    header = tmp_path / "rec.hea"
    header.write_bytes(HEADER.replace(old, new).encode())
    plain = read_plain(header)
    assert plain is not None
    assert_as_the_library(header, plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rec 2", "rec/1 2"),  # segments
        ("250 100", "250"),  # as long as the file
        ("250", "250/4(0)"),  # a counter beside the rate
        ("16 200", "212 200"),
        ("16 200", "16x2 200"),
        ("16 200", "16:3 200"),
        ("II\n", "II\nrec.dat 16 200(7)/mV 16 0 0 0 0 III\n"),  # one signal more than announced
        ("rec.dat 16 200(7)/mV 16 0 0 0 0 II\n", ""),
        ("rec.dat 16 200(7)/mV 16 0 0 0 0 II", "two.dat 16 200(7)/mV 16 0 0 0 0 II"),
        ("200(7)/mV 16 0 0 0 0 II", "200(7)/mV 16 0 0 0 II"),  # no block size
        ("200(7)/mV 16 0 0 0 0 II", "200(7)/mV"),  # no name
        ("200(7)/mV 16 0 0 0 0 II", ""),
        ("200(7)", "2e2(7)"),
        ("200(7)", "-200(7)"),
        ("24/04/2143", "31/02/2143"),
        ("16:31:00", "16:71:00"),
        ("100", "501"),  # the file is shorter
        ("100", "99999999999"),
        ("rec.dat", "gone.dat"),
    ],
)
def test_everything_else_is_left_to_the_library(tmp_path, old, new):
    write_samples(tmp_path)
    (tmp_path / "rec.hea").write_bytes(HEADER.replace(old, new).encode())
    assert read_plain(tmp_path / "rec.hea") is None


def test_no_header(tmp_path):
    assert read_plain(tmp_path / "rec.hea") is None
    (tmp_path / "rec.hea").write_text("# a comment alone\n")
    assert read_plain(tmp_path / "rec.hea") is None


def test_damaged_headers_are_read_as_the_library_reads_them_or_not_at_all(tmp_path):
    """Headers with one to three characters changed: wherever ours reads one, the library reads the same."""
    write_samples(tmp_path)
    header, generator, num_plain = tmp_path / "rec.hea", random.Random(0), 0
    for _ in range(300):
        text = list(HEADER)
        for _ in range(generator.randint(1, 3)):
            text[generator.randrange(len(text))] = generator.choice("0123456789 \t\n./:()+-xem#I")
        header.write_text("".join(text))
        plain = read_plain(header)
        if plain is not None:
            num_plain += 1
            assert_as_the_library(header, plain)
    assert 50 < num_plain < 250


def test_read_ecg_needs_the_library_for_other_forms_only(tmp_path, real_data, monkeypatch):
    header = real_data / "ptb-xl/records500/00000/00001_hr.hea"
    whole = read_ecg(header)

    def refuse(path, header):
        raise AssertionError("the library is not needed here")

    monkeypatch.setattr(wfdb_format, "_read_any", refuse)
    np.testing.assert_array_equal(read_ecg(header).signal, whole.signal)
    monkeypatch.undo()
    monkeypatch.setattr(wfdb_format, "read_plain", lambda header: None)
    by_library = read_ecg(header)
    np.testing.assert_array_equal(by_library.signal, whole.signal)
    assert by_library.metadata.keys() == whole.metadata.keys()
    for name in ("lead_names", "sampling_rate", "record_id", "age", "sex"):
        assert getattr(by_library, name) == getattr(whole, name)
    np.testing.assert_array_equal(by_library.metadata["adc_gain"], whole.metadata["adc_gain"])
