"""Stretches of leads as files store them, and joining them to one record on a common time axis.

Recognising leads and placing samples live here; no file is opened here, and no sample is changed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from merit_hf.leads_merit import STANDARD_12, canonical_lead, is_voltage
from merit_hf.limits_merit import check_sampling_rate

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


# Signals that monitors and Holters store beside the ECG, sometimes with the unit mV that a program assumed.
_OTHER_SIGNALS = re.compile(
    r"^(resp|abp|art|bp|cvp|pap|icp|pleth|ppg|spo2|co2|eeg|eog|emg|nasal|flow|imp|acc|temp|event|marker|trigger|status)",
    re.IGNORECASE,
)
_MAY_BE_LEAD = re.compile(
    rf"(^|[^A-Za-z0-9]|inv|neg|rev)(e[ck]g[a-z0-9]*|lead\d*|{'|'.join(STANDARD_12)})([^A-Za-z0-9]|$|inv|neg|rev)",
    re.IGNORECASE,
)
_TURNED = re.compile(
    r"(^|[\s(_])[-\u2212\u2013]\s*(lead\s*)?(?=av[rlf]|v\d|i{1,3}\b)|[-\u2212\u2013*]\s*\)?$"
    r"|(^|[^a-z])(inv|revers|negat|minus|swap|turned|flip)",
    re.IGNORECASE,
)
_CHEST_LEAD = re.compile(r"V\d+R?", re.IGNORECASE)
_STANDARD_NAMES = {lead.lower() for lead in STANDARD_12}
_AXES = ("X", "Y", "Z")  # of Frank's leads, and of accelerometers


_COUNTS = ("", "nu", "adu", "au", "a.u.", "count", "counts", "lsb", "raw", "bit", "bits", "digital", "unknown", "none")


def may_be_lead(name: str) -> bool:
    """Whether a name contains that of a standard lead, or says ECG: "II-Ref", "aVR_inverted", "EKG1"."""
    return bool(_MAY_BE_LEAD.search(name))


def check_description(path: str | PathLike[str], lead: str, text: str | None) -> None:
    """Refuses a lead known by its code whose description says that it was turned, or is another one.

    Args:
        lead: canonical name, by the code.
        text: free text beside the code, such as "aVR, augmented voltage, right" or "aVR (inverted)".
    """
    words = set(re.findall(r"[A-Za-z0-9]+", text or ""))
    named = {word for word in words if word.lower() in _STANDARD_NAMES or _CHEST_LEAD.fullmatch(word)}
    if _TURNED.search((text or "").strip()) or any(word.lower() != lead.lower() for word in named):
        raise ValueError(f"{path}: lead {lead} by its code is described as {str(text)[:40]!r}; correct one of the two")


def recognised_lead(
    path: str | PathLike[str],
    name: str,
    units: str | None,
    *,
    skip_unknown_leads: bool = False,
    way_out: str = "pass skip_unknown_leads=True",
    unit_way_out: str = "Name the real one with units=",
    voltages_are_leads: bool = True,
) -> str | None:
    """Canonical lead of a stored signal, or None if it is no ECG lead and is to be left out.

    A signal that is no voltage, such as a pressure, is left out; a voltage of unknown name is so only if asked for,
    because it may be a lead.

    Args:
        path: for the message. name, units: as the file says.
        skip_unknown_leads: leave out what may be a lead of unknown name.
        way_out: what the reader offers for signals of unknown name, for the message. unit_way_out: for leads without
            a unit of voltage.
        voltages_are_leads: take every voltage for a possible lead; otherwise only those whose name says so.

    Raises:
        ValueError: the signal may be a lead of unknown name, or is a lead in units that are no voltage.
    """
    try:
        lead = canonical_lead(name)
    except ValueError as error:
        is_unclear = is_voltage(units) or (units or "").strip().lower() in _COUNTS
        possible = (may_be_lead(name) and is_unclear) or (voltages_are_leads and is_voltage(units))
        if skip_unknown_leads or not possible or _OTHER_SIGNALS.match(name):
            return None
        raise ValueError(f"{path}: signal {name[:40]!r} [{units or 'no unit'}]: {error}. Or {way_out}") from None
    if is_voltage(units):
        return lead
    if lead in _AXES and (units or "").strip():
        return None
    stated = f"units {units!r}, no voltage" if (units or "").strip() else "no unit"
    raise ValueError(f"{path}: lead {lead} has {stated}. {unit_way_out}")


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
        raise ValueError(f"{path} holds no ECG lead")
    check_sampling_rate(sampling_rate)
    first = min(segment.start for segment in segments)
    spans = {(segment.start, len(segment.values)) for segment in segments}
    longest = _WIDEST * sum(length for _, length in spans)
    offsets = [(segment.start - first) * sampling_rate for segment in segments]
    if max(offsets) > longest:
        raise ValueError(
            f"{path}: its leads were recorded {max(offsets) / sampling_rate:.6g} s apart, too far for one ECG"
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
            raise ValueError(f"{path} holds lead {segment.lead} twice at the same time")
        signal[place] = segment.values
        taken[place] = True
        gains[segment.lead].add(segment.adc_gain)
    whole = [gain for each in gains.values() if len(each) == 1 for gain in each if gain is not None]
    return signal, names, np.array(whole) if len(whole) == len(names) else None
