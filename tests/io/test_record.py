"""EcgRecord: what it accepts, what it makes of it, what it refuses."""

import numpy as np
import pytest

from merit_hf.io import EcgRecord


def test_a_record_is_in_millivolts_with_canonical_names():
    record = EcgRecord(np.array([[1000.0, np.nan], [-500.0, 250.0]]), 500, ["AVR", "lead ii"], units="uV")
    np.testing.assert_array_equal(record.signal, np.array([[1.0, np.nan], [-0.5, 0.25]], dtype=np.float32))
    assert record.signal.dtype == np.float32
    assert record.signal.flags.c_contiguous
    assert record.lead_names == ("aVR", "II")
    assert record.units == "mV"
    assert record.sampling_rate == 500.0
    assert record.num_samples == 2
    assert record.duration == 0.004


def test_z_scores_stay_what_they_are():
    record = EcgRecord(np.ones((1, 3)), 100, ("II",), units="zscore")
    assert record.units == "zscore"
    assert (record.signal == 1).all()


@pytest.mark.parametrize(
    ("signal", "rate", "leads", "units", "message"),
    [
        (np.ones((5000, 2)), 500, ("I", "II"), "mV", r"transposed, \(samples, leads\): pass it with its axes swapped"),
        (np.ones((3, 100)), 500, ("I", "II"), "mV", r"\(2, samples\)"),
        (np.ones(100), 500, ("I",), "mV", r"signal\[None, :\]"),
        (np.ones((2, 0)), 500, ("I", "II"), "mV", "empty"),
        (np.ones((2, 5)), 0, ("I", "II"), "mV", "sampling_rate is 0 Hz"),
        (np.ones((2, 5)), np.nan, ("I", "II"), "mV", "sampling_rate is nan Hz"),
        (np.ones((2, 5)), 500, ("I", "I"), "mV", "more than once"),
        (np.ones((2, 5)), 500, ("I", "foo"), "mV", "Unknown lead name 'foo'"),
        (np.ones((2, 5)), 500, ("I", "II"), "mmHg", "Unknown units 'mmHg'"),
        (np.array([["a", "b"]]), 500, ("I",), "mV", "real numbers"),
    ],
)
def test_what_cannot_be_an_ecg_is_refused(signal, rate, leads, units, message):
    with pytest.raises(ValueError, match=message):
        EcgRecord(signal, rate, leads, units)
