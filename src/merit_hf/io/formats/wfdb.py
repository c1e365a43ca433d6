"""WFDB records (PhysioNet): a text header with one or more signal files, possibly in several segments.

Which signals are leads is decided here; `io/wfdb/` decodes headers and samples.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.age import age_in_years
from merit_hf.io.array_record import agreed, agreed_leads
from merit_hf.io.record import EcgRecord
from merit_hf.io.segments import recognised_lead
from merit_hf.io.wfdb.header import DEFAULT_UNITS, header_lines, header_text, is_header, read_header
from merit_hf.io.wfdb.samples import read_samples
from merit_hf.leads_merit import is_voltage, to_millivolts

NAME = "WFDB"
EXTENSIONS = (".hea", ".dat")

_WAY_OUT = "use channels=[...] or lead_names=[...]"
_AGE = re.compile(
    r"<?\bage\b>?\s*[:=]\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>(?:years?|y|months?|mos?|weeks?|wks?|w|days?|d)\b)?",
    re.IGNORECASE,
)
_SEX = re.compile(r"<?\b(?:sex|gender)\b>?\s*[:=]\s*([A-Za-z]+)", re.IGNORECASE)


def matches(path: Path, head: bytes) -> bool:
    """A header by its first two lines; a signal file or a bare record name by the header that belongs to it."""
    return is_header(header_text(head)) or header_of(path) is not None


def read(
    path: Path,
    *,
    channels: Sequence[int | str] | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads a WFDB record.

    Physical values are (digital − baseline) / gain in float64, rounded once to float32. Samples marked as invalid, and
    gaps between segments, become NaN. Signals that are no ECG leads (pressure, respiration ...) are left out and
    listed in `metadata["other_signals"]`. Leads sampled several times a frame keep their own rate.

    Args:
        path: the record without extension, its header, or one of its signal files.
        channels: which signals to read, by index or by the name in the header; all ECG leads by default.
        lead_names: names for the signals read, in order, where those in the header are not names of leads.
        units: unit of the physical values, where the header gives none that is a voltage.
    """
    header = read_header(header_of(path) or path)
    signals = read_samples(header)
    # A header need not name its signals.
    names = [signal.name or f"signal {row}" for row, signal in enumerate(signals)]
    rows = _chosen_rows(path, channels, names)
    if lead_names is not None and len(lead_names) != len(rows):
        raise ValueError(f"{path}: {len(lead_names)} lead_names= for {len(rows)} signals ({', '.join(names)})")
    agreed_leads(path, lead_names, [names[row] for row in rows])
    leads: list[str] = []
    values: list[np.ndarray] = []
    gains: list[float | None] = []
    kept: list[int] = []
    other_signals: list[str] = []
    for position, row in enumerate(rows):
        signal = signals[row]
        if signal.units is None:  # announced for the whole recording, but stored in none of its segments
            other_signals.append(f"{names[row]} [no samples]")
            continue
        unit = signal.units or units or DEFAULT_UNITS
        if units is not None:
            unit = agreed(path, "units", units, unit if is_voltage(unit) else None)
        lead = recognised_lead(
            path, lead_names[position] if lead_names is not None else names[row], unit, way_out=_WAY_OUT
        )
        if lead is None:
            other_signals.append(f"{names[row]} [{unit}]")
            continue
        leads.append(lead)
        values.append(to_millivolts(signal.values, unit))
        gains.append(signal.gain and signal.gain / to_millivolts(1.0, unit))
        kept.append(signal.per_frame)
    if not leads:
        raise ValueError(f"{path}: none of its signals is an ECG lead ({', '.join(other_signals)})")

    metadata: dict[str, Any] = {"format": NAME, "comments": list(header.comments)}
    if other_signals:
        metadata["other_signals"] = other_signals
    if header.start is not None:
        metadata["start"] = header.start.isoformat()
    # Recordings in several segments may change their gain from one to the next; a negative one turns the signal.
    if all(gain is not None and gain > 0 for gain in gains):
        metadata["adc_gain"] = np.array(gains)
    text = "\n".join(header.comments)
    age, sex = _AGE.search(text), _SEX.search(text)
    stacked, frame_samples = _same_rate(values, kept)
    return EcgRecord(
        signal=stacked,
        sampling_rate=header.rate * frame_samples,
        lead_names=tuple(leads),
        units="mV",
        record_id=header.name,
        age=age_in_years(age["number"], age["unit"]) if age else None,
        sex=sex.group(1) if sex else None,
        metadata=metadata,
    )


def files_of_header(header: Path) -> set[str]:
    """Names of the files beside a header that belong to it: its signal files, or the headers of its segments."""
    try:
        lines = [line.split() for line in header_lines(header_text(header.read_bytes()))]
    except OSError:  # reported where the recording is read
        return set()
    if not lines:
        return set()
    names = {line[0] for line in lines[1:]} - {"~"}
    segmented = "/" in lines[0][0] and not any("." in name for name in names)
    return {f"{name}.hea" for name in names} - {header.name} if segmented else names


def header_of(path: Path) -> Path | None:
    """The header that belongs to a record name, header or signal file; None if there is none."""
    if path.suffix == ".hea" and path.is_file():
        return path
    beside = path.with_name(f"{path.name}.hea")
    if not path.is_file():
        return beside if beside.is_file() else None
    same_stem = path.with_suffix(".hea")
    if same_stem.is_file() and path.name in header_text(same_stem.read_bytes()).split():
        return same_stem
    return None


def _chosen_rows(path: Path, channels: Sequence[int | str] | None, names: list[str]) -> list[int]:
    if channels is None:
        return list(range(len(names)))
    rows = []
    for channel in channels:
        if isinstance(channel, str) and channel in names:
            rows.append(names.index(channel))
        elif not isinstance(channel, str) and 0 <= channel < len(names):
            rows.append(int(channel))
        else:
            raise ValueError(f"{path}: channels= names {channel!r}, but the record has {', '.join(names)}")
    return rows


def _same_rate(values: list[np.ndarray], samples_per_frame: list[int]) -> tuple[np.ndarray, int]:
    """Stacks leads to (leads, samples); where they are sampled unequally often a frame, each frame is averaged."""
    if len(set(samples_per_frame)) == 1:
        return np.stack(values, dtype=np.float32, casting="same_kind"), samples_per_frame[0]
    frames = zip(values, samples_per_frame, strict=True)
    return np.stack([lead.reshape(-1, each).mean(axis=1) for lead, each in frames]), 1
