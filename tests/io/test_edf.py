"""EDF, EDF+ and BDF: files written here to the published structure and read back, whole and damaged."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_hf.io import read_ecg

edfio = pytest.importorskip("edfio")

LEADS = ("ECG I", "EKG II", "V1")
PATIENT = "MCH-0234567 F 02-MAY-1951 Haagse_Harry"
ANNOTATIONS = "EDF Annotations"


def column(texts, width):
    encoded = [str(text).encode("latin-1").ljust(width) for text in texts]
    assert all(len(text) == width for text in encoded)
    return b"".join(encoded)


def write(
    path,
    signals,
    *,
    labels=LEADS,
    dimensions=None,
    physical=None,
    digital=None,
    duration=1,
    kind="",
    onsets=None,
    patient=PATIENT,
    bdf=False,
    samples=None,
):
    """`signals`: counts (records, samples of a record), one array a signal. EDF+ kinds get a signal of time stamps."""
    num_records = len(signals[0])
    width = 3 if bdf else 2
    labels, dimensions = list(labels), list(dimensions or ["uV"] * len(signals))
    physical, digital = (
        list(physical or [(-3200, 3200)] * len(signals)),
        list(digital or [(-32000, 32000)] * len(signals)),
    )
    bodies = [
        [b"".join(int(value).to_bytes(width, "little", signed=True) for value in record) for record in signal]
        for signal in signals
    ]
    if kind:
        labels.append(ANNOTATIONS)
        dimensions.append("")
        physical.append((-1, 1))
        digital.append((-32768, 32767))
        onsets = [at * duration for at in range(num_records)] if onsets is None else onsets
        bodies.append([f"+{onset}\x14\x14\0".encode().ljust(16 * width, b"\0") for onset in onsets])
    count = len(labels)
    samples = samples or [len(body[0]) // width for body in bodies]
    header = (b"\xffBIOSEMI" if bdf else b"0".ljust(8)) + column([patient], 80)
    header += column(["Startdate 04-APR-2011 X X X"], 80) + column(["04.04.11", "12.57.02", 256 * (count + 1)], 8)
    header += column([kind], 44) + column([num_records, duration], 8) + column([count], 4)
    header += column(labels, 16) + column([""] * count, 80) + column(dimensions, 8)
    header += column([low for low, _ in physical], 8) + column([high for _, high in physical], 8)
    header += column([low for low, _ in digital], 8) + column([high for _, high in digital], 8)
    header += column([""] * count, 80) + column(samples, 8) + column([""] * count, 32)
    assert len(header) == 256 * (count + 1)
    path.write_bytes(header + b"".join(body[at] for at in range(num_records) for body in bodies))
    return path


def counts(num_signals=3, num_records=4, per_record=250, limit=9000):
    return list(np.random.default_rng(0).integers(-limit, limit, (num_signals, num_records, per_record)))


def in_mv(signals, per_mv=10_000):
    return np.stack([signal.reshape(-1) for signal in signals]) / per_mv


@pytest.mark.parametrize("kind", ["", "EDF+C"])
def test_values_names_and_rate(tmp_path, kind):
    signals = counts()
    record = read_ecg(write(tmp_path / "ecg.bin", signals, kind=kind, duration=0.5))
    np.testing.assert_array_equal(record.signal, in_mv(signals).astype(np.float32))
    assert record.lead_names == ("I", "II", "V1")
    assert (record.sampling_rate, record.record_id) == (500.0, "ecg")
    np.testing.assert_array_equal(record.metadata["adc_gain"], [10_000.0] * 3)
    assert record.metadata["start"] == "2011-04-04T12:57:02"


def test_bdf_has_three_bytes(tmp_path):
    signals = counts(limit=8_000_000)
    path = write(tmp_path / "ecg.bdf", signals, bdf=True, digital=[(-8_000_000, 8_000_000)] * 3)
    record = read_ecg(path)
    np.testing.assert_array_equal(record.signal, in_mv(signals, 2_500_000).astype(np.float32))
    assert record.metadata["format"] == "BDF"


def test_units_scale_offset_and_sign_of_each_signal(tmp_path):
    signals = counts()
    path = write(
        tmp_path / "ecg.edf",
        signals,
        dimensions=["mV", "µV", "V"],
        physical=[(0, 6.4), (3200, -3200), (-0.0032, 0.0032)],
    )
    record = read_ecg(path)
    expected = in_mv(signals)
    expected[0] += 3.2
    expected[1] *= -1
    np.testing.assert_allclose(record.signal, expected, atol=1e-6)
    assert "adc_gain" not in record.metadata  # the second has none


def test_as_the_library_has_it(tmp_path):
    path = write(tmp_path / "ecg.edf", counts(), physical=[(-3276.8, 3276.7)] * 3, digital=[(-32768, 32767)] * 3)
    truth = np.stack([signal.data for signal in edfio.read_edf(path).signals])
    truth[truth < -3276.75] = np.nan  # the lowest count of all marks a missing sample
    np.testing.assert_allclose(read_ecg(path).signal, truth / 1000, rtol=1e-6, atol=1e-7)


def test_what_is_no_ecg_is_left_out_and_said(tmp_path):
    signals = [*counts(2), *counts(2, per_record=50)]
    path = write(
        tmp_path / "psg.edf",
        signals,
        labels=("EEG Fpz-Cz", "ECG V5", "Resp nasal", "X"),
        dimensions=("uV", "uV", "", "g"),
        kind="EDF+C",
    )
    record = read_ecg(path)
    np.testing.assert_array_equal(record.signal, in_mv(signals[1:2]).astype(np.float32))
    assert record.lead_names == ("V5",)
    assert record.metadata["other_signals"] == ["EEG Fpz-Cz [uV]", "Resp nasal []", "X [g]"]


def test_channels_names_and_units_can_be_given(tmp_path):
    signals = counts()
    path = write(tmp_path / "ecg.edf", signals, labels=("ECG", "ch 2", "ch 3"), dimensions=["uV", "", ""])
    with pytest.raises(ValueError, match="signal 'ECG' .*Unknown lead name 'ECG'.* choose signals with channels="):
        read_ecg(path)
    with pytest.raises(ValueError, match="'ch 2' has no unit. Name the real one with units="):
        read_ecg(path, channels=["ch 2"], lead_names=["II"])
    record = read_ecg(path, channels=["ch 2", 0], lead_names=["II", "V2"], units="uV")
    assert record.lead_names == ("II", "V2")
    np.testing.assert_array_equal(record.signal, in_mv([signals[1], signals[0]]).astype(np.float32))


def test_gaps_of_an_interrupted_recording_are_missing(tmp_path):
    signals = counts()
    path = write(tmp_path / "ecg.edf", signals, kind="EDF+D", onsets=[0.25, 1.25, 4.5, 5.5])
    record = read_ecg(path)
    stored = in_mv(signals).astype(np.float32)
    assert record.signal.shape == (3, 1000 + 562)
    np.testing.assert_array_equal(record.signal[:, :500], stored[:, :500])
    assert np.isnan(record.signal[:, 500:1062]).all()
    np.testing.assert_array_equal(record.signal[:, 1062:], stored[:, 500:])


def test_the_patient_stays_out_unless_asked_for(tmp_path):
    path = write(tmp_path / "ecg.edf", counts())
    record = read_ecg(path)
    assert (record.age, record.sex) == (59.0, "female")
    assert not any(word in repr(record) for word in ("Haagse", "Harry", "0234567", "1951"))
    assert read_ecg(path, include_patient=True).metadata["patient"] == {"identification": PATIENT}


@pytest.mark.parametrize("patient", ["", "John Smith", "X X X X", "Mr M Smith Jones"])
def test_a_patient_in_other_words_says_nothing(tmp_path, patient):
    record = read_ecg(write(tmp_path / "ecg.edf", counts(), patient=patient))
    assert record.age is None
    assert "Smith" not in repr(record)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("EEG 1", "EEG 2", "EEG 3")}, "no label names an ECG lead"),
        ({"labels": ("I", "ECG I", "V1")}, "I stands more than once"),
        ({"dimensions": ("uV", "bpm", "uV"), "labels": ("I", "ECG II", "V1")}, "lead II has units 'bpm', no voltage"),
        ({"physical": [(1, 1)] * 3}, "makes no scale"),
        ({"digital": [(5, -5)] * 3}, "makes no scale"),
        ({"duration": 0}, "takes 0 s"),
        ({"duration": "x"}, "duration of a record should be a number"),
        ({"duration": "1e999"}, "should be a number"),
        ({"samples": [250, 250, 251]}, "cut off or damaged: it has 6000 bytes of samples, expected 4 records of 1502"),
        ({"samples": [250, 250, -250]}, "says that a record holds"),
        ({"kind": "EDF+D", "onsets": [0, 1, 1.5, 3]}, "record 3 begins before"),
        ({"kind": "EDF+D", "onsets": [0, 1, 2, 9999999]}, "parts lie 1e.07 s apart"),
        ({"kind": "EDF+D", "onsets": ["", 1, 2, 3]}, "record 1 does not say when it began"),
    ],
)
def test_each_fault_gives_one_line(tmp_path, options, message):
    path = write(tmp_path / "ecg.edf", counts(), **options)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_leads_of_different_rates_are_not_mixed(tmp_path):
    path = write(tmp_path / "ecg.edf", [*counts(1), *counts(1, per_record=500)], labels=("I", "II"))
    with pytest.raises(ValueError, match=r"different sampling rates \(250.0, 500.0 Hz\)"):
        read_ecg(path)
    assert read_ecg(path, channels=["II"]).sampling_rate == 500.0


FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edf")
    signals = counts(num_records=3, per_record=40)
    return [
        write(folder / "a.edf", signals).read_bytes(),
        write(folder / "b.edf", signals, kind="EDF+D", onsets=[0, 1, 3]).read_bytes(),
        write(folder / "c.bdf", signals, bdf=True).read_bytes(),
    ]


@FUZZ
@given(data=st.data())
def test_a_cut_copy_is_refused(whole, tmp_path, data):
    content = data.draw(st.sampled_from(whole))
    (tmp_path / "ecg.edf").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"ecg\.edf") as caught:
        read_ecg(tmp_path / "ecg.edf")
    assert "\n" not in str(caught.value)


@FUZZ
@given(data=st.data())
def test_a_changed_copy_is_read_as_it_says_or_refused(whole, tmp_path, data):
    """EDF has no checksum: a changed sample is another sample. But all samples stay, and none becomes silence."""
    content = bytearray(data.draw(st.sampled_from(whole)))
    for _ in range(data.draw(st.integers(1, 3))):
        header = data.draw(st.booleans())
        content[data.draw(st.integers(0, 1024 if header else len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "ecg.edf").write_bytes(content)
    message = ""
    try:
        record = read_ecg(tmp_path / "ecg.edf")
    except ValueError as error:
        message = str(error)
    else:
        assert not np.isinf(record.signal).any()
        assert np.isfinite(record.signal).sum() == 120 * len(record.lead_names)
        assert (np.nan_to_num(record.signal) != 0).any(axis=1).all()
    assert "\n" not in message


def test_struct_is_little_endian(tmp_path):
    """The writer's bytes, spelled out once by the standard library."""
    signals = counts(1, 1, 5)
    path = write(tmp_path / "ecg.edf", signals, labels=("II",))
    assert path.read_bytes()[512:] == struct.pack("<5h", *signals[0][0])
