"""Stretches of leads as files store them, and joining them to one record on a common time axis.

Recognising leads and placing samples live here; no file is opened here, and no sample is changed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from merit_hf.leads_merit import canonical_lead, canonical_units

# Stretches of one recording follow each other; further apart than this many times their own length, a time is wrong.
_WIDEST = 4.0


@dataclass(frozen=True, eq=False)
class LeadSegment:
    """Samples of one lead, recorded without a break.

    Args:
        lead: canonical name.
        values: (samples,) float64 in mV, NaN where missing.
        start: of the first sample, in seconds on any clock that all segments of a record share.
        adc_gain: counts per mV where the file holds whole counts, else None.
    """

    lead: str
    values: np.ndarray
    start: float = 0.0
    adc_gain: float | None = None


def recognised_lead(
    path: str | PathLike[str], name: str, units: str | None, *, skip_unknown_leads: bool = False
) -> str | None:
    """Canonical lead of a stored signal, or None if it is no ECG lead and is to be left out.

    A signal that is no voltage, such as a pressure, is left out; a voltage of unknown name is so only if asked for,
    because it may be a lead.

    Raises:
        ValueError: the signal is a voltage of unknown name, or a lead in units that are no voltage.
    """
    try:
        lead = canonical_lead(name)
    except ValueError as error:
        if skip_unknown_leads or not is_voltage(units):
            return None
        raise ValueError(f"{path}: {error} Or pass skip_unknown_leads=True.") from None
    if not is_voltage(units):
        raise ValueError(f"{path}: lead {lead} has units {units!r}, no voltage.")
    return lead


def is_voltage(units: str | None) -> bool:
    """Whether this is a unit of voltage, in any spelling."""
    try:
        return units is not None and canonical_units(units) != "zscore"
    except ValueError:
        return False


def joined_segments(
    path: str | PathLike[str], segments: Sequence[LeadSegment], sampling_rate: float
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Puts every lead in its place from the first sample of all to the last; NaN where a lead was not recorded.

    Args:
        segments: several of one lead must follow each other.
        sampling_rate: in Hz, of all of them.

    Returns:
        Signal (leads, samples) in mV, the names of its rows in the order of their first segments, and counts per mV of
        each row, None where not every row is made of whole counts.
    """
    if not segments:
        raise ValueError(f"{path} holds no ECG lead.")
    if not (math.isfinite(sampling_rate) and 0 < sampling_rate <= 1e6):
        raise ValueError(f"{path}: the sampling rate is {sampling_rate!r} Hz, expected a positive number up to 1e6.")
    first = min(segment.start for segment in segments)
    spans = {(segment.start, len(segment.values)) for segment in segments}
    longest = _WIDEST * sum(length for _, length in spans)
    offsets = [(segment.start - first) * sampling_rate for segment in segments]
    if max(offsets) > longest:
        raise ValueError(
            f"{path}: its leads were recorded {max(offsets) / sampling_rate:.6g} s apart, too far for one ECG."
        )
    starts = [round(offset) for offset in offsets]
    num_samples = max(start + len(segment.values) for start, segment in zip(starts, segments, strict=True))
    names = tuple(dict.fromkeys(segment.lead for segment in segments))
    signal = np.full((len(names), num_samples), np.nan)
    taken = np.zeros(signal.shape, dtype=bool)
    gains: dict[str, set[float | None]] = {name: set() for name in names}
    for start, segment in zip(starts, segments, strict=True):
        place = names.index(segment.lead), slice(start, start + len(segment.values))
        if taken[place].any():
            raise ValueError(f"{path} holds lead {segment.lead} twice at the same time.")
        signal[place] = segment.values
        taken[place] = True
        gains[segment.lead].add(segment.adc_gain)
    whole = [gain for each in gains.values() if len(each) == 1 for gain in each if gain is not None]
    return signal, names, np.array(whole) if len(whole) == len(names) else None
