"""From a bare array of samples, and what is known about it, to an EcgRecord; what all the array formats share.

Completing and checking live here. Opening files does not: that is the work of one file each in `formats/`.
"""

import re
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from merit_hf.leads_merit import (
    STANDARD_12,
    canonical_lead,
    canonical_units,
    is_voltage,
    looks_like_counts,
    shape_message,
    to_millivolts,
    with_missing_counts,
)

from .record import EcgRecord, unmasked

# Columns of a table that say when a row was measured, and so are no leads.
_TIME_COLUMN = re.compile(
    r"^((elapsed[\s_]*)?time([\s_]*stamp)?|t|date[\s_]*time|samples?([\s_]*(#|no\.?|number|index))?|index|seconds?|ms"
    r"|unnamed: 0|)$",
    re.IGNORECASE,
)
_TIME_UNIT = re.compile(
    r"[\s_]*[\[(]?(?<![A-Za-z])(s|sec|ms|msec|seconds?|milliseconds?|samples|h+:m+(:s+)?(\.m+)?|hours:mins:secs)?[\])]?$",
    re.IGNORECASE,
)
_UNIT_OF_COLUMN = re.compile(r"^(?:.*[\s_\[(]+)?(?P<unit>s|sec|seconds?|ms|msec|milliseconds?)[\])]?$", re.IGNORECASE)
_MOST_DRIFT = 0.01  # by which a column of time may contradict the sampling rate
_UNIT_IN_NAME = re.compile(r"^(?P<lead>.+?)[\s_]*[\[(](?P<units>[^\])]+)[\])]$")


def array_record(
    path: str | PathLike[str],
    signal: np.ndarray,
    *,
    sampling_rate: float | None,
    lead_names: Sequence[str] | None,
    units: str | None,
    adc_gain: Any = None,
    **known: Any,
) -> EcgRecord:
    """Makes a record of an array read from `path`; what the caller left out and the file does not say is asked for.

    Args:
        signal: (leads, samples).
        sampling_rate: Hz. lead_names: one a row. units: of the values; millivolts if None.
        adc_gain: if given, `signal` holds counts, divided by these counts per unit (one, or one a lead) in float64.
            Counts of -32768 are missing samples.
        known: further fields of `EcgRecord`.
    """
    if sampling_rate is None:
        raise ValueError(f"{path} does not say its sampling rate: pass sampling_rate= in Hz")
    if lead_names is None:
        raise ValueError(
            f"{path} does not name its leads: pass lead_names= in the order of its {signal.shape[0]} rows, "
            f"for instance lead_names={list(STANDARD_12)}"
        )
    signal = unmasked(signal)
    if signal.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected real numbers, got dtype {signal.dtype}")
    if signal.ndim != 2 or signal.shape[0] != len(lead_names):
        raise ValueError(f"{path} has {shape_message(signal.shape, len(lead_names))}")
    if looks_like_counts(signal):
        if units is None and adc_gain is None:
            raise ValueError(
                f"{path} holds whole numbers without their unit, as counts of a converter are: pass units= ('uV', "
                "'mV' ...) or store the gain in counts per mV beside them"
            )
        signal = with_missing_counts(signal)
    units = "mV" if units is None else units
    metadata = dict(known.pop("metadata", None) or {})
    if adc_gain is not None:
        gain = np.asarray(adc_gain, dtype=np.float64).reshape(-1)
        if gain.size not in (1, len(signal)) or not (np.isfinite(gain) & (gain > 0)).all():
            raise ValueError(
                f"{path}: adc_gain must be positive counts per unit, one or one a lead; got {str(adc_gain)[:60]}"
            )
        signal = signal.astype(np.float64) / gain[:, None]
        metadata["adc_gain"] = np.broadcast_to(gain / to_millivolts(1.0, units), len(signal))
    return EcgRecord(signal, sampling_rate, tuple(lead_names), units, metadata=metadata, **known)


def is_time_column(name: str) -> bool:
    """Whether a column of this name says when a row was measured, or counts rows."""
    return bool(_TIME_COLUMN.match(_TIME_UNIT.sub("", name.strip())))


def leads_of_columns(path: str | PathLike[str], columns: Sequence[str]) -> tuple[list[int], list[str], str | None]:
    """Which columns of a table are leads: their positions, their names, and the unit that stands in the names, if any.

    `"I (uV)"` is lead I in microvolts. Columns of time are left out.
    """
    positions = [at for at, name in enumerate(columns) if not is_time_column(name)]
    names: list[str] = []
    units: set[str | None] = set()
    for position in positions:
        name = columns[position].strip()
        found = _UNIT_IN_NAME.match(name)
        if found and (is_voltage(found["units"]) or found["units"] == "zscore"):
            name = found["lead"]
            units.add(canonical_units(found["units"]))
        else:
            units.add(None)
        names.append(name)
    if len(units) > 1:
        raise ValueError(f"{path}: its columns are in different units: {', '.join(columns)}. Bring them to one unit")
    return positions, names, units.pop() if units else None


def rate_of_times(
    path: str | PathLike[str], columns: Sequence[str], clocks: Sequence[int], table: np.ndarray, given: float | None
) -> float | None:
    """Samples a second by a column of time whose unit is known; a given rate only has to fit its length.

    Args:
        columns: names of the columns of `table` (rows, columns).
        clocks: positions of columns that hold clock times in seconds.
        given: sampling rate in Hz, or None.

    Returns:
        The rate in Hz; None where no column tells it or one was given.
    """
    found = [
        (at, match)
        for at, name in enumerate(columns)
        if is_time_column(name) and (match := _UNIT_OF_COLUMN.match(name))
    ]
    if len(table) < 3 or not (found or clocks):
        return None
    at = clocks[0] if clocks else found[0][0]
    times = table[:, at] / (1000 if not clocks and found[0][1]["unit"].lower().startswith("m") else 1)
    span = float(times[-1] - times[0])
    steps = np.diff(times)
    rounding = float(steps[steps > 0].min()) if (steps > 0).any() else np.inf  # times that stand still were rounded
    if given is not None:
        wanted = (len(times) - 1) / given
        if np.isfinite(span) and abs(span - wanted) > max(rounding, _MOST_DRIFT * wanted):
            says = f"{(len(times) - 1) / span:g} Hz" if span > 0 else "no time passes"
            raise ValueError(f"{path}: sampling_rate is {given:g} Hz, but its column of time says {says}")
        return None
    step = span / (len(times) - 1)
    even = times[0] + step * np.arange(len(times))
    if not step > 0 or not (np.abs(times - even) < 0.75 * step).all():  # times may have been rounded
        raise ValueError(
            f"{path}: column {columns[at]!r} has uneven steps. Pass sampling_rate= if its times are only rounded; "
            "otherwise bring the ECG to an even rate first"
        )
    rate = 1 / step
    decimals = next((digits for digits in range(10) if np.allclose(times, times.round(digits), rtol=0, atol=1e-11)), 9)
    uncertainty = 10.0**-decimals / span
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) <= uncertainty else float(rate)


def agreed(path: str | PathLike[str], name: str, given: Any, found: Any) -> Any:
    """An option's value: as given, else as the file says; ValueError if both speak and differ."""
    if given is None or found is None:
        return found if given is None else given
    same = canonical_units(given) == canonical_units(found) if name == "units" else given == found
    if not same:
        raise ValueError(f"{path} says {name} is {found!r}, but {name}={given!r} was given. Leave the option out")
    return given


def agreed_leads(path: str | PathLike[str], given: Sequence[str] | None, found: Sequence[str] | None) -> Any:
    """Names of leads: as given, else as the file says; ValueError if a standard lead would get another lead's name.

    Names that are no leads, leads of monitors such as MLII and V, and names that stand twice may be replaced.
    """
    if given is None or found is None:
        return found if given is None else given
    stored = [_standard_lead(name) for name in found]
    for before, after in zip(stored, given, strict=False):
        if before is not None and stored.count(before) == 1 and _standard_lead(after) != before:
            raise ValueError(
                f"{path} says that a lead is {before}, but lead_names= calls it {str(after)[:20]!r}. Leave the option "
                "out, or rename the record's leads after reading"
            )
    return given


def _standard_lead(name: str) -> str | None:
    try:
        lead = canonical_lead(name)
    except ValueError:
        return None
    return lead if lead in STANDARD_12 else None
