"""What no ECG can be: limits of amplitude, gain, sampling rate, duration and age, and the check that holds them.

Records and plain arrays go through the same check. Nothing is read or corrected here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_AMPLITUDE = 1000.0
"""Largest absolute value in mV. An ECG stays below 20 mV; electrodes add an offset of some 300 mV at most, amplifiers
saturate below 1 V. Z-scores have the same limit."""

MIN_AMPLITUDE = 1e-3
"""Smallest peak-to-peak value in mV of the largest lead, unless every lead is constant. An amplifier's noise alone is
larger."""

GAIN_RANGE = (1e-3, 1e9)
"""Counts per mV. Converters give between 1 and some 40,000; files that store picovolts give 1e9."""

SAMPLING_RATE_RANGE = (10.0, 100_000.0)
"""Samples per second. Below, no QRS complex can be told from noise; above, no electrocardiograph records."""

MAX_DURATION = 31 * 86_400.0
"""Seconds. The longest patch and Holter recordings take up to 30 days."""

AGE_RANGE = (0.0, 150.0)
"""Years."""


def check_limits(
    signal: Any = None,
    sampling_rate: float | None = None,
    *,
    lead_names: Sequence[str] | None = None,
    units: str = "mV",
    adc_gain: Any = None,
    age: float | None = None,
) -> None:
    """Refuses numbers that no ECG has. What is None is not checked.

    Args:
        signal: array (leads, samples) in mV or z-scores; NaN means missing.
        sampling_rate: in Hz.
        lead_names: one a row, for the message.
        units: "mV" or "zscore", for the message.
        adc_gain: counts per mV (or z-score), one or one a lead.
        age: in years; NaN means unknown.

    Raises:
        ValueError: a number is out of range or not finite; in one line that names it and the argument to change.
    """
    if sampling_rate is not None:
        check_sampling_rate(sampling_rate)
    if adc_gain is not None:
        _check_gain(adc_gain)
    if age is not None:
        _check_age(age)
    if signal is not None:
        values = np.asarray(signal)
        if sampling_rate is not None:
            _check_duration(values.shape[-1] / float(sampling_rate))
        _check_amplitude(values, lead_names, units)


def check_sampling_rate(sampling_rate: Any) -> None:
    """Refuses a sampling rate that is no number of Hz within `SAMPLING_RATE_RANGE`."""
    low, high = SAMPLING_RATE_RANGE
    if not low <= _number(sampling_rate) <= high:  # NaN is refused, too
        raise ValueError(
            f"sampling_rate is {_shown(sampling_rate)} Hz, expected {low:g} to {high:g}. Pass sampling_rate= in Hz"
        )


def _check_duration(seconds: float) -> None:
    if seconds > MAX_DURATION:
        raise ValueError(
            f"the ECG lasts {seconds:.4g} s, expected at most {MAX_DURATION:.0f} s. "
            "Pass the true sampling_rate= in Hz, or read a part of the recording"
        )


def _check_gain(adc_gain: Any) -> None:
    low, high = GAIN_RANGE
    gains = np.asarray(adc_gain, dtype=np.float64).reshape(-1)
    wrong = gains[~((gains >= low) & (gains <= high))]
    if wrong.size:
        raise ValueError(
            f"the gain is {wrong[0]:g} counts per mV, expected {low:g} to {high:g}. "
            "Correct the gain or the unit that the ECG states"
        )


def _check_age(age: Any) -> None:
    low, high = AGE_RANGE
    years = _number(age)
    if not (low <= years < high or (isinstance(age, float | np.floating) and math.isnan(years))):
        raise ValueError(
            f"age is {_shown(age)} years, expected {low:g} to {high:g}. Pass age=None where it is unknown"
        )


def _check_amplitude(values: np.ndarray, lead_names: Sequence[str] | None, units: str) -> None:
    if values.size == 0:
        return
    rows = values.reshape(-1, values.shape[-1])
    lowest, highest = np.fmin.reduce(rows, axis=1), np.fmax.reduce(rows, axis=1)  # NaN only where all are missing
    largest = np.maximum(np.abs(lowest.astype(np.float64)), np.abs(highest.astype(np.float64)))
    if (beyond := np.flatnonzero(largest > MAX_AMPLITUDE)).size:
        row = int(beyond[0])
        if np.isinf(largest[row]):
            raise ValueError(f"infinite value in {_lead(lead_names, row)}. Mark missing samples with NaN")
        raise ValueError(
            f"{_lead(lead_names, row)} reaches {largest[row]:.3g} {units}, but no ECG exceeds {MAX_AMPLITUDE:g} "
            f"{units}. Pass the true unit with units=, or correct the gain"
        )
    spread = np.fmax.reduce(highest.astype(np.float64) - lowest)
    if 0 < spread < MIN_AMPLITUDE:
        raise ValueError(
            f"no lead varies by more than {spread:.3g} {units}, expected at least {MIN_AMPLITUDE:g} {units} in one. "
            "Pass the true unit with units=, or correct the gain"
        )


def _lead(lead_names: Sequence[str] | None, row: int) -> str:
    return f"lead {lead_names[row]}" if lead_names is not None and row < len(lead_names) else f"lead {row}"


def _number(value: Any) -> float:
    """The value as a float; NaN where it is no single real number."""
    try:
        return math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shown(value: Any) -> str:
    return repr(value)[:40]
