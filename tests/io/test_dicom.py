"""DICOM waveforms: a genuine file against pydicom's own conversion, and objects written with pydicom."""

import sys

import numpy as np
import pytest
from damaged_copies import damages, read_right_or_refused
from hypothesis import given, settings

from merit_hf.io import read_ecg
from merit_hf.leads_merit import STANDARD_12

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it warns of damage before it fails on it

GENUINE = "formats/dicom/waveform_ecg.dcm"
TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"


def coded(value, meaning, scheme="SCPECG"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def channel(meaning="Lead I", code="local", sensitivity="2.5", units="uV", correction="1", baseline="0"):
    item = Dataset()
    item.ChannelSourceSequence = [coded(code, meaning)]
    if sensitivity is not None:
        item.ChannelSensitivity = sensitivity
        item.ChannelSensitivityUnitsSequence = [coded(units, units, "UCUM")]
        item.ChannelSensitivityCorrectionFactor = correction
        item.ChannelBaseline = baseline
    item.WaveformBitsStored = 16
    return item


def group(counts, channels, label="RHYTHM", originality="ORIGINAL", rate=500, offset=0, **fields):
    """A multiplex group of counts (channels, samples)."""
    item = Dataset()
    item.MultiplexGroupLabel, item.WaveformOriginality = label, originality
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = len(channels), counts.shape[1]
    item.SamplingFrequency, item.MultiplexGroupTimeOffset = rate, offset
    item.ChannelDefinitionSequence = list(channels)
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
    item.WaveformData = np.ascontiguousarray(counts.T).astype("<i2").tobytes()
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def written(folder, *groups, syntax=ExplicitVRLittleEndian, **fields):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = TWELVE_LEAD, "1.2.826.0.1.3680043.8.498.1", "ECG"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Mustermann^Erika", "MRN-0815", "F"
    dataset.PatientBirthDate, dataset.AcquisitionDateTime = "19710123", "20130125105919.5"
    if groups:
        dataset.WaveformSequence = list(groups)
    for name, value in fields.items():
        setattr(dataset, name, value)
    path = folder / "ecg.bin"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def counts():
    return np.random.default_rng(4).integers(-3000, 3000, (12, 600)).astype(np.int16)


def test_values_names_and_facts(tmp_path, counts):
    channels = [channel(f"Lead {name}") for name in STANDARD_12]
    record = read_ecg(written(tmp_path, group(counts, channels)))
    np.testing.assert_array_equal(record.signal, (counts * 2.5 / 1000).astype(np.float32))
    assert record.lead_names == STANDARD_12
    assert (record.sampling_rate, record.units) == (500.0, "mV")
    assert (record.age, record.sex) == (42.0, "female")
    assert record.metadata["start"] == "2013-01-25T10:59:19"
    assert record.metadata["adc_gain"].tolist() == [400.0] * 12


def test_each_channel_has_its_own_scale(tmp_path, counts):
    channels = [
        channel("Lead I", sensitivity="0.005", units="mV"),
        channel("Lead II", correction="1.1"),
        channel("Lead III", baseline="-25"),
        channel("Lead V1", baseline="1.3"),
    ]
    record = read_ecg(written(tmp_path, group(counts[:4], channels)))
    one, two, three, four = counts[:4].astype(float)
    expected = [one * 0.005, two * 2.5 * 1.1 / 1000, (three * 2.5 - 25) / 1000, (four * 2.5 + 1.3) / 1000]
    np.testing.assert_allclose(record.signal, expected, rtol=1e-6, atol=1e-9)
    assert "adc_gain" not in record.metadata  # a baseline of half a count leaves no whole counts


def test_leads_by_code(tmp_path, counts):
    codes = {"2:1": "I", "2:61": "III", "5.6.3-9-62": "aVR", "2:3": "V1", "5.6.3-9-8": "V6"}
    channels = [channel("Ableitung", code) for code in codes]
    assert read_ecg(written(tmp_path, group(counts[:5], channels))).lead_names == tuple(codes.values())


def test_padding_is_missing(tmp_path, counts):
    counts[3, 100:200] = -32768
    channels = [channel(f"Lead {name}") for name in STANDARD_12]
    record = read_ecg(written(tmp_path, group(counts, channels, WaveformPaddingValue=b"\x00\x80")))
    assert np.isnan(record.signal[3, 100:200]).all()
    assert np.isnan(record.signal).sum() == 100


def test_other_sample_types_and_byte_order(tmp_path, counts):
    bytes_ = (counts // 32).astype(np.int8)
    fields = {"WaveformBitsAllocated": 8, "WaveformSampleInterpretation": "SB", "WaveformData": bytes_.T.tobytes()}
    channels = [channel(f"Lead {name}") for name in STANDARD_12]
    record = read_ecg(written(tmp_path, group(counts, channels, **fields)))
    np.testing.assert_array_equal(record.signal, (bytes_ * 2.5 / 1000).astype(np.float32))
    big = group(counts, channels, WaveformData=counts.T.astype(">i2").tobytes())
    record = read_ecg(written(tmp_path, big, syntax=ExplicitVRBigEndian))
    np.testing.assert_array_equal(record.signal, (counts * 2.5 / 1000).astype(np.float32))


def test_the_rhythm_is_chosen_wherever_it_stands(tmp_path, counts):
    channels = [channel(f"Lead {name}") for name in STANDARD_12]
    median = group(counts[:, :100], channels, "MEDIAN BEAT", "DERIVED")
    short = group(counts[:1, :50], channels[1:2], "EVENT")
    path = written(tmp_path, median, short, group(counts, channels))
    record = read_ecg(path)
    np.testing.assert_array_equal(record.signal, (counts * 2.5 / 1000).astype(np.float32))
    left = ["MEDIAN BEAT (12 channels, 100 samples)", "EVENT (1 channels, 50 samples)"]
    assert record.metadata["other_groups"] == left
    assert read_ecg(path, group=0).signal.shape == (12, 100)
    assert read_ecg(path, group=1).lead_names == ("II",)
    with pytest.raises(ValueError, match=r"group=3, but the file has 3 groups"):
        read_ecg(path, group=3)


def test_leads_recorded_in_groups_stand_where_they_were_recorded(tmp_path, counts):
    channels = [channel(f"Lead {name}") for name in STANDARD_12]
    parts = [group(counts[at : at + 3], channels[at : at + 3], rate=100, offset=2000 * at) for at in (0, 3, 6, 9)]
    record = read_ecg(written(tmp_path, *parts))
    expected = np.full((12, 2400), np.nan)
    for at in range(0, 12, 3):
        expected[at : at + 3, 200 * at : 200 * at + 600] = counts[at : at + 3] * 2.5 / 1000
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert "other_groups" not in record.metadata


def test_what_is_no_ecg_is_left_out_and_said(tmp_path, counts):
    channels = [channel("Lead II"), channel("Respiration", units="Ohm")]
    record = read_ecg(written(tmp_path, group(counts[:2], channels)))
    assert record.lead_names == ("II",)
    assert record.metadata["other_signals"] == ["Respiration [Ohm]"]


def test_the_patient_stays_in_the_file_unless_asked_for(tmp_path, counts):
    signed = Dataset()
    signed.UnformattedTextValue, signed.AnnotationGroupNumber = "Confirmed by Hippokrates", 0
    stated = Dataset()
    stated.UnformattedTextValue, stated.AnnotationGroupNumber = "SINUS RHYTHM", 0
    path = written(
        tmp_path,
        group(counts[:1], [channel("Lead I")]),
        WaveformAnnotationSequence=[stated, signed],
        ReferringPhysicianName="Hippokrates",
    )
    record = read_ecg(path)
    assert record.report == "SINUS RHYTHM"
    for secret in ("Mustermann", "Erika", "MRN-0815", "1971", "Hippokrates"):
        assert secret not in repr(record)
    patient = read_ecg(path, include_patient=True).metadata["patient"]
    assert patient == {"name": "Mustermann^Erika", "id": "MRN-0815", "birth_date": "19710123"}


@pytest.mark.parametrize(
    ("channels", "fields", "message"),
    [
        ([channel("Lead Q7"), channel()], {}, "Unknown lead name 'Lead Q7'.*skip_unknown_leads=True"),
        ([channel(), channel()], {}, "holds lead I twice"),
        ([channel("Lead II", "2:1"), channel()], {}, "code of lead I and the name 'Lead II'"),
        ([channel(sensitivity=None), channel("Lead II")], {}, "lead I has no unit"),
        ([channel(sensitivity="0"), channel("Lead II")], {}, "lead I has 0 uV a count"),
        (
            [channel(), channel("Lead II")],
            {"NumberOfWaveformSamples": 601},
            "has 2400 bytes of samples, expected 2404",
        ),
        ([channel(), channel("Lead II")], {"NumberOfWaveformChannels": 3}, "describes 2 channels"),
        ([channel(), channel("Lead II")], {"SamplingFrequency": 0}, "sampling_rate is 0"),
        ([channel(), channel("Lead II")], {"WaveformSampleInterpretation": "MB"}, "samples of 16 bits MB"),
        ([channel("Pressure", units="mm[Hg]")] * 2, {}, "holds no ECG lead, only Pressure"),
    ],
)
def test_a_faulty_group_gives_one_line(tmp_path, counts, channels, fields, message):
    path = written(tmp_path, group(counts[:2], channels, **fields))
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_is_no_ecg(tmp_path):
    with pytest.raises(ValueError, match=r"DICOM file without waveforms \(modality CT\)"):
        read_ecg(written(tmp_path, Modality="CT"))


def test_a_missing_package_is_named(tmp_path, counts, monkeypatch):
    path = written(tmp_path, group(counts[:1], [channel()]))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"pip install merit-hf\[formats\]"):
        read_ecg(path)


# -- genuine files


def test_a_genuine_file_as_pydicom_converts_it(real_data):
    path = real_data / GENUINE
    dataset = pydicom.dcmread(path)
    for index in (0, 1):
        truth = dataset.waveform_array(index).T / 1000
        np.testing.assert_array_equal(read_ecg(path, group=index).signal, truth.astype(np.float32))
    record = read_ecg(path)
    assert record.lead_names == STANDARD_12
    assert (record.sampling_rate, record.num_samples) == (1000.0, 10000)
    assert (record.age, record.sex, record.report) == (42.0, "female", "RITMO SINUSALE. ECG NORMALE")
    assert record.metadata["other_groups"] == ["MEDIAN BEAT (12 channels, 1200 samples)"]
    assert "Anonymous" not in repr(record)


@pytest.fixture(scope="module")
def genuine(real_data, tmp_path_factory):
    path = real_data / GENUINE
    return tmp_path_factory.mktemp("dicom") / path.name, path.read_bytes(), read_ecg(path)


@settings(max_examples=100, deadline=None)
@given(damage=damages)
def test_damaged_copies_of_a_genuine_file(genuine, damage):
    read_right_or_refused(*genuine[:2], damage, genuine[2])


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    counts = np.random.default_rng(4).integers(-3000, 3000, (2, 300)).astype(np.int16)
    channels = [channel("Lead I", "2:1"), channel("Lead II", "2:2")]
    path = written(tmp_path_factory.mktemp("dicom"), group(counts, channels))
    return path, path.read_bytes(), read_ecg(path)


@settings(max_examples=100, deadline=None)
@given(damage=damages)
def test_damaged_copies_are_read_right_or_refused(intact, damage):
    read_right_or_refused(*intact[:2], damage, intact[2])


@pytest.mark.parametrize("meaning", ["-aVR", "aVR (inverted)", "aVR (V4R)"])
def test_a_remark_beside_a_code_is_not_lost(tmp_path, meaning):
    path = written(tmp_path, group(np.arange(1000)[None], [channel(meaning, code="2:62")]))
    with pytest.raises(ValueError, match="lead aVR by its code is described as"):
        read_ecg(path)
