"""Arrays in NumPy, CSV and Parquet files, written by those libraries and read back."""

import numpy as np
import pytest

from merit_hf.io import read_ecg

LEADS = ["I", "II", "V1"]


@pytest.fixture
def signal():
    values = np.random.default_rng(0).standard_normal((3, 200)).round(4)
    values[1, 5:8] = np.nan
    return values


def same(record, signal, leads=("I", "II", "V1"), rate=250.0):
    np.testing.assert_array_equal(record.signal, signal.astype(np.float32))
    assert record.lead_names == tuple(leads)
    assert record.sampling_rate == rate
    return True


def test_npy(tmp_path, signal):
    path = tmp_path / "ecg.bin"  # what decides is the content, not the name
    with path.open("wb") as file:
        np.save(file, signal)
    assert same(read_ecg(path, sampling_rate=250, lead_names=LEADS), signal)
    assert same(read_ecg(str(path), sampling_rate=250, lead_names=LEADS, units="uV"), signal / 1000)


def test_npz_brings_its_own_facts(tmp_path, signal):
    path = tmp_path / "ecg.npz"
    np.savez(path, signal=signal * 1e3, sampling_rate=250, lead_names=LEADS, units="uV", report="sinus rhythm", age=61)
    record = read_ecg(path)
    np.testing.assert_allclose(record.signal, signal, rtol=1e-6)
    assert (record.report, record.age, record.sex, record.units) == ("sinus rhythm", 61.0, None, "mV")
    with pytest.raises(ValueError, match=r"says sampling_rate is 250.0, but sampling_rate=500 was given"):
        read_ecg(path, sampling_rate=500)


def test_npz_with_counts(tmp_path):
    counts = np.random.default_rng(0).integers(-3000, 3000, (3, 400)).astype(np.int16)
    path = tmp_path / "ecg.npz"
    np.savez(path, signal=counts, sampling_rate=500, lead_names=LEADS, adc_gain=np.array([200.0, 1000.0, 333.0]))
    expected = (counts / np.array([[200.0], [1000.0], [333.0]])).astype(np.float32)
    assert same(read_ecg(path), expected, rate=500.0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_csv_with_names(tmp_path, signal, delimiter):
    path = tmp_path / "ecg.table"
    np.savetxt(path, signal.T, delimiter=delimiter, header=delimiter.join(LEADS), comments="", fmt="%.4f")
    assert same(read_ecg(path, sampling_rate=250), signal)


def test_csv_of_pandas_with_index_gaps_and_units(tmp_path, signal):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame((signal * 1000).T, columns=["I (uV)", "II (uV)", "v1 [µV]"])
    frame.insert(0, "time (s)", np.arange(200) / 250)
    path = tmp_path / "ecg.csv"
    frame.to_csv(path)
    record = read_ecg(path, sampling_rate=250)
    np.testing.assert_allclose(record.signal, signal, rtol=1e-6)
    assert record.lead_names == ("I", "II", "V1")


def test_csv_without_names_and_with_stated_facts(tmp_path, signal):
    path = tmp_path / "ecg.csv"
    body = "\n".join(",".join(map(str, row)) for row in signal.T)
    path.write_text(f"# sampling_rate: 250\n# units: uV\n{body}\n")
    record = read_ecg(path, lead_names=LEADS)
    np.testing.assert_allclose(record.signal, signal / 1000, rtol=1e-6)


def test_parquet(tmp_path, signal):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.table({"time": np.arange(200) / 250} | dict(zip(LEADS, signal, strict=True)))
    parquet.write_table(table, tmp_path / "plain")
    assert same(read_ecg(tmp_path / "plain", sampling_rate=250), signal)
    stated = table.replace_schema_metadata({"sampling_rate": "250", "units": "uV"})
    parquet.write_table(stated, tmp_path / "stated")
    np.testing.assert_allclose(read_ecg(tmp_path / "stated").signal, signal / 1000, rtol=1e-6)


def test_parquet_with_nulls(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"II": pyarrow.array([1, None, 3], pyarrow.int16())}), tmp_path / "ecg")
    record = read_ecg(tmp_path / "ecg", sampling_rate=100, units="mV")
    np.testing.assert_array_equal(record.signal, [[1, np.nan, 3]])


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.npy", np.ones((3, 9)), {"lead_names": LEADS}, "sampling_rate="),
        ("a.npy", np.ones((3, 9)), {"sampling_rate": 100}, "lead_names="),
        ("a.npy", np.ones((9, 3)), {"sampling_rate": 100, "lead_names": LEADS}, "transposed"),
        ("a.npy", np.ones((3, 9)), {"sampling_rate": 100, "lead_names": LEADS, "units": "g"}, "Unknown units 'g'"),
        ("a.npy", np.ones((3, 9)), {"sampling_rate": 100, "lead_names": ["I", "II", "W"]}, "Unknown lead name 'W'"),
        ("a.npy", np.ones((3, 9)), {"rate": 100}, "does not take rate. It takes: sampling_rate="),
        ("a.npy", np.array(["a"]), {"sampling_rate": 100, "lead_names": ["I"]}, "real numbers"),
        ("a.npy", b"\x93NUMPY\x01\x00v", {}, "cannot be read as a NumPy array"),
        ("a.npy", b"not an array", {}, "cannot be read as a NumPy array"),
        ("a.npz", {"x": np.ones((3, 9))}, {}, "no entry 'signal' but x"),
        ("a.npz", {"signal": np.ones((1, 9)), "sampling_rate": 9, "lead_names": ["I"], "adc_gain": 0}, {}, "adc_gain"),
        ("a.npz", b"PK\x03\x04 broken", {}, "cannot be read as a NumPy archive"),
        ("a.csv", "I,II\n1,2\n3\n", {"sampling_rate": 100}, "line 3: 1 fields, expected 2"),
        ("a.csv", "I,II\n1,2\n3,x\n", {"sampling_rate": 100}, "line 3.*'x'"),
        ("a.csv", "I,II\n", {"sampling_rate": 100}, "no samples"),
        ("a.csv", "I (uV),II (mV)\n1,2\n", {"sampling_rate": 100}, "different units"),
        ("a.csv", "I,II\n1,2\n", {}, "sampling_rate="),
        ("a.csv", "1,2,3\n4,5,6\n", {"sampling_rate": 100, "lead_names": ["I", "II"]}, "transpose"),
        ("a.csv", "I,label\n1,2\n", {"sampling_rate": 100}, "Unknown lead name 'label'"),
        ("a.parquet", b"PAR1 broken", {}, "cannot be read as Parquet"),
        ("a.xyz", b"\x00\x01\x02", {}, "no format that can be read. Known formats"),
        ("a.csv", b"", {}, "empty"),
    ],
)
def test_each_fault_gives_one_line(tmp_path, name, content, options, message):
    write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(tmp_path / name, **options)
    assert "\n" not in str(caught.value)


def test_a_part_of_a_corpus_is_no_ecg(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"signal": [[1, 2]], "num_samples": [2]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="load_corpus"):
        read_ecg(tmp_path / "train.parquet")


def digitised(path, signal, header, times):
    """Three leads of a second each below each other on paper: every lead has its own third of the rows."""
    rows = [
        [f"{time:.3f}", *("" if np.isnan(value) else f"{value:.4f}" for value in sample)]
        for time, sample in zip(times, signal.T, strict=True)
    ]
    path.write_text("\n".join(",".join(row) for row in [header, *rows]))
    return path


@pytest.mark.parametrize(("name", "unit"), [("time (s)", 1), ("time_ms", 1000), ("t [ms]", 1000), ("Seconds", 1)])
def test_csv_of_digitised_paper_says_its_rate_by_its_times(tmp_path, signal, name, unit):
    signal[0, 70:] = signal[2, :140] = np.nan
    path = digitised(tmp_path / "paper.csv", signal, [name, *LEADS], np.arange(200) / 250 * unit)
    assert same(read_ecg(path), signal)
    assert same(read_ecg(path, sampling_rate=250), signal)
    with pytest.raises(ValueError, match="sampling_rate is 500 Hz, but its column of time says 250 Hz"):
        read_ecg(path, sampling_rate=500)


def test_csv_with_uneven_times_is_refused(tmp_path, signal):
    times = np.arange(200) / 250
    times[100:] += 1
    path = digitised(tmp_path / "paper.csv", signal, ["time (s)", *LEADS], times)
    with pytest.raises(ValueError, match=r"'time \(s\)' has uneven steps"):
        read_ecg(path)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_with_decimal_commas(tmp_path, signal, delimiter):
    lines = [delimiter.join(LEADS), *(delimiter.join(f"{value:.4f}" for value in row) for row in signal.T)]
    (tmp_path / "ecg.csv").write_text("\n".join(lines).replace(".", ","))
    assert same(read_ecg(tmp_path / "ecg.csv", sampling_rate=250), signal)
