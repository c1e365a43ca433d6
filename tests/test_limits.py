"""The limits of what an ECG can be, at their edges."""

import re

import numpy as np
import pytest

from merit_hf.limits_merit import check_limits

BEAT = np.sin(np.arange(100) / 5.0)[None]


@pytest.mark.parametrize(
    "fine",
    [
        {"signal": BEAT, "sampling_rate": 500},
        {"signal": np.zeros((2, 100))},
        {"signal": np.full((2, 100), np.nan)},
        {"signal": 300 + BEAT},  # an electrode's offset
        {"signal": np.stack([BEAT[0], 1e-17 * BEAT[0]])},  # a flat lead after filtering
        {"signal": BEAT.astype(np.float32), "sampling_rate": np.float32(100), "adc_gain": [1.0, 40_000.0], "age": 0},
        {"age": float("nan")},
    ],
)
def test_what_an_ecg_can_be_passes(fine):
    check_limits(**fine)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"signal": 1e4 * BEAT, "lead_names": ["II"]}, ("lead II", "mV", "units=")),
        ({"signal": np.where(BEAT > 0.9, np.inf, BEAT)}, ("infinite value in lead 0",)),
        ({"signal": np.where(BEAT > 0.9, -np.inf, BEAT)}, ("infinite value in lead 0",)),
        ({"signal": 1e-30 * BEAT}, ("1e-30", "units=")[1:]),
        ({"signal": BEAT, "sampling_rate": 1e-3}, ("sampling_rate", "0.001")),
        ({"sampling_rate": 0}, ("sampling_rate", "0")),
        ({"sampling_rate": -250}, ("-250",)),
        ({"sampling_rate": float("nan")}, ("nan",)),
        ({"sampling_rate": float("inf")}, ("inf",)),
        ({"sampling_rate": "500"}, ("'500'",)),
        ({"sampling_rate": True}, ("True",)),
        ({"signal": np.zeros((1, 30_000_000), np.int8), "sampling_rate": 10}, ("3e+06 s", "sampling_rate=")),
        ({"adc_gain": [1000.0, 1e30]}, ("1e+30",)),
        ({"adc_gain": 0.0}, ("gain is 0",)),
        ({"adc_gain": np.nan}, ("nan",)),
        ({"age": -1}, ("-1",)),
        ({"age": 1e9}, ("1000000000.0",)),
        ({"age": float("inf")}, ("inf",)),
    ],
)
def test_what_no_ecg_can_be_is_refused(wrong, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        check_limits(**wrong)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
