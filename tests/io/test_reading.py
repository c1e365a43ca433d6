"""Finding formats: by scanning a folder, and by content."""

import importlib
import sys

import numpy as np
import pytest

from merit_hf.io import formats, known_formats, load_sample, read_ecg, reading


def test_every_format_offers_what_its_package_asks_for():
    assert set(known_formats()) >= {"csv", "npy", "npz", "parquet", "wfdb"}
    for known in known_formats().values():
        assert isinstance(known.NAME, str)
        assert all(extension.startswith(".") and extension.islower() for extension in known.EXTENSIONS)
        assert known.__doc__


def test_a_new_format_is_a_new_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(
        "import numpy as np\n"
        "from merit_hf.io import EcgRecord\n"
        "NAME, EXTENSIONS = 'Toy', ('.toy',)\n"
        "def matches(path, head):\n    return head.startswith(b'TOY')\n"
        "def read(path, *, gain=1.0):\n"
        "    counts = np.frombuffer(path.read_bytes()[3:], np.int8)\n"
        "    return EcgRecord(counts[None] / gain, 100, ('II',))\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    reading._packaged_formats.cache_clear()
    try:
        (tmp_path / "ecg").write_bytes(b"TOY" + bytes([1, 2, 4]))
        assert read_ecg(tmp_path / "ecg", gain=2.0).signal.tolist() == [[0.5, 1.0, 2.0]]
    finally:
        reading._packaged_formats.cache_clear()
        sys.modules.pop("merit_hf.io.formats.toy", None)
        importlib.invalidate_caches()


def test_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="No such ECG"):
        read_ecg(tmp_path / "absent")
    with pytest.raises(ValueError, match="is a folder"):
        read_ecg(tmp_path)


def test_text_that_is_no_table(tmp_path):
    (tmp_path / "note.txt").write_text("an ECG was recorded\non Monday\n")
    with pytest.raises(ValueError, match=r"note\.txt"):
        read_ecg(tmp_path / "note.txt", sampling_rate=100)
    (tmp_path / "note").write_text("an ECG was recorded\non Monday\n")
    with pytest.raises(ValueError, match="Known formats"):
        read_ecg(tmp_path / "note")


def test_the_sample_is_a_standard_ecg_with_a_report():
    record = load_sample()
    assert record.signal.shape == (12, 5000)
    assert record.sampling_rate == 500
    assert np.isfinite(record.signal).all()
    assert 0.3 < np.ptp(record.signal, axis=1).max() < 10  # millivolts
    assert record.report
    # The limb leads of a recording obey Einthoven's law to within the rounding of its counts.
    assert np.abs(record.signal[2] - (record.signal[1] - record.signal[0])).max() < 0.01
