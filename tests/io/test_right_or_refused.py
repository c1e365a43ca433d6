"""Odd inputs that people have met in the field: read to the right numbers, or refused in one line with a way out.

Each block is one kind of fault, in the formats where it can occur.
"""

import numpy as np
import pandas as pd
import pytest

from merit_hf import EcgRecord, read_ecg, register_format
from merit_hf.io import known_formats, reading
from merit_hf.leads_merit import canonical_lead, canonical_units

RAMP = np.arange(-500, 500, dtype="<i2")
WAVE = np.round(0.3 * np.sin(np.arange(500) / 20), 3)
TWO = np.stack([WAVE, 2 * WAVE])
GIVEN = {"sampling_rate": 250, "lead_names": ["I", "II"]}


def refused(call, *words):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call()
    message = str(caught.value)
    assert len(message) < 400
    for word in words:
        assert word in message


def wfdb(folder, header, samples=RAMP, name="r", encoding="utf-8"):
    (folder / f"{name}.dat").write_bytes(samples.tobytes())
    (folder / f"{name}.hea").write_bytes(header.encode(encoding))
    return folder / name


def csv(folder, text, encoding="utf-8"):
    (folder / "ecg.csv").write_bytes(text.encode(encoding))
    return folder / "ecg.csv"


def saved(folder, values):
    np.save(folder / "ecg.npy", values)
    return folder / "ecg.npy"


SIGNAL_LINE = "r.dat 16 {} 12 0 0 0 0 II\n"
ROWS = "".join(f"{a},{b}\n" for a, b in TWO.T)

# -- units


@pytest.mark.parametrize(
    "units",
    ["µV", "μV", "ÂµV", "Î¼V", "碌V", "渭V", "┬╡V", "uVolt", "micro volt", "Micro-Volts", " uv ", "ﾂｵV"],
)
def test_microvolts_in_any_encoding(units):
    assert canonical_units(units) == "uV"


@pytest.mark.parametrize("units", [".V", "?V", "_V", "\N{REPLACEMENT CHARACTER}V", "", " ", "adu", "mVs", "kV"])
def test_what_may_be_another_unit_is_refused(units):
    refused(lambda: canonical_units(units), "units=")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("sign", ["\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"])
def test_micro_sign_in_a_wfdb_header(tmp_path, sign, encoding):
    if (sign, encoding) == ("\N{GREEK SMALL LETTER MU}", "latin-1"):
        pytest.skip("Latin-1 has no Greek letters")
    path = wfdb(tmp_path, f"r 1 250 1000\n{SIGNAL_LINE.format(f'0.1/{sign}V')}", encoding=encoding)
    assert read_ecg(path).signal[0, -1] == pytest.approx(4.99)


def test_micro_sign_in_segments_and_units_that_differ_between_them(tmp_path):
    for name, gain in (("1", "0.1/µV"), ("2", "100/mV")):
        wfdb(tmp_path, f"{name} 1 250 1000\n{name}.dat 16 {gain} 12 0 0 0 0 II\n", name=name)
    (tmp_path / "3.hea").write_text("3/2 1 250 2000\n1 1000\n2 1000\n")
    signal = read_ecg(tmp_path / "3").signal
    assert signal[0, [0, 999, 1000, 1999]] == pytest.approx([-5, 4.99, -5, 4.99])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "i8", "f4", "f8"])
def test_counts_without_a_unit_are_refused_and_units_is_the_way_out(tmp_path, dtype):
    path = saved(tmp_path, (np.arange(100) % 90 + np.zeros((2, 1))).astype(dtype))
    refused(lambda: read_ecg(path, **GIVEN), "ecg.npy", "units=")
    assert read_ecg(path, units="uV", **GIVEN).signal[0, 89] == pytest.approx(0.089)
    np.savez(tmp_path / "ecg.npz", signal=np.load(path), **GIVEN)
    refused(lambda: read_ecg(tmp_path / "ecg.npz"), "ecg.npz", "units=")
    assert read_ecg(tmp_path / "ecg.npz", units="uV").signal[0, 89] == pytest.approx(0.089)


def test_counts_in_csv_and_mat_are_refused(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    counts = np.stack([np.arange(300), np.arange(300) + 1])
    path = csv(tmp_path, "I,II\n" + "".join(f"{a}.0,{b}\n" for a, b in counts.T))
    refused(lambda: read_ecg(path, sampling_rate=250), "units=")
    scipy_io.savemat(tmp_path / "ecg.mat", {"val": counts.astype(float)})
    refused(lambda: read_ecg(tmp_path / "ecg.mat", **GIVEN), "units=", "adc_gain=")
    assert read_ecg(tmp_path / "ecg.mat", adc_gain=1000, **GIVEN).signal[1, 299] == pytest.approx(0.3)


def test_a_flat_and_a_calibration_signal_are_no_counts(tmp_path):
    assert (read_ecg(saved(tmp_path, np.zeros((2, 50))), **GIVEN).signal == 0).all()
    pulse = np.tile(np.repeat([0.0, 1.0], 25), (2, 1))
    np.testing.assert_array_equal(read_ecg(saved(tmp_path, pulse), **GIVEN).signal, pulse)


def test_the_missing_count_in_arrays_and_tables(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    counts = np.arange(200).reshape(2, 100)
    counts[1, 7] = -32768
    expected = [[], [7]]
    np.savez(tmp_path / "gain.npz", signal=counts.astype("i2"), adc_gain=1000.0, **GIVEN)
    scipy_io.savemat(tmp_path / "ecg.mat", {"val": counts.astype(float)})
    path = csv(tmp_path, "I,II\n" + "".join(f"{a},{b}\n" for a, b in counts.T))
    for record in (
        read_ecg(saved(tmp_path, counts.astype("i2")), units="uV", **GIVEN),
        read_ecg(tmp_path / "gain.npz"),
        read_ecg(tmp_path / "ecg.mat", adc_gain=1000, **GIVEN),
        read_ecg(path, sampling_rate=250, units="uV"),
        EcgRecord(counts, 250, ["I", "II"], units="uV"),
    ):
        assert [np.flatnonzero(np.isnan(row)).tolist() for row in record.signal] == expected
        assert record.signal[1, 99] == pytest.approx(0.199)


def test_counts_of_more_than_16_bits_have_no_such_mark():
    counts = np.array([[-40000, -32768, 0, 40000]])
    assert np.isfinite(EcgRecord(counts, 250, ["I"], units="uV").signal).all()


# -- leads


@pytest.mark.parametrize(
    "name",
    [
        *("Lead -aVR", "LEAD-aVR", "ECG -aVR", "ECG-aVR", "EKG-I", "-I", "+I", "I-", "~II", "!I", "II*", "minus aVR"),
        *("aVR (inverted)", "aVR (-)", "I (reversed)", "II (x -1)", "III (neg.)", "aVR inv", "aVR_inv", "Lead I neg"),
        *("V4 (V4R)", "V1 (V7)", "V1 [V7]", "V3 (right)", "\N{MINUS SIGN}aVR", "\N{EN DASH}aVR", "MDC_ECG_LEAD_-AVR"),
    ],
)
def test_a_lead_that_is_turned_or_moved_is_never_the_standard_one(name):
    refused(lambda: canonical_lead(name), "lead_names=")


@pytest.mark.parametrize("name", ["Lead -aVR", "LEAD-aVR", "aVR (inverted)"])
def test_turned_leads_are_refused_in_every_format(tmp_path, name):
    header = f"r 1 250 1000\nr.dat 16 1000/mV 12 0 0 0 0 {name}\n"
    refused(lambda: read_ecg(wfdb(tmp_path, header)), name, "lead_names=")
    refused(lambda: read_ecg(csv(tmp_path, f"I,{name}\n{ROWS}"), sampling_rate=250), name)
    np.savez(tmp_path / "e.npz", signal=TWO, sampling_rate=250, lead_names=["I", name])
    refused(lambda: read_ecg(tmp_path / "e.npz"), name)


def test_no_lead_of_a_mat_file_disappears(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "ecg.mat", {"I": WAVE, "aVR_inverted": WAVE})
    refused(lambda: read_ecg(tmp_path / "ecg.mat", sampling_rate=250), "aVR_inverted")


@pytest.mark.parametrize("name", ["ECG 1", "EKG2", "II-Ref"])
@pytest.mark.parametrize("units", ["mV", "adu", "NU"])
def test_a_signal_that_says_ecg_is_not_left_out(tmp_path, name, units):
    header = f"r 1 250 1000\nr.dat 16 1000/{units} 12 0 0 0 0 {name}\n"
    refused(lambda: read_ecg(wfdb(tmp_path, header)), name, "channels=", "lead_names=")


# -- time


@pytest.mark.parametrize(
    ("rate", "hertz"), [("3.6e2", 360), ("+360", 360), ("360.", 360), ("360/360(0)", 360), ("62.4725", 62.4725)]
)
def test_rates_as_header5_writes_them(tmp_path, rate, hertz):
    assert read_ecg(wfdb(tmp_path, f"r 1 {rate} 1000\n{SIGNAL_LINE.format('1000/mV')}")).sampling_rate == hertz


@pytest.mark.parametrize("rate", ["-250", "nan", "inf", "0", "0_1.5", "1_000", "250Hz", "0x10", "1e9", "２５０"])
def test_rates_that_are_none(tmp_path, rate):
    refused(lambda: read_ecg(wfdb(tmp_path, f"r 1 {rate} 1000\n{SIGNAL_LINE.format('1000/mV')}")), "r.hea", rate)


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_a_given_rate_decides_over_rounded_times(tmp_path, decimals):
    rows = "".join(f"{round(at / 360, decimals)},{value}\n" for at, value in enumerate(WAVE))
    path = csv(tmp_path, f"time (s),II\n{rows}")
    assert read_ecg(path, sampling_rate=360).sampling_rate == 360
    refused(lambda: read_ecg(path), "sampling_rate=")


def test_an_exact_rate_is_not_rounded(tmp_path):
    rows = "".join(f"{at / 249.89:.6f},{value}\n" for at, value in enumerate(WAVE))
    assert read_ecg(csv(tmp_path, f"time (s),II\n{rows}")).sampling_rate == pytest.approx(249.89, abs=1e-3)


# -- missing samples


@pytest.mark.parametrize("text", ["-", "--", "N/A", "n/a", "#N/A", "NA", "nan", "NaN", "null", "None", "?", ""])
def test_missing_samples_of_a_table(tmp_path, text):
    signal = read_ecg(csv(tmp_path, f"I,II\n{text},{text}\n{ROWS}{text},0.5\n"), sampling_rate=250).signal
    assert signal.shape == (2, 502)
    assert [np.flatnonzero(np.isnan(row)).tolist() for row in signal] == [[0, 501], [0]]


@pytest.mark.parametrize("text", ["inf", "-inf", "1_0", "0x1", "1e", "x"])
def test_what_is_no_sample(tmp_path, text):
    refused(lambda: read_ecg(csv(tmp_path, f"I,II\n{ROWS}{text},1\n"), sampling_rate=250), "line 502", text)


def test_masked_whole_numbers():
    counts = np.arange(20).reshape(2, 10)
    record = EcgRecord(np.ma.MaskedArray(counts, mask=counts == 13), 250, ["I", "II"], units="uV")
    assert np.argwhere(np.isnan(record.signal)).tolist() == [[1, 3]]


# -- numbers that cannot be


@pytest.mark.parametrize("gain", ["1e-30/mV", "1e30/mV", "1e30/uV", "nan/mV", "inf/mV", "1_000/mV"])
def test_gains_that_cannot_be(tmp_path, gain):
    refused(lambda: read_ecg(wfdb(tmp_path, f"r 1 250 1000\n{SIGNAL_LINE.format(gain)}")), "gain")


@pytest.mark.parametrize("factor", [1e5, 1e38, 1e-9, 1e-30])
def test_amplitudes_that_cannot_be(tmp_path, factor):
    values = TWO * factor + 0.1 * factor  # no whole numbers
    refused(lambda: read_ecg(saved(tmp_path, values), **GIVEN), "mV")
    refused(lambda: EcgRecord(values, 250, ["I", "II"]), "mV")
    refused(lambda: read_ecg(csv(tmp_path, "I\n" + "\n".join(map(str, values[0]))), sampling_rate=250), "ecg.csv")


@pytest.mark.parametrize("facts", [{"age": -3}, {"age": 1e9}, {"sampling_rate": -250.0}, {"adc_gain": 1e-30}])
def test_facts_that_cannot_be(tmp_path, facts):
    np.savez(tmp_path / "e.npz", signal=TWO, **({"units": "mV"} | GIVEN | facts))
    refused(lambda: read_ecg(tmp_path / "e.npz"), "e.npz")


# -- odd but clear files


@pytest.mark.parametrize(
    ("header", "record_id"),
    [
        ("folder/r 1 250 1000\n", "r"),
        ("p10/100001 1 250 1000\n", "100001"),
        ("a\\r 1 250 1000\n", "r"),
        ("r 1 250 0\n", "r"),
        ("r 1 250\n", "r"),
        ("r 1 250 1000 25:99:99 99/99/9999\n", "r"),
        ("r 1 250 1000 10:11:12 05/05/20\n", "r"),
        ("r 1 250 1000 10:11:12\n", "r"),
        ("\N{BYTE ORDER MARK}r 1 250 1000\n", "r"),
    ],
)
def test_first_lines_of_headers(tmp_path, header, record_id):
    record = read_ecg(wfdb(tmp_path, header + SIGNAL_LINE.format("1000/mV") + "spare line\n"))
    assert (record.signal.shape, record.record_id) == ((1, 1000), record_id)
    assert record.signal[0, -1] == pytest.approx(0.499)


def test_skews_that_differ(tmp_path):
    lines = "".join(f"r.dat 16:{skew} 1000/mV 12 0 0 0 0 {name}\n" for skew, name in ((3, "I"), (5, "II")))
    pair = np.stack([np.arange(500), np.arange(500) + 1]).T.astype("<i2")
    signal = read_ecg(wfdb(tmp_path, f"r 2 250 500\n{lines}", pair)).signal
    assert signal[:, 0] == pytest.approx([0.003, 0.006])
    assert np.isnan(signal).sum(axis=1).tolist() == [3, 5]


APPLE = (
    'Name,Erika Doe\nDate of Birth,"Jan 1, 1980"\nRecorded Date,2020-01-01 10:00:00\nClassification,Sinus Rhythm\n'
    'Symptoms,\nSoftware Version,1.90\nDevice,"Watch6,1"\nSample Rate,512 hertz\n\n\nLead,Lead I\nUnit,µV\n\n'
)
GERMAN = (
    'Name,Erika Doe\nGeburtsdatum,"01.01.1980"\nAbtastrate,512 Hertz\nGerät,"Watch6,1"\n\nAbleitung,Ableitung I\n'
    "Einheit,µV\n\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("head", [APPLE, GERMAN])
@pytest.mark.parametrize("comma", [False, True])
def test_exports_of_the_apple_watch(tmp_path, head, encoding, comma):
    values = "".join((f'"{v * 1000:.3f}"'.replace(".", ",") if comma else f"{v * 1000:.3f}") + "\n" for v in WAVE)
    record = read_ecg(csv(tmp_path, head + values, encoding))
    np.testing.assert_allclose(record.signal[0], WAVE, atol=1e-6)
    assert (record.sampling_rate, record.lead_names) == (512, ("I",))
    assert "Erika" not in str(record.metadata)


def test_an_export_that_lost_its_unit_is_refused(tmp_path):
    values = "".join(f"{value * 1000:.3f}\n" for value in WAVE)
    path = csv(tmp_path, APPLE.replace("Unit,µV\n", "") + values)
    refused(lambda: read_ecg(path), "units=")
    assert read_ecg(path, units="uV").signal[0] == pytest.approx(WAVE, abs=1e-6)


@pytest.mark.parametrize(
    ("names", "units", "clock"),
    [
        ("'Elapsed time','I','II'", "'hh:mm:ss.mmm','mV','mV'", lambda at: f"'0:{at / 250:06.3f}'"),
        ("'Elapsed time','I','II'", "'seconds','mV','mV'", lambda at: f"{at / 250:.3f}"),
        ("Elapsed time,I,II", "(seconds),(mV),(mV)", lambda at: f"{at / 250:.3f}"),
        ("time,I,II", "ms,mV,mV", lambda at: f"{at * 4}"),
        ("'time','I','II'", "'hh:mm:ss','mV','mV'",
         lambda at: f"[10:00:{at / 250:06.3f} 01/01/2000]"),
    ],
)  # fmt: skip
def test_a_line_of_units(tmp_path, names, units, clock):
    rows = "".join(f"{clock(at)},{a},{b}\n" for at, (a, b) in enumerate(TWO.T))
    record = read_ecg(csv(tmp_path, f"{names}\n{units}\n{rows}"))
    np.testing.assert_array_equal(record.signal, TWO.astype(np.float32))
    assert record.sampling_rate == pytest.approx(250)
    refused(lambda: read_ecg(csv(tmp_path, f"{names}\n{units.replace('mV', '.V')}\n{rows}")), "ecg.csv")


# -- telling formats apart


@pytest.mark.parametrize("name", ["ecg.xml", "ecg.csv", "ecg"])
def test_markup_is_never_a_table(tmp_path, name):
    (tmp_path / name).write_text("<?xml version='1.0'?>\n5\n<ecg/>\n")
    refused(lambda: read_ecg(tmp_path / name, sampling_rate=250), name)


def test_a_header_that_names_itself(tmp_path):
    for name in ("r", "100"):
        header = f"{name}/2 1 250 2000\n{name} 1000\n{name} 1000\n"
        refused(lambda header=header, name=name: read_ecg(wfdb(tmp_path, header, name=name)), "names itself")


# -- failures


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "gone.hea").symlink_to(tmp_path / "nowhere.hea")
    refused(lambda: read_ecg(tmp_path / "gone.hea"), "gone.hea", "does not exist")
    refused(lambda: read_ecg(tmp_path), "folder")
    refused(lambda: read_ecg("a\0b"))


@pytest.mark.parametrize("options", [{"sampling_rate": "500"}, {"lead_names": 5}, {"lead_names": "II"}, {"units": 3}])
def test_options_of_the_wrong_kind_are_named(tmp_path, options):
    refused(lambda: read_ecg(saved(tmp_path, TWO), **(GIVEN | options)), "ecg.npy", next(iter(options)))


class Odd(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [AttributeError, IndexError, StopIteration, MemoryError, SystemError, NotImplementedError, OverflowError, Odd],
)
def test_whatever_a_reader_raises_is_one_line_with_the_path(tmp_path, monkeypatch, error):
    def read(path):
        raise error("words\nof a library")

    monkeypatch.setattr(reading, "_own_formats", {})
    register_format("Acme", matches=lambda path, head: head.startswith(b"ACME"), read=read)
    (tmp_path / "e.acm").write_bytes(b"ACME")
    refused(lambda: read_ecg(tmp_path / "e.acm"), "e.acm")
    with pytest.raises(ValueError, match="e.acm") as caught:
        read_ecg(tmp_path / "e.acm")
    assert "words" not in str(caught.value)


# -- formats of one's own


def test_a_format_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_own_formats", {})

    def read_acme(path, *, sampling_rate=250.0):
        counts = np.frombuffer(path.read_bytes()[4:], "<i2").reshape(-1, 2).T
        if counts.shape[1] < 2:
            raise ValueError("too short, expected two samples")
        return EcgRecord(counts / 200, sampling_rate, ("I", "II"))

    register_format("Acme", matches=lambda path, head: head.startswith(b"ACME"), read=read_acme, extensions=[".acm"])
    (tmp_path / "e.acm").write_bytes(b"ACME" + np.arange(100, dtype="<i2").tobytes())
    record = read_ecg(tmp_path / "e.acm", sampling_rate=500)
    assert record.signal[1, -1] == pytest.approx(99 / 200)
    assert record.sampling_rate == 500
    assert next(iter(known_formats())) == "Acme"
    refused(lambda: read_ecg(tmp_path / "e.acm", units="mV"), "Acme", "sampling_rate=")
    (tmp_path / "e.acm").write_bytes(b"ACME1234")
    refused(lambda: read_ecg(tmp_path / "e.acm"), "e.acm", "too short")
    (tmp_path / "e.acm").write_bytes(b"ACME123")  # NumPy's own words do not reach the user
    with pytest.raises(ValueError, match="damaged") as caught:
        read_ecg(tmp_path / "e.acm")
    assert "buffer" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"matches": None}, {"read": 3}, {"name": ""}])
def test_a_format_that_is_none(wrong):
    given = {"name": "Acme", "matches": lambda path, head: False, "read": lambda path: None} | wrong
    name = given.pop("name")
    refused(lambda: register_format(name, **given), next(iter(wrong)))


# -- options that contradict the file


def stored_two(folder, kind):
    """Leads I and II in mV, in a file that says so."""
    if kind == "wfdb":
        lines = "".join(f"r.dat 16 1000/mV 12 0 0 0 0 {name}\n" for name in ("I", "II"))
        return wfdb(folder, f"r 2 250 500\n{lines}", np.round(TWO.T * 1000).astype("<i2"))
    if kind == "csv":
        return csv(folder, f"I (mV),II (mV)\n{ROWS}")
    if kind == "npz":
        np.savez(folder / "e.npz", signal=TWO, units="mV", **GIVEN)
        return folder / "e.npz"
    pd.DataFrame({"I (mV)": TWO[0], "II (mV)": TWO[1]}).to_parquet(folder / "e.parquet")
    return folder / "e.parquet"


@pytest.mark.parametrize("kind", ["wfdb", "csv", "npz", "parquet"])
def test_options_that_contradict_the_file(tmp_path, kind):
    path = stored_two(tmp_path, kind)
    rate = {"sampling_rate": 250} if kind in ("csv", "parquet") else {}
    refused(lambda: read_ecg(path, lead_names=["II", "I"], **rate), "lead_names=")
    refused(lambda: read_ecg(path, units="V", **rate), "units=")
    record = read_ecg(path, lead_names=["i", "Lead II"], units="mVolt", **rate)
    np.testing.assert_allclose(record.signal, TWO, atol=1e-6)


def test_leads_of_monitors_and_doubles_may_be_named(tmp_path):
    lines = "".join(f"r.dat 16 1000/mV 12 0 0 0 0 {name}\n" for name in ("MLII", "V", "I", "I"))
    path = wfdb(tmp_path, f"r 4 250 250\n{lines}")
    assert read_ecg(path, lead_names=["II", "V1", "I", "III"]).lead_names == ("II", "V1", "I", "III")


def test_units_of_a_header_that_states_none(tmp_path):
    path = wfdb(tmp_path, f"r 1 250 1000\n{SIGNAL_LINE.format('10')}")
    assert read_ecg(path).signal[0, -1] == pytest.approx(49.9)  # header(5): mV
    assert read_ecg(path, units="uV").signal[0, -1] == pytest.approx(0.0499)


@pytest.mark.parametrize(
    ("comment", "years"),
    [("Age: 6 months", 0.5), ("Age: 10d", 10 / 365.25), ("<age>: 3 wk <sex>: F", 21 / 365.25), ("Age: 61 M", 61)],
)
def test_units_of_age_in_a_wfdb_header(tmp_path, comment, years):
    path = wfdb(tmp_path, f"r 1 250 1000\n{SIGNAL_LINE.format('1000/mV')}# {comment}\n")
    assert read_ecg(path).age == pytest.approx(years)


def test_a_line_ends_at_a_line_feed_only(tmp_path):
    header = f"# caf\xe9 \x85 r\x85q\nr 1 250 1000\n{SIGNAL_LINE.format('1000/mV')}"
    assert read_ecg(wfdb(tmp_path, header, encoding="latin-1")).signal[0, -1] == pytest.approx(0.499)


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_whole_numbers_between_blanks_are_no_header(tmp_path, delimiter):
    rows = "".join(f"{delimiter.join((str(at + 5), '16', str(200 + at)))}\n" for at in range(100))
    (tmp_path / "e.txt").write_text(rows)
    record = read_ecg(tmp_path / "e.txt", sampling_rate=250, lead_names=["I", "II", "V1"], units="uV")
    assert record.signal[:, -1] == pytest.approx([0.104, 0.016, 0.299])


@pytest.mark.parametrize(
    "line", ["# sampling_rate: 250 Hz", "#sampling rate: 250", "# fs=250", "# Sampling_Rate = 250Hz"]
)
def test_stated_sampling_rates_of_a_table(tmp_path, line):
    path = csv(tmp_path, f"{line}\nI,II\n{ROWS}")
    assert read_ecg(path).sampling_rate == 250
    refused(lambda: read_ecg(path, sampling_rate=500), "250", "500")
    refused(lambda: read_ecg(csv(tmp_path, f"{line}\n# fs: 500\nI,II\n{ROWS}")), "250", "500")


def test_delimiters_below_the_names_only_and_commas_between_blanks(tmp_path):
    read = {"sampling_rate": 250}
    signal = read_ecg(csv(tmp_path, "I,II\n" + ROWS.replace("\n", ",\n")), **read).signal
    np.testing.assert_array_equal(signal, TWO.astype(np.float32))
    commas = "I II\n" + ROWS.replace(",", " ").replace(".", ",")
    np.testing.assert_array_equal(read_ecg(csv(tmp_path, commas), **read).signal, TWO.astype(np.float32))


def test_a_column_of_time_in_parquet(tmp_path):
    columns = {"time (ms)": np.arange(500) * 4, "I": TWO[0], "II": TWO[1]}
    pd.DataFrame(columns).to_parquet(tmp_path / "e.parquet")
    assert read_ecg(tmp_path / "e.parquet").sampling_rate == 250
    refused(lambda: read_ecg(tmp_path / "e.parquet", sampling_rate=500), "500", "250")


def test_tensors_that_numpy_does_not_take():
    torch = pytest.importorskip("torch")
    refused(lambda: EcgRecord(torch.tensor(TWO).bfloat16(), 250, ["I", "II"]), "signal", "float()")
