"""Names, units and derivation of leads, against the textbook and the headers of real recordings."""

import numpy as np
import pytest

from merit_hf.leads_merit import (
    LIMB_LEAD_WEIGHTS,
    OTHER_LEADS,
    STANDARD_12,
    canonical_lead,
    canonical_leads,
    canonical_units,
    derive_limb_lead,
    to_millivolts,
)


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        ("AVR", "aVR"),
        ("avl", "aVL"),
        (" V1 ", "V1"),
        ("i", "I"),
        ("Lead II", "II"),
        ("LEAD3", "III"),
        ("DII", "II"),
        ("D1", "I"),
        ("MDC_ECG_LEAD_AVF", "aVF"),
        ("MDC_ECG_LEAD_V6", "V6"),
        ("ECG_II", "II"),
        ("ECG Lead V2", "V2"),
        ("Lead I (Einthoven)", "I"),
        ("vx", "X"),
        ("MLII", "MLII"),
        ("v4r", "V4R"),
    ],
)
def test_a_name_in_any_spelling_is_one_lead(name, lead):
    assert canonical_lead(name) == lead


@pytest.mark.parametrize("lead", STANDARD_12 + OTHER_LEADS)
def test_a_canonical_name_is_its_own(lead):
    assert canonical_lead(lead) == lead


# An inverted lead, a unit in the name and a merely similar name must never be taken for the lead they resemble.
@pytest.mark.parametrize("name", ["-aVR", "V10", "I (uV)", "II (mV)", "ECG", "ECG 1", "", "PLETH", "IV"])
def test_what_is_no_lead_is_refused_by_name(name):
    with pytest.raises(ValueError, match="Unknown lead name") as caught:
        canonical_lead(name)
    assert repr(name) in str(caught.value)
    assert "lead_names=" in str(caught.value)


def test_a_lead_cannot_stand_twice():
    with pytest.raises(ValueError, match="aVR stands more than once"):
        canonical_leads(["I", "AVR", "aVR"])


def test_one_string_is_not_a_list_of_names():
    with pytest.raises(ValueError, match="list of names"):
        canonical_leads("V1")


def test_limb_leads_follow_from_potentials_of_the_electrodes():
    # Right arm, left arm, left leg: the definitions of Einthoven and Goldberger in terms of electrodes.
    right, left, foot = np.random.default_rng(0).standard_normal((3, 500))
    lead_i, lead_ii = left - right, foot - right
    expected = {
        "III": foot - left,
        "aVR": right - (left + foot) / 2,
        "aVL": left - (right + foot) / 2,
        "aVF": foot - (right + left) / 2,
    }
    assert set(LIMB_LEAD_WEIGHTS) == set(expected)
    for lead, truth in expected.items():
        np.testing.assert_allclose(derive_limb_lead(lead, lead_i, lead_ii), truth, atol=1e-14)


def test_chest_leads_do_not_follow():
    with pytest.raises(ValueError, match="V1"):
        derive_limb_lead("V1", 1.0, 2.0)


@pytest.mark.parametrize(
    ("units", "canonical", "millivolts"),
    [
        ("mV", "mV", 1500.0),
        ("uV", "uV", 1.5),
        ("µV", "uV", 1.5),
        ("μV", "uV", 1.5),
        ("Microvolts", "uV", 1.5),
        ("V", "V", 1.5e6),
        ("nV", "nV", 0.0015),
        ("zscore", "zscore", 1500.0),
    ],
)
def test_units_by_name(units, canonical, millivolts):
    assert canonical_units(units) == canonical
    assert to_millivolts(np.array([1500.0]), units) == pytest.approx(millivolts, rel=1e-15)


@pytest.mark.parametrize("units", ["mmHg", "NU", "", "adu", None, "kV"])
def test_what_is_no_voltage_is_refused(units):
    with pytest.raises(ValueError, match="units="):
        canonical_units(units)
