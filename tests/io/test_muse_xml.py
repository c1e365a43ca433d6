"""GE MUSE XML: files written to the published structure and read back."""

import base64
import zlib

import numpy as np
import pytest
from damaged_copies import damages, read_right_or_refused
from hypothesis import given, settings

from merit_hf import MeritFeatureExtractor
from merit_hf.io import read_ecg
from merit_hf.leads_merit import STANDARD_12

STORED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
UNITS_PER_BIT = 4.88

PATIENT = """
  <PatientDemographics>
    <PatientID>MRN-0815</PatientID><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits>
    <DateofBirth>03-14-1960</DateofBirth><Gender>FEMALE</Gender><Race>CAUCASIAN</Race>
    <PatientLastName>Mustermann</PatientLastName><PatientFirstName>Erika</PatientFirstName>
  </PatientDemographics>"""
TEST = """
  <TestDemographics>
    <DataType>RESTING</DataType><AcquisitionDevice>MAC55</AcquisitionDevice>
    <AcquisitionTime>13:15:18</AcquisitionTime><AcquisitionDate>05-10-2021</AcquisitionDate>
    <OverreaderLastName>Hippokrates</OverreaderLastName>
  </TestDemographics>"""
DIAGNOSIS = """
  <Diagnosis>
    <Modality>RESTING</Modality>
    <DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Atrial fibrillation</StmtText></DiagnosisStatement>
    <DiagnosisStatement><StmtText>with rapid</StmtText></DiagnosisStatement>
    <DiagnosisStatement>
      <StmtFlag>USERINSERT</StmtFlag><StmtFlag>ENDSLINE</StmtFlag><StmtText>ventricular response</StmtText>
    </DiagnosisStatement>
    <DiagnosisStatement>
      <StmtFlag>ENDSLINE</StmtFlag><StmtText>Confirmed by Hippokrates, A (7) on 5/10/2021</StmtText>
    </DiagnosisStatement>
  </Diagnosis>
  <OriginalDiagnosis>
    <DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Machine says so</StmtText></DiagnosisStatement>
  </OriginalDiagnosis>"""


def lead_data(lead, counts, checksum=None, **fields):
    data = counts.astype("<i2").tobytes()
    packed = base64.b64encode(data).decode()
    values = {
        "LeadByteCountTotal": len(data),
        "LeadTimeOffset": 0,
        "LeadSampleCountTotal": len(counts),
        "LeadAmplitudeUnitsPerBit": UNITS_PER_BIT,
        "LeadAmplitudeUnits": "MICROVOLTS",
        "LeadID": lead,
        "LeadSampleSize": 2,
        "LeadOff": "FALSE",
        "LeadDataCRC32": zlib.crc32(data) if checksum is None else checksum,
        "WaveFormData": "\n".join(packed[at : at + 76] for at in range(0, len(packed), 76)),
    } | fields
    return "<LeadData>" + "".join(f"<{name}>{value}</{name}>" for name, value in values.items()) + "</LeadData>"


def waveform(kind, leads, base=500, exponent=0):
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(leads)}</NumberofLeads>"
        f"<SampleBase>{base}</SampleBase><SampleExponent>{exponent}</SampleExponent>{''.join(leads)}</Waveform>"
    )


def muse(*waveforms, head=PATIENT + TEST + DIAGNOSIS):
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
        f"<RestingECG>{head}{''.join(waveforms)}</RestingECG>\n"
    )


def counts_of(leads=STORED, num_samples=5000):
    return np.random.default_rng(3).integers(-1500, 1500, (len(leads), num_samples)).astype(np.int16)


def usual_file():
    counts = counts_of()
    median = [lead_data(lead, np.full(600, 77)) for lead in STORED]
    rhythm = [lead_data(lead, row) for lead, row in zip(STORED, counts, strict=True)]
    return muse(waveform("Median", median), waveform("Rhythm", rhythm)), counts


def written(folder, text, name="ecg.bin"):
    path = folder / name
    path.write_text(text, "latin-1")
    return path


def test_rhythm_with_the_limb_leads_that_muse_leaves_to_the_reader(tmp_path):
    text, counts = usual_file()
    record = read_ecg(written(tmp_path, text))
    assert record.lead_names == STANDARD_12
    assert (record.sampling_rate, record.units) == (500.0, "mV")
    by_lead = dict(zip(STORED, counts.astype(np.float64) * UNITS_PER_BIT / 1000, strict=True))
    i, ii = by_lead["I"], by_lead["II"]
    by_lead |= {"III": ii - i, "aVR": -(i + ii) / 2, "aVL": i - ii / 2, "aVF": ii - i / 2}
    expected = np.stack([by_lead[lead] for lead in STANDARD_12])
    np.testing.assert_allclose(record.signal, expected, rtol=2e-7, atol=1e-7)
    for lead in STORED:  # what is stored is exact to the last bit
        np.testing.assert_array_equal(record.signal[STANDARD_12.index(lead)], by_lead[lead].astype(np.float32))
    assert record.metadata["derived_leads"] == ["III", "aVR", "aVL", "aVF"]
    whole = record.signal * record.metadata["adc_gain"][:, None]
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)


def test_facts_and_report(tmp_path):
    record = read_ecg(written(tmp_path, usual_file()[0]))
    assert (record.age, record.sex) == (61.0, "FEMALE")
    assert record.report == "Atrial fibrillation. with rapid ventricular response"
    assert record.metadata["start"] == "2021-05-10T13:15:18"
    assert record.metadata["device"] == "MAC55"
    without_review = usual_file()[0].replace("<Diagnosis>", "<Other>").replace("</Diagnosis>", "</Other>")
    assert read_ecg(written(tmp_path, without_review)).report == "Machine says so"
    without_age = usual_file()[0].replace("<PatientAge>61</PatientAge>", "")
    assert read_ecg(written(tmp_path, without_age)).age == 61.0


def test_the_patient_stays_in_the_file_unless_asked_for(tmp_path):
    path = written(tmp_path, usual_file()[0])
    said = repr(read_ecg(path))
    for secret in ("Mustermann", "Erika", "MRN-0815", "1960", "Hippokrates"):
        assert secret not in said
    patient = read_ecg(path, include_patient=True).metadata["patient"]
    assert patient == {"name": "Erika Mustermann", "id": "MRN-0815", "birth_date": "03-14-1960"}


def test_deriving_here_and_in_the_feature_extractor_is_the_same(tmp_path):
    path = written(tmp_path, usual_file()[0])
    stored = read_ecg(path, derive_leads=False)
    assert stored.lead_names == STORED
    extractor = MeritFeatureExtractor(sampling_rate=500, normalization="none")
    ours, theirs = (extractor(record, return_tensors="np")["input_values"] for record in (read_ecg(path), stored))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_leads_that_are_stored_are_not_derived(tmp_path):
    leads = [*STANDARD_12, "V3R", "V7"]
    counts = counts_of(leads, 300)
    rows = zip(leads, counts, strict=True)
    record = read_ecg(written(tmp_path, muse(waveform("Rhythm", [lead_data(*row) for row in rows], 25, 1))))
    assert record.lead_names == tuple(leads)
    assert record.sampling_rate == 250.0
    assert "derived_leads" not in record.metadata
    np.testing.assert_array_equal(record.signal, (counts * UNITS_PER_BIT / 1000).astype(np.float32))


def test_units_gains_and_leads_that_are_off(tmp_path):
    counts = counts_of(("I", "II"), 300)
    leads = [
        lead_data("I", counts[0], LeadAmplitudeUnits="MILLIVOLTS", LeadAmplitudeUnitsPerBit=0.005),
        lead_data("II", counts[1], LeadAmplitudeUnitsPerBit=2.5, LeadOff="TRUE"),
    ]
    record = read_ecg(written(tmp_path, muse(waveform("RHYTHM", leads))))
    np.testing.assert_allclose(record.signal[:2], counts * np.array([[0.005], [0.0025]]), rtol=1e-6)
    assert record.metadata["leads_off"] == ["II"]
    assert "adc_gain" not in record.metadata  # the derived leads mix two gains


@pytest.mark.parametrize(
    ("units", "millivolts"),
    [("MICROVOLT", 1e-3), ("uV", 1e-3), ("µV", 1e-3), ("mV", 1.0), ("Millivolts", 1.0), ("V", 1e3)],
)
def test_units_in_other_spellings(tmp_path, units, millivolts):
    counts = counts_of(["I"])
    text = muse(
        waveform(
            "Rhythm",
            [lead_data("I", counts[0], LeadAmplitudeUnits=units, LeadAmplitudeUnitsPerBit=0.00488 / millivolts)],
        )
    )
    np.testing.assert_allclose(read_ecg(written(tmp_path, text)).signal, counts * 0.00488, rtol=2e-7)


def test_leads_without_a_unit_are_refused(tmp_path):
    text = muse(waveform("Rhythm", [lead_data("I", counts_of(["I"])[0], LeadAmplitudeUnits="")]))
    with pytest.raises(ValueError, match="lead I has no unit. Correct its LeadAmplitudeUnits"):
        read_ecg(written(tmp_path, text))


def test_the_lowest_count_is_a_missing_sample(tmp_path):
    counts = counts_of(["I"])
    counts[0, 3] = -32768
    missing = np.isnan(read_ecg(written(tmp_path, muse(waveform("Rhythm", [lead_data("I", counts[0])])))).signal[0])
    assert np.flatnonzero(missing).tolist() == [3]


@pytest.mark.parametrize(("before", "after"), [("\n", ""), (" \r\n", "\r\n"), ("", "\0\0\0"), ("", "\n\0")])
def test_blanks_around_the_document(tmp_path, before, after):
    text, _ = usual_file()
    np.testing.assert_array_equal(
        read_ecg(written(tmp_path, before + text + after)).signal, read_ecg(written(tmp_path, text, "plain")).signal
    )


def test_flags_in_small_letters(tmp_path):
    text = usual_file()[0].replace("ENDSLINE", "EndsLine")
    assert read_ecg(written(tmp_path, text)).report == "Atrial fibrillation. with rapid ventricular response"


def test_a_checksum_that_holds_for_some_leads_must_hold_for_all(tmp_path):
    counts = counts_of(("I", "II", "V1"), 300)
    leads = [lead_data("I", counts[0]), lead_data("II", counts[1], checksum=12345), lead_data("V1", counts[2])]
    with pytest.raises(ValueError, match="LeadDataCRC32 does not hold for II"):
        read_ecg(written(tmp_path, muse(waveform("Rhythm", leads))))
    foreign = [lead_data(lead, row, checksum=0) for lead, row in zip(("I", "II", "V1"), counts, strict=True)]
    assert read_ecg(written(tmp_path, muse(waveform("Rhythm", foreign)))).signal.shape == (7, 300)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"LeadID": "Q7"}, "Unknown lead name 'Q7'.*skip_unknown_leads=True"),
        ({"LeadID": "II"}, "holds lead II twice"),
        ({"LeadSampleCountTotal": 301}, "LeadSampleCountTotal of I is 301, but WaveFormData holds 300"),
        ({"LeadByteCountTotal": 2}, "LeadByteCountTotal of I is 2, but WaveFormData holds 600"),
        ({"LeadSampleSize": 4}, "LeadSampleSize of I is 4 bytes, expected 2"),
        ({"LeadAmplitudeUnitsPerBit": 0}, "LeadAmplitudeUnitsPerBit of I is 0, expected a positive"),
        ({"LeadAmplitudeUnitsPerBit": ""}, "LeadAmplitudeUnitsPerBit of I is missing"),
        ({"LeadAmplitudeUnits": "DEGREES"}, "lead I has units 'DEGREES', no voltage"),
        ({"WaveFormData": ""}, "WaveFormData of I is empty"),
        ({"WaveFormData": "A-Z="}, "WaveFormData of I is no base64"),
    ],
)
def test_a_faulty_lead_gives_one_line(tmp_path, fields, message):
    counts = counts_of(("I", "II"), 300)
    path = written(
        tmp_path, muse(waveform("Rhythm", [lead_data("I", counts[0], **fields), lead_data("II", counts[1])]))
    )
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("waveforms", "message"),
    [
        ([], "holds no rhythm waveform.*found no waveform at all"),
        ([waveform("Median", [])], "holds no rhythm waveform.*found Median"),
        ([waveform("Rhythm", [])], "holds no ECG lead"),
        ([waveform("Rhythm", [lead_data("I", np.ones(9))], base="")], "SampleBase is missing"),
        ([waveform("Rhythm", [lead_data("I", np.ones(9))], base=0)], "sampling_rate is 0"),
        ([waveform("Rhythm", [lead_data("I", np.ones(9))], exponent=400)], "SampleExponent is 400"),
    ],
)
def test_a_faulty_file_gives_one_line(tmp_path, waveforms, message):
    with pytest.raises(ValueError, match=message):
        read_ecg(written(tmp_path, muse(*waveforms)))


def test_unknown_leads_can_be_left_out(tmp_path):
    counts = counts_of(("I", "Q7"), 300)
    path = written(tmp_path, muse(waveform("Rhythm", [lead_data("I", counts[0]), lead_data("Q7", counts[1])])))
    record = read_ecg(path, skip_unknown_leads=True)
    assert record.lead_names == ("I",)
    assert record.metadata["other_signals"] == ["Q7 [uV]"]


def test_entities_are_refused(tmp_path):
    text = usual_file()[0].replace('SYSTEM "restecg.dtd"', '[<!ENTITY e SYSTEM "file:///etc/hostname">]')
    with pytest.raises(ValueError, match="declares entities"):
        read_ecg(written(tmp_path, text.replace("MAC55", "&e;")))


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("muse"), usual_file()[0], "ecg.xml")
    return path, path.read_bytes(), read_ecg(path)


@settings(max_examples=100, deadline=None)
@given(damage=damages)
def test_damaged_copies_are_read_right_or_refused(intact, damage):
    path, content, reference = intact
    record = read_right_or_refused(path, content, damage, reference)
    # Checksums protect the samples: where all leads come, they are right, unless what scales them was hit.
    if record is not None and record.lead_names == reference.lead_names:
        scale = record.signal / np.where(reference.signal == 0, np.nan, reference.signal)
        spread = np.nanmax(scale, axis=1) - np.nanmin(scale, axis=1)
        stored = [reference.lead_names.index(lead) for lead in STORED]
        assert (spread[stored] < 1e-5 * np.abs(np.nanmax(scale, axis=1)[stored])).all()


def test_an_empty_file(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        read_ecg(written(tmp_path, "", "ecg.xml"))
