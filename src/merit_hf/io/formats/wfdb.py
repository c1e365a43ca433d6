"""WFDB records (PhysioNet): a text header with one or more signal files, possibly in several segments.

Everything about this format lives here; decoding the samples is the work of `plain_wfdb.py` for the usual form, and of
the wfdb library for every other.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.plain_wfdb import read_plain
from merit_hf.io.record import EcgRecord
from merit_hf.leads_merit import canonical_lead, canonical_units, to_millivolts

NAME = "WFDB"
EXTENSIONS = (".hea", ".dat")

_RECORD_LINE = re.compile(r"^[^\s,;#]+(/\d+)?[ \t]+\d+([ \t]+[\d.eE+/():-]+.*)?$")
_SIGNAL_LINE = re.compile(r"^\S+[ \t]+\d+(x\d+)?(:\d+)?(\+\d+)?([ \t]|$)")
# Signals that monitors and Holters store beside the ECG, sometimes without a unit, which WFDB then takes for mV.
_OTHER_SIGNALS = re.compile(
    r"^(resp|abp|art|bp|cvp|pap|icp|pleth|ppg|spo2|co2|eeg|eog|emg|nasal|flow|imp)", re.IGNORECASE
)
_AGE = re.compile(r"<?\bage\b>?\s*[:=]\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SEX = re.compile(r"<?\b(?:sex|gender)\b>?\s*[:=]\s*([A-Za-z]+)", re.IGNORECASE)


def matches(path: Path, head: bytes) -> bool:
    """A header by its first two lines; a signal file or a bare record name by the header that belongs to it."""
    return _is_header(head) or header_of(path) is not None


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
    header = header_of(path) or path
    record = read_plain(header) or _read_any(path, header)
    # A header need not describe its signals.
    names = [name or f"signal {row}" for row, name in enumerate(record.sig_name)]
    signal_units = record.units
    rows = _chosen_rows(path, channels, names)
    if lead_names is not None and len(lead_names) != len(rows):
        raise ValueError(f"{path}: {len(lead_names)} lead_names= for {len(rows)} signals ({', '.join(names)}).")
    leads: list[str] = []
    values: list[np.ndarray] = []
    gains: list[float] = []
    no_gains = [None] * len(names)
    kept: list[int] = []
    other_signals: list[str] = []
    for position, row in enumerate(rows):
        given = lead_names[position] if lead_names is not None else None
        if not signal_units[row]:  # announced for the whole recording, but stored in none of its segments
            other_signals.append(f"{names[row]} [no samples]")
            continue
        lead = _lead_or_other(path, names[row], units or signal_units[row], given)
        if lead is None:
            other_signals.append(f"{names[row]} [{signal_units[row]}]")
            continue
        leads.append(lead)
        unit = units or signal_units[row]
        values.append(to_millivolts(record.e_p_signal[row], unit))
        gains.append(((record.adc_gain or no_gains)[row] or 0.0) / to_millivolts(1.0, unit))
        kept.append(record.samps_per_frame[row])
    if not leads:
        raise ValueError(f"{path}: none of its signals is an ECG lead ({', '.join(other_signals)}).")

    comments = [comment.strip() for comment in record.comments or []]
    metadata: dict[str, Any] = {"format": NAME, "comments": comments}
    if other_signals:
        metadata["other_signals"] = other_signals
    if record.base_datetime is not None:
        metadata["start"] = record.base_datetime.isoformat()
    if all(gains):  # recordings in several segments may change their gain from one to the next, and then state none
        metadata["adc_gain"] = np.array(gains)
    text = "\n".join(comments)
    age, sex = _AGE.search(text), _SEX.search(text)
    signal, frame_samples = _same_rate(values, kept)
    return EcgRecord(
        signal=signal,
        sampling_rate=record.fs * frame_samples,
        lead_names=tuple(leads),
        record_id=record.record_name,
        age=float(age.group(1)) if age else None,
        sex=sex.group(1) if sex else None,
        metadata=metadata,
    )


def _read_any(path: Path, header: Path) -> Any:
    """Record of any form, read by the library."""
    import wfdb  # slow to import, and only rare records need it

    record_path = str(header.with_suffix("")) if header.suffix == ".hea" else str(header)
    try:
        record = wfdb.rdrecord(record_path, physical=True, smooth_frames=False)
    except Exception as error:  # the library fails in many ways on broken files
        raise ValueError(f"{path}: {_what_is_wrong(header, error)}") from error
    names = list(record.sig_name or [])
    if not names or not record.sig_len:
        raise ValueError(f"{path}: nothing to read in {len(names)} signals of {record.sig_len or 0} samples.")
    record.units = record.units or _units_by_segment(wfdb, record_path, names)
    return record


def files_of_header(header: Path) -> set[str]:
    """Names of the files beside a header that belong to it: its signal files, or the headers of its segments."""
    lines = [line.split() for line in header.read_text("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line[0].startswith("#")]
    if not lines:
        return set()
    names = {line[0] for line in lines[1:]} - {"~"}
    return {f"{name}.hea" for name in names} if "/" in lines[0][0] else names


def _is_header(head: bytes) -> bool:
    lines = [line.strip() for line in head.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) < 2 or "\0" in lines[0] or not _RECORD_LINE.match(lines[0]):
        return False
    segmented = "/" in lines[0].split()[0]
    return bool(re.match(r"^\S+[ \t]+\d+$", lines[1]) if segmented else _SIGNAL_LINE.match(lines[1]))


def header_of(path: Path) -> Path | None:
    """The header that belongs to a record name, header or signal file; None if there is none."""
    if path.suffix == ".hea" and path.is_file():
        return path
    beside = path.with_name(f"{path.name}.hea")
    if not path.is_file():
        return beside if beside.is_file() else None
    same_stem = path.with_suffix(".hea")
    if same_stem.is_file() and path.name in same_stem.read_text("utf-8", "replace").split():
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
            raise ValueError(f"{path}: channels= names {channel!r}, but the record has {', '.join(names)}.")
    return rows


def _lead_or_other(path: Path, name: str, units: str, given: str | None) -> str | None:
    """Canonical lead of a signal, or None if the signal is no ECG; ValueError if it may be one but cannot be told."""
    lead: str | None
    try:
        lead = canonical_lead(given if given is not None else name)
    except ValueError as error:
        if given is not None or (_is_voltage(units) and not _OTHER_SIGNALS.match(name)):
            raise ValueError(f"{path}: signal {name!r} [{units}]: {error} Or use channels=[...].") from None
        return None
    if not _is_voltage(units):
        raise ValueError(f"{path}: lead {lead} has units {units!r}, no voltage. Name the real one with units=.")
    return lead


@lru_cache(maxsize=64)
def _is_voltage(units: str) -> bool:
    try:
        return canonical_units(units) != "zscore"
    except ValueError:
        return False


def _units_by_segment(wfdb: Any, record_path: str, names: list[str]) -> list[str]:
    """Units of each signal where segments disagree about some; disagreeing ones are joined, and so are no voltage."""
    segments = wfdb.rdheader(record_path, rd_segments=True).segments
    units: list[str] = []
    for name in names:
        seen = {
            segment.units[segment.sig_name.index(name)]
            for segment in segments
            if segment is not None and segment.sig_len and name in (segment.sig_name or [])
        }
        units.append("|".join(sorted(unit for unit in seen if unit)))
    return units


def _same_rate(values: list[np.ndarray], samples_per_frame: list[int]) -> tuple[np.ndarray, int]:
    """Stacks leads to (leads, samples); where they are sampled unequally often a frame, each frame is averaged."""
    if len(set(samples_per_frame)) == 1:
        return np.stack(values, dtype=np.float32, casting="same_kind"), samples_per_frame[0]
    frames = zip(values, samples_per_frame, strict=True)
    return np.stack([lead.reshape(-1, each).mean(axis=1) for lead, each in frames]), 1


def _what_is_wrong(header: Path, error: Exception) -> str:
    """One line on why the library could not read the record."""
    if isinstance(error, FileNotFoundError) and error.filename and header.is_file():
        return f"file {Path(error.filename).name} missing beside {header.name}."
    if not header.is_file():
        return f"cannot be read: header {header} is missing."
    lines = [line.split() for line in header.read_text("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line[0].startswith("#")]
    if not lines:
        return "unreadable header: it holds no line that describes a record."
    if not _RECORD_LINE.match(" ".join(lines[0])):
        return f"unreadable header: its first line {' '.join(lines[0])[:60]!r} is not 'name signals rate samples'."
    segmented = "/" in lines[0][0]
    count = int(lines[0][0].split("/")[1]) if segmented else int(lines[0][1])
    if len(lines) - 1 < count:
        what = "segments" if segmented else "signals"
        return f"truncated header: it announces {count} {what} and describes {len(lines) - 1}."
    files = [f"{line[0]}.hea" if segmented else line[0] for line in lines[1 : count + 1]]
    missing = [name for name in dict.fromkeys(files) if name not in ("~", "~.hea")]
    missing = [name for name in missing if not (header.parent / name).is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"file {', '.join(missing[:3])}{more} missing beside {header.name}."
    if "~" in files:
        return "this is the layout of a recording in segments, without samples; read the recording's own header."
    return f"cannot be read as WFDB ({type(error).__name__}: {' '.join(str(error).split())})."
