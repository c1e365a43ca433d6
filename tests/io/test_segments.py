"""Stretches of leads on a common time axis."""

import numpy as np
import pytest

from merit_hf.io.segments import (
    LeadSegment,
    check_description,
    joined_segments,
    may_be_lead,
    recognised_lead,
)


def segment(lead, start, length, gain=None, value=1.0):
    return LeadSegment(lead, np.full(length, value), start, gain)


def test_leads_recorded_one_after_the_other_stand_where_they_were_recorded():
    signal, names, gain = joined_segments(
        "f", [segment("I", 7.0, 4, 200.0), segment("V1", 7.05, 3, 100.0), segment("I", 7.1, 2, 200.0, 2.0)], 80
    )
    assert names == ("I", "V1")
    nan = np.nan
    expected = [[1, 1, 1, 1, nan, nan, nan, nan, 2, 2], [nan, nan, nan, nan, 1, 1, 1, nan, nan, nan]]
    np.testing.assert_array_equal(signal, expected)
    assert gain.tolist() == [200.0, 100.0]


def test_a_gain_that_changes_or_is_unknown_is_not_stated():
    assert joined_segments("f", [segment("I", 0, 4, 200.0), segment("I", 0.1, 4, 100.0)], 40)[2] is None
    assert joined_segments("f", [segment("I", 0, 4, 200.0), segment("II", 0, 4)], 40)[2] is None


@pytest.mark.parametrize(
    ("segments", "rate", "message"),
    [
        ([], 500, "no ECG lead"),
        ([segment("I", 0, 9)], 0, "sampling_rate is 0"),
        ([segment("I", 0, 9)], float("inf"), "sampling_rate is inf"),
        ([segment("I", 0, 9), segment("I", 0.1, 9)], 40, "lead I twice at the same time"),
        ([segment("I", 0, 9), segment("II", 1e9, 9)], 500, "recorded 1e[+]09 s apart"),
    ],
)
def test_what_cannot_be_one_recording(segments, rate, message):
    with pytest.raises(ValueError, match=message):
        joined_segments("f", segments, rate)


def test_signals_are_leads_or_left_out_or_refused():
    assert recognised_lead("f", "MDC_ECG_LEAD_AVR", "uV") == "aVR"
    assert recognised_lead("f", "ABP", "mmHg") is None
    assert recognised_lead("f", "mystery", "mV", skip_unknown_leads=True) is None
    with pytest.raises(
        ValueError, match=r"f: signal 'mystery' \[mV\]: Unknown lead name 'mystery'.* skip_unknown_leads=True"
    ):
        recognised_lead("f", "mystery", "mV")
    with pytest.raises(ValueError, match="f: lead II has no unit"):
        recognised_lead("f", "II", None)


@pytest.mark.parametrize(
    ("lead", "text"),
    [
        ("aVR", "-aVR"),
        ("aVR", "Lead -aVR"),
        ("aVR", "aVR (inverted)"),
        ("I", "Lead I, reversed"),
        ("I", "minus I"),
        ("V5", "V5 -"),
        ("V4", "V4 (V4R)"),
        ("V1", "V1 (V7)"),
        ("I", "II"),
    ],
)
def test_a_description_that_contradicts_the_code(lead, text):
    with pytest.raises(ValueError, match="e.dcm: lead .* by its code is described as"):
        check_description("e.dcm", lead, text)


@pytest.mark.parametrize(
    ("lead", "text"),
    [
        ("aVR", "aVR, augmented voltage, right"),
        ("I", "Lead I (Einthoven)"),
        ("V1", "Precordial lead V1 - unipolar"),
        ("I", "MDC_ECG_LEAD_I"),
        ("II", "Ableitung II"),
        ("V2", None),
        ("V2", ""),
    ],
)
def test_a_description_that_fits_the_code(lead, text):
    check_description("e.dcm", lead, text)


@pytest.mark.parametrize("name", ["aVRinv", "invII", "ECGL", "ECGI-", "ECG 1", "V1-Ref", "II_inverted", "EKG-II"])
def test_names_that_may_be_leads(name):
    assert may_be_lead(name)


@pytest.mark.parametrize("name", ["EEG Fp1", "Resp", "EMG chin", "Pleth", "EOG-L", "Flow", "C3-M2"])
def test_names_that_are_no_leads(name):
    assert not may_be_lead(name)
