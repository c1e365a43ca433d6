"""HL7 aECG: the published samples parsed by hand, and files written to the implementation guide."""

import re

import numpy as np
import pytest
from damaged_copies import damages, read_right_or_refused
from hypothesis import given, settings

from merit_hf.io import read_ecg

GENUINE = "formats/hl7_aecg_fda/subject1_0.xml"


def times(head="20021122091000", increment="0.002", unit="s"):
    return (
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="{head}"/><increment value="{increment}" unit="{unit}"/></value></sequence></component>'
    )


def lead(code, digits, scale="2.5", unit="uV", origin="0", origin_unit=None):
    return (
        f'<component><sequence><code code="{code}"/><value xsi:type="SLIST_PQ">'
        f'<origin value="{origin}" unit="{origin_unit or unit}"/><scale value="{scale}" unit="{unit}"/>'
        f"<digits>{' '.join(map(str, digits))}</digits></value></sequence></component>"
    )


def sequences(*parts):
    return f"<component><sequenceSet>{''.join(parts)}</sequenceSet></component>"


PERSON = """<subjectDemographicPerson><name>Erika Mustermann</name><administrativeGenderCode code="F"/>
<birthTime value="19530508"/></subjectDemographicPerson>"""
BEAT = sequences(times(), lead("MDC_ECG_LEAD_I", [7] * 9))
STATEMENTS = "".join(
    f'<component><annotation><code code="MDC_ECG_INTERPRETATION{kind}"/><value xsi:type="ST">{text}</value>'
    "</annotation></component>"
    for kind, text in [
        ("_STATEMENT", "Sinus rhythm"),
        ("_STATEMENT", "Left bundle\n branch block"),
        ("_SUMMARY", "Abnormal ECG"),
        ("_COMMENT", "Confirmed by Hippokrates"),
    ]
)


def aecg(*sets, code="RHYTHM", prefix="", control=""):
    text = f"""<!-- <RestingECG/> is something else -->
<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="Observation">
<id root="uuid-7"/><effectiveTime><center value="20021122091000"/></effectiveTime>
<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>
<id extension="SBJ-123"/>{PERSON}</trialSubject></subject></subjectAssignment>
</componentOf></timepointEvent></componentOf>
{control}<component><series><code code="{code}"/>
<author><seriesAuthor><manufacturedSeriesDevice><manufacturerModelName>ELI250</manufacturerModelName>
</manufacturedSeriesDevice></seriesAuthor></author>{"".join(sets)}
<subjectOf><annotationSet><component><annotation><code code="MDC_ECG_INTERPRETATION"/>{STATEMENTS}</annotation>
</component></annotationSet></subjectOf>
<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/>{BEAT}</derivedSeries></derivation>
</series></component></AnnotatedECG>"""
    return re.sub(r"<(/?)(?=[A-Za-z])", rf"<\1{prefix}", text) if prefix else text


def written(folder, text, name="ecg.bin"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def digits():
    return np.random.default_rng(2).integers(-900, 900, (3, 500))


@pytest.mark.parametrize("prefix", ["", "hl7:"])
def test_values_names_and_facts(tmp_path, digits, prefix):
    codes = ("MDC_ECG_LEAD_I", "MDC_ECG_LEAD_AVR", "MDC_ECG_LEAD_V1")
    leads = [lead(code, row) for code, row in zip(codes, digits, strict=True)]
    record = read_ecg(written(tmp_path, aecg(sequences(times(), *leads), prefix=prefix)))
    np.testing.assert_array_equal(record.signal, (digits * 2.5 / 1000).astype(np.float32))
    assert record.lead_names == ("I", "aVR", "V1")
    assert (record.sampling_rate, record.units, record.record_id) == (500.0, "mV", "uuid-7")
    assert (record.age, record.sex) == (49.0, "female")
    assert record.report == "Sinus rhythm. Left bundle branch block. Abnormal ECG"
    assert record.metadata["adc_gain"].tolist() == [400.0] * 3
    assert record.metadata["device"] == "ELI250"
    assert record.metadata["start"] == "2002-11-22T09:10:00"


def test_a_stated_age_goes_before_the_date_of_birth(tmp_path, digits):
    control = """<controlVariable><relatedObservation><code code="21612-7"/><value value="18" unit="mo"/>
    </relatedObservation></controlVariable>"""
    text = aecg(sequences(times(), lead("MDC_ECG_LEAD_I", digits[0])), control=control)
    assert read_ecg(written(tmp_path, text)).age == 1.5


def test_the_patient_stays_in_the_file_unless_asked_for(tmp_path, digits):
    path = written(tmp_path, aecg(sequences(times(), lead("MDC_ECG_LEAD_I", digits[0]))))
    said = repr(read_ecg(path))
    for secret in ("Mustermann", "Erika", "SBJ-123", "1953", "Hippokrates"):
        assert secret not in said
    patient = read_ecg(path, include_patient=True).metadata["patient"]
    assert patient == {"name": "Erika Mustermann", "id": "SBJ-123", "birth_date": "19530508"}


@pytest.mark.parametrize(
    ("unit", "scale", "millivolts"),
    [("uV", "5", 0.005), ("mV", "0.01", 0.01), ("nV", "2500", 0.0025), ("V", "1e-6", 1e-3)],
)
def test_units_and_origin(tmp_path, digits, unit, scale, millivolts):
    origin = 3 * float(scale)
    text = aecg(sequences(times(), lead("MDC_ECG_LEAD_II", digits[0], scale, unit, str(origin))))
    record = read_ecg(written(tmp_path, text))
    np.testing.assert_allclose(record.signal[0], (digits[0] + 3) * millivolts, rtol=1e-6)
    assert record.metadata["adc_gain"] == pytest.approx([1 / millivolts])


@pytest.mark.parametrize(
    ("increment", "unit", "rate"),
    [
        ("0.001", "s", 1000),
        ("4", "ms", 250),
        ("2000", "us", 500),
        ("0.00333333", "s", 300),
        ("0.0078", "s", 1 / 0.0078),
    ],
)
def test_sampling_rates(tmp_path, digits, increment, unit, rate):
    text = aecg(sequences(times("20021122", increment, unit), lead("MDC_ECG_LEAD_II", digits[0])))
    assert read_ecg(written(tmp_path, text)).sampling_rate == pytest.approx(rate, rel=1e-12)


def test_leads_recorded_in_groups_stand_where_they_were_recorded(tmp_path, digits):
    text = aecg(
        sequences(times("20021122091000.000+0100"), lead("MDC_ECG_LEAD_I", digits[0])),
        sequences(times("20021122091001.000+0100"), lead("MDC_ECG_LEAD_V1", digits[1])),
        sequences(times("20021122091001.500+0100"), lead("MDC_ECG_LEAD_V4", digits[2, :250])),
    )
    record = read_ecg(written(tmp_path, text))
    expected = np.full((3, 1000), np.nan)
    expected[0, :500], expected[1, 500:], expected[2, 750:] = digits[0], digits[1], digits[2, :250]
    np.testing.assert_array_equal(record.signal, (expected * 2.5 / 1000).astype(np.float32))


def test_what_is_no_ecg_is_left_out_and_said(tmp_path, digits):
    leads = lead("MDC_ECG_LEAD_II", digits[0]), lead("MDC_PRESS_BLD", digits[1], unit="mm[Hg]")
    record = read_ecg(written(tmp_path, aecg(sequences(times(), *leads))))
    assert record.lead_names == ("II",)
    assert record.metadata["other_signals"] == ["MDC_PRESS_BLD [mm[Hg]]"]


def test_unknown_voltages_are_left_out_only_if_asked_for(tmp_path, digits):
    path = written(tmp_path, aecg(sequences(times(), lead("MDC_ECG_LEAD_II", digits[0]), lead("VENDOR_7", digits[1]))))
    with pytest.raises(ValueError, match="Unknown lead name 'VENDOR_7'.*skip_unknown_leads=True"):
        read_ecg(path)
    assert read_ecg(path, skip_unknown_leads=True).lead_names == ("II",)


II = "MDC_ECG_LEAD_II"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (aecg(), "holds no ECG lead"),
        (aecg(sequences(times(), lead(II, [1])), code="OTHER"), "expected a series with the code RHYTHM, found OTHER"),
        (aecg(sequences(lead(II, [1]))), "says no times"),
        (aecg(sequences(times(increment="0"), lead(II, [1]))), "the increment of time is 0 's'"),
        (aecg(sequences(times(unit="min"), lead(II, [1]))), "the increment of time is 0.002 'min'"),
        (aecg(sequences(times("20021322091000"), lead(II, [1]))), "'20021322091000' is no date and time"),
        (aecg(sequences(times("soon"), lead(II, [1]))), "the first sample's time is 'soon', expected a number"),
        (aecg(sequences(times(), lead(II, []))), f"{II} has no digits"),
        (aecg(sequences(times(), lead(II, [1, "x"]))), f"digits of {II} hold"),
        (aecg(sequences(times(), lead(II, [1, "nan"]))), f"{II} hold"),
        (aecg(sequences(times(), lead(II, [1], scale="0"))), f"scale of {II} is 0"),
        (aecg(sequences(times(), lead(II, [1], scale=""))), f"scale of {II} is missing"),
        (aecg(sequences(times(), lead(II, [1], unit="mm[Hg]"))), "lead II has units 'mm\\[Hg\\]', no voltage"),
        (
            aecg(sequences(times(), lead(II, [1], origin="2", origin_unit="mV"))),
            "origin in 'mV' and its scale in 'uV'",
        ),
        (aecg(sequences(times(), lead(II, [1]), lead("MDC_ECG_LEAD_I", [1, 2]))), r"number of samples \(II 1, I 2\)"),
        (aecg(sequences(times(), lead(II, [1]), lead(II, [1]))), "lead II twice at the same time"),
        (
            aecg(sequences(times(), lead(II, [1])), sequences(times(increment="0.004"), lead("MDC_ECG_LEAD_I", [1]))),
            r"sampled at different rates \(250, 500 Hz\)",
        ),
        (
            aecg(sequences(times(), lead(II, [1])), sequences(times("20921122091000"), lead("MDC_ECG_LEAD_I", [1]))),
            "s apart, too far for one ECG",
        ),
    ],
)
def test_a_faulty_file_gives_one_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    rows = np.random.default_rng(2).integers(-900, 900, (2, 500))
    leads = [lead(f"MDC_ECG_LEAD_{name}", row) for name, row in zip(("I", "II"), rows, strict=True)]
    path = written(tmp_path_factory.mktemp("aecg"), aecg(sequences(times(), *leads)), "ecg.xml")
    return path, path.read_bytes(), read_ecg(path)


@settings(max_examples=100, deadline=None)
@given(damage=damages)
def test_damaged_copies_are_read_right_or_refused(intact, damage):
    read_right_or_refused(*intact[:2], damage, intact[2])


# -- genuine files


def test_the_published_sample_as_parsed_by_hand(real_data):
    path = real_data / GENUINE
    text = re.sub(r"<!--.*?-->", "", path.read_text("utf-8"), flags=re.DOTALL).split("<derivation>")[0]
    pattern = r'code="MDC_ECG_LEAD_(\w+)".*?<scale value="([\d.]+)" unit="uV"/>\s*<digits>([^<]*)<'
    found = re.findall(pattern, text, re.DOTALL)
    assert len(found) == 12
    record = read_ecg(path)
    assert [name.upper() for name in record.lead_names] == [name.upper() for name, _, _ in found]
    expected = np.array([np.array(row.split(), dtype=float) * float(scale) / 1000 for _, scale, row in found])
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert (record.sampling_rate, record.num_samples) == (500.0, 5000)
    assert (record.age, record.sex) == (46.0, "male")
    assert "Clark" not in repr(record)
    by_lead = dict(zip(record.lead_names, record.signal, strict=True))  # Einthoven, within the rounding of counts
    assert np.abs(by_lead["III"] - (by_lead["II"] - by_lead["I"])).max() < 0.006


@pytest.mark.parametrize(
    "kind", ["", "_effectiveTime_high", "_effectiveTime_interval", "_effectiveTime_low", "_nouuid"]
)
def test_minimal_files(real_data, kind):
    record = read_ecg(real_data / f"formats/hl7_aecg_fda/minimum_aecg{kind}.xml")
    expected = np.array([-2, -2, -2, -2, -3, -4, -3, -5, -5, -4, -6, -9, -9]) * 2.5 / 1000
    np.testing.assert_array_equal(record.signal, expected[None].astype(np.float32))
    assert (record.lead_names, record.sampling_rate) == (("II",), 500.0)
    assert record.metadata["start"].startswith("2002-11-22")


def test_an_empty_document_is_refused(real_data):
    with pytest.raises(ValueError, match="holds no rhythm waveforms.*found no series at all"):
        read_ecg(real_data / "formats/hl7_aecg_fda/empty.xml")
    with pytest.raises(ValueError, match="of no format that can be read"):
        read_ecg(real_data / "formats/hl7_aecg_fda/badschema.xsd")


@pytest.fixture(scope="module")
def genuine(real_data, tmp_path_factory):
    path = real_data / GENUINE
    return tmp_path_factory.mktemp("aecg") / path.name, path.read_bytes(), read_ecg(path)


@settings(max_examples=60, deadline=None)
@given(damage=damages)
def test_damaged_copies_of_a_genuine_file(genuine, damage):
    read_right_or_refused(*genuine[:2], damage, genuine[2])


@pytest.mark.parametrize("described", ["Lead I inverted", "V1", "-I"])
def test_a_description_beside_a_code_is_not_lost(tmp_path, described):
    text = aecg(sequences(times(), lead("MDC_ECG_LEAD_I", range(500))))
    assert read_ecg(written(tmp_path, text)).lead_names == ("I",)
    text = text.replace('code="MDC_ECG_LEAD_I"', f'code="MDC_ECG_LEAD_I" displayName="{described}"')
    with pytest.raises(ValueError, match="lead I by its code is described as"):
        read_ecg(written(tmp_path, text))
