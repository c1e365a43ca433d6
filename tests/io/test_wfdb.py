"""WFDB records, against the wfdb library, plain NumPy and the published checksums of the headers."""

import shutil

import numpy as np
import pytest

from merit_hf.io import read_ecg
from merit_hf.io.wfdb.header import read_header
from merit_hf.io.wfdb.samples import read_samples
from merit_hf.leads_merit import STANDARD_12

wfdb = pytest.importorskip("wfdb")


def write_record(folder, name="rec", leads=("I", "II", "V1"), num_samples=500, **fields):
    """A record of random counts at 200 per mV, written by the wfdb library; returns the counts (samples, leads)."""
    counts = np.random.default_rng(0).integers(-900, 900, (num_samples, len(leads)))
    options = {"units": ["mV"] * len(leads), "adc_gain": [200.0] * len(leads), "baseline": [7] * len(leads)} | fields
    wfdb.wrsamp(
        name, 250, sig_name=list(leads), d_signal=counts, fmt=["16"] * len(leads), write_dir=str(folder), **options
    )
    return counts


# -- made records


def test_signals_without_a_description_need_names(tmp_path):
    counts = write_record(tmp_path)
    header = tmp_path / "rec.hea"
    lines = [line.rpartition(" ")[0] if ".dat" in line else line for line in header.read_text().splitlines()]
    header.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"rec: signal 'signal 0' \[mV\]: .*lead_names="):
        read_ecg(tmp_path / "rec")
    record = read_ecg(tmp_path / "rec", lead_names=["I", "II", "V1"])
    np.testing.assert_array_equal(record.signal, ((counts - 7) / 200.0).T.astype(np.float32))


def test_values_names_and_facts(tmp_path):
    counts = write_record(tmp_path, leads=("i", "AVR", "V1"), comments=["Age: 61", "Sex: Female", "Dx: 426783006"])
    record = read_ecg(tmp_path / "rec")
    np.testing.assert_array_equal(record.signal, ((counts - 7) / 200.0).T.astype(np.float32))
    assert record.lead_names == ("I", "aVR", "V1")
    assert (record.sampling_rate, record.units, record.record_id) == (250.0, "mV", "rec")
    assert (record.age, record.sex) == (61.0, "Female")
    assert record.metadata["comments"] == ["Age: 61", "Sex: Female", "Dx: 426783006"]


@pytest.mark.parametrize("name", ["rec", "rec.hea", "rec.dat"])
def test_a_record_goes_by_three_names(tmp_path, name):
    write_record(tmp_path)
    assert read_ecg(tmp_path / name).signal.shape == (3, 500)


@pytest.mark.parametrize("name", ["40689238", "40689238.hea", "40689238.dat"])
def test_a_record_may_be_named_by_a_number(tmp_path, name):
    # Its header then starts with a line of numbers only, which must not pass for a table.
    write_record(tmp_path, "40689238")
    assert read_ecg(tmp_path / name).signal.shape == (3, 500)


def test_units_are_those_of_each_signal(tmp_path):
    counts = write_record(tmp_path, units=["mV", "uV", "V"], adc_gain=[200.0, 200.0, 2e5])
    expected = ((counts - 7) / 200.0).T * np.array([[1.0], [1e-3], [1.0]])
    np.testing.assert_allclose(read_ecg(tmp_path / "rec").signal, expected, rtol=1e-6)


def test_invalid_samples_are_missing(tmp_path):
    counts = write_record(tmp_path)
    counts[10:20, 1] = -32768  # the format's mark
    wfdb.wrsamp(
        "gap",
        250,
        ["mV"] * 3,
        ["I", "II", "V1"],
        d_signal=counts,
        fmt=["16"] * 3,
        adc_gain=[200.0] * 3,
        baseline=[7] * 3,
        write_dir=str(tmp_path),
    )
    missing = np.isnan(read_ecg(tmp_path / "gap").signal)
    assert missing[1, 10:20].all()
    assert missing.sum() == 10


def test_what_is_no_ecg_is_left_out_and_said(tmp_path):
    write_record(tmp_path, leads=("II", "ABP", "RESP"), units=["mV", "mmHg", "mV"])
    record = read_ecg(tmp_path / "rec")
    assert record.lead_names == ("II",)
    assert record.metadata["other_signals"] == ["ABP [mmHg]", "RESP [mV]"]


def test_channels_and_names_can_be_chosen(tmp_path):
    counts = write_record(tmp_path, leads=("ECG 1", "ECG 2", "V1"))
    record = read_ecg(tmp_path / "rec", channels=["ECG 2", 0], lead_names=["V2", "V3"])
    assert record.lead_names == ("V2", "V3")
    np.testing.assert_array_equal(record.signal, ((counts[:, [1, 0]] - 7) / 200.0).T.astype(np.float32))


def test_a_gain_in_other_units_can_be_named(tmp_path):
    counts = write_record(tmp_path, units=["NU"] * 3)
    with pytest.raises(ValueError, match="lead I has units 'NU', no voltage. Name the real one with units="):
        read_ecg(tmp_path / "rec")
    np.testing.assert_allclose(read_ecg(tmp_path / "rec", units="uV").signal.T, (counts - 7) / 2e5, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ["V9"]}, "channels= names 'V9', but the record has I, II, V1"),
        ({"channels": [3]}, "channels= names 3"),
        ({"lead_names": ["I"]}, "1 lead_names= for 3 signals"),
        ({"lead_names": ["I", "II", "XX"]}, "Unknown lead name 'XX'"),
        ({"sampling_rate": 500}, "does not take sampling_rate. It takes: channels=, lead_names=, units="),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    write_record(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_ecg(tmp_path / "rec", **options)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("rec 3 250 500\nrec.dat 16 200/mV\n", "truncated header: it announces 3 signals and describes 1"),
        ("rec 3 250", "truncated header: it announces 3 signals and describes 0"),
        ("# only a comment\n", "unreadable header: it holds no line"),
        ("rec three 250 500\n", "unreadable header: its first line 'rec three 250 500'"),
        ("\x00\x01\x02\x03garbage\x00", "unreadable header"),
        ("rec 1 250 500\ngone.dat 16 200/mV 16 0 0 0 0 I\n", "file gone.dat missing beside rec.hea"),
        (
            "rec 1 250 99999\nrec.dat 16 200/mV 16 0 0 0 0 I\n",
            "signal file rec.dat is cut off, it has 3000 of 199998 bytes",
        ),
        ("rec 1 250 500\nrec.dat 16 200/mV 16 0 0 0 0 lead?\n", "Unknown lead name 'lead\\?'"),
        ("rec 1 250 500\nrec.dat 16 200/mmHg 16 0 0 0 0 ABP\n", "none of its signals is an ECG lead"),
        ("rec/2 1 250 1000\none 500\ntwo 500\n", "file one.hea missing beside rec.hea"),
    ],
)
def test_a_faulty_record_gives_one_line(tmp_path, header, message):
    write_record(tmp_path)
    (tmp_path / "rec.hea").write_text(header)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(tmp_path / "rec")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "rec") in str(caught.value)


def test_an_empty_header(tmp_path):
    (tmp_path / "rec.hea").write_text("")
    with pytest.raises(ValueError, match="empty"):
        read_ecg(tmp_path / "rec.hea")
    with pytest.raises(ValueError, match="unreadable header"):
        read_ecg(tmp_path / "rec")


# -- genuine records


@pytest.mark.parametrize(("folder", "rate"), [("records100", 100), ("records500", 500)])
def test_all_of_ptb_xl_is_counts_over_gain_to_the_last_bit(real_data, folder, rate):
    headers = sorted((real_data / "ptb-xl" / folder).rglob("*.hea"))
    assert len(headers) > 400
    for header in headers:
        record = read_ecg(header)
        counts = np.fromfile(header.with_suffix(".dat"), dtype="<i2").reshape(-1, 12).T
        lines = [line.split() for line in header.read_text().splitlines()[1:13]]
        gain = np.array([[float(line[2].split("(")[0])] for line in lines], dtype=np.float32)
        # What a row of a corpus gives: int16 counts by float32 gain.
        assert np.array_equal(record.signal, counts.astype(np.float32) / gain), header
        assert np.array_equal(counts.sum(axis=1) & 0xFFFF, [int(line[6]) & 0xFFFF for line in lines]), header
        assert record.lead_names == STANDARD_12
        assert record.sampling_rate == rate


def test_records_in_mat_files(real_data):
    headers = sorted((real_data / "csn").rglob("*.hea")) + sorted((real_data / "cpsc2018").rglob("*.hea"))
    assert len(headers) == 25
    for header in headers:
        record = read_ecg(header)
        raw = np.fromfile(header.with_suffix(".mat"), dtype="<i2", offset=24).reshape(-1, 12).T
        np.testing.assert_array_equal(record.signal, raw.astype(np.float32) / np.float32(1000))
        assert record.lead_names == STANDARD_12
        assert any(comment.startswith("Dx:") for comment in record.metadata["comments"])
        assert record.sex in ("Male", "Female")
        assert record.age is None or 0 < record.age < 100
        assert np.array_equal(read_ecg(header.with_suffix(".mat")).signal, record.signal)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("100_3chan", None),
        ("3000003_0003", None),
        ("a103l", ["II", "V"]),
        ("a103l-no-len", ["II", "V"]),
        ("v102s", ["II", "V"]),
        ("s0010_re", None),
        ("310derive", [0]),
        ("310derive_2", [0]),
        ("311derive", [0]),
        ("311derive_3", [0]),
        ("test01_00s", [0, 1, 2, 3]),
        ("test01_00s_skew", [0, 1, 2, 3]),
        ("binformats", list(range(10))),
        ("flacformats", [0, 1, 2]),
        ("multi-segment/fixed1/v102s", ["II", "V"]),
        ("multi-segment/s25047/s25047-2704-05-04-10-44", ["II", "V"]),
    ],
)
def test_hard_cases_as_the_library_reads_them(real_data, name, channels):
    path = real_data / "formats" / "wfdb_python" / name
    try:
        truth = wfdb.rdrecord(str(path), smooth_frames=True)
    except ValueError as error:  # compressed formats need a package of their own
        pytest.skip(f"the wfdb library cannot read {name} here: {error}")
    names = None if channels is None or isinstance(channels[0], str) else STANDARD_12[: len(channels)]
    columns = range(truth.n_sig)
    if channels is not None:
        columns = [truth.sig_name.index(channel) if isinstance(channel, str) else channel for channel in channels]
    signals = read_samples(read_header(path.with_name(f"{path.name}.hea")))
    for column in columns:
        signal = signals[column]
        frames = signal.values.reshape(-1, signal.per_frame).mean(axis=1)
        np.testing.assert_array_equal(frames.astype(np.float32), truth.p_signal[:, column].astype(np.float32))
    if name not in ("binformats", "flacformats"):  # their values are no voltages of an ECG
        record = read_ecg(path, channels=channels, lead_names=names)
        np.testing.assert_array_equal(record.signal, truth.p_signal[:, list(columns)].T.astype(np.float32))
        assert record.sampling_rate == truth.fs


def test_gaps_between_segments_are_missing(real_data):
    record = read_ecg(real_data / "formats/wfdb_python/multi-segment/s25047/s25047-2704-05-04-10-44")
    assert 0 < np.isnan(record.signal).mean() < 0.2
    assert not np.isnan(record.signal).all(axis=1).any()


@pytest.mark.parametrize(
    ("name", "leads", "rate"),
    [("mixedsignals", ("II", "III", "V"), 4 * 62.4725), ("multi-segment/041s/041s", ("III", "I", "V"), 500.0)],
)
def test_leads_sampled_faster_than_the_frames_keep_their_rate(real_data, name, leads, rate):
    path = real_data / "formats/wfdb_python" / name
    truth = wfdb.rdrecord(str(path), smooth_frames=False)
    record = read_ecg(path)
    assert record.lead_names == leads
    assert record.sampling_rate == pytest.approx(rate)
    np.testing.assert_array_equal(record.signal, np.stack(truth.e_p_signal[:3]).astype(np.float32))


def test_a_layout_is_no_recording(real_data):
    with pytest.raises(ValueError, match="layout of a recording in segments"):
        read_ecg(real_data / "formats/wfdb_python/multi-segment/s25047/3234460_layout")


def test_a_missing_signal_file_is_named(real_data, tmp_path):
    shutil.copy(real_data / "ptb-xl/records100/00000/00001_lr.hea", tmp_path)
    with pytest.raises(ValueError, match=r"00001_lr\.dat missing beside 00001_lr\.hea"):
        read_ecg(tmp_path / "00001_lr")
