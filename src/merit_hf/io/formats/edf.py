"""EDF, EDF+ and BDF: recordings of many signals in data records of equal duration, with a header in plain text.

Everything about these formats lives here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.age import age_at, read_date, read_time
from merit_hf.io.array_record import agreed, agreed_leads
from merit_hf.io.numbers import read_number
from merit_hf.io.record import EcgRecord
from merit_hf.io.segments import recognised_lead
from merit_hf.io.sex import canonical_sex
from merit_hf.leads_merit import canonical_lead, canonical_leads, is_voltage, to_millivolts

NAME = "EDF"
EXTENSIONS = (".edf", ".bdf", ".rec")

_EDF_VERSION = b"0       "
_BDF_VERSION = b"\xffBIOSEMI"
_HEADER_BYTES = 256  # of the file, and again of each signal
_FACTS = ((8, 88), (88, 168), (168, 176), (176, 184))  # patient, recording, day and time in the header
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ONSET = re.compile(rb"^[+-]\d+(\.\d+)?(?=\x14)")
_WAY_OUT = "Choose signals with channels= and name them with lead_names="
_MAX_GAP = 10  # times the samples that there are; where gaps take up more, a time must be wrong


@dataclass(frozen=True)
class _Signal:
    """One signal as the header describes it: samples a record, and the physical values of two counts."""

    label: str
    dimension: str
    samples: int
    physical: tuple[float, float]
    digital: tuple[float, float]

    @property
    def is_annotation(self) -> bool:
        return self.label in ("EDF Annotations", "BDF Annotations")

    @property
    def flat(self) -> bool:
        """Whether every count means the same physical value, as some programs write for a lead that was off."""
        return self.physical[0] == self.physical[1]


@dataclass(frozen=True)
class _Layout:
    """How the file is cut into data records, and what its header says beside that.

    Args:
        signals: all of them, with annotations. width: bytes of a sample.
        duration: of a record, in seconds.
        num_records: how many there are. header_size: bytes before them.
        discontinuous: may there be gaps between records?
        patient, recording: identification of the person and of the recording. start_day, start_time: as written.
    """

    signals: tuple[_Signal, ...]
    width: int
    duration: float
    num_records: int
    header_size: int
    discontinuous: bool
    patient: str
    recording: str
    start_day: str
    start_time: str

    @property
    def record_size(self) -> int:
        return self.width * sum(signal.samples for signal in self.signals)


def matches(path: Path, head: bytes) -> bool:
    """By the version at the beginning and the length of the header, which follows from the number of signals."""
    if head[:8] not in (_EDF_VERSION, _BDF_VERSION) or len(head) < _HEADER_BYTES:
        return False
    size, num_signals = head[184:192].strip(), head[252:256].strip()
    return size.isdigit() and num_signals.isdigit() and int(size) == _HEADER_BYTES * (int(num_signals) + 1)


def read(
    path: Path,
    *,
    channels: Sequence[int | str] | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
    include_patient: bool = False,
) -> EcgRecord:
    """Reads the ECG leads of an EDF, EDF+ or BDF file.

    Signals are leads if their label names one, with or without "ECG" or "EKG" before it; others (EEG, respiration,
    annotations ...) are left out and listed in `metadata["other_signals"]`. Gaps of an interrupted recording (EDF+D)
    are filled with NaN, and so are samples of the lowest count of all and leads whose physical range is a single value
    (listed in `metadata["flat_leads"]`).

    Args:
        path: the file.
        channels: which signals to read, by index or label, annotations not counted.
        lead_names: names for the signals read, in order, where their labels name no leads.
        units: unit of the signals, where the file gives none that is a voltage.
        include_patient: put what the header says of the patient into `metadata["patient"]`.
    """
    layout = _layout(path)
    onsets = _onsets(path, layout) if layout.discontinuous else None
    rows, names, other_signals = _chosen(path, layout.signals, channels, lead_names, units)
    stored = np.memmap(path, np.uint8, "r", layout.header_size, (layout.num_records, layout.record_size))
    values = [_physical(path, layout, row, stored, units) for row in rows]
    rates = sorted({layout.signals[row].samples / layout.duration for row in rows})
    if len(rates) > 1:
        raise ValueError(
            f"{path}: leads {', '.join(names)} have different sampling rates ({', '.join(map(str, rates))} Hz). "
            "Choose those of one rate with channels="
        )
    signal = np.stack([lead for lead, _ in values])
    flat = [name for name, row in zip(names, rows, strict=True) if layout.signals[row].flat]
    if len(flat) == len(names):
        raise ValueError(f"{path}: the physical range of {', '.join(flat)} is a single value, which makes no scale")
    if onsets is not None:
        signal = _with_gaps(path, signal, onsets, layout)
    metadata: dict[str, Any] = {"format": NAME if layout.width == 2 else "BDF"}
    if other_signals:
        metadata["other_signals"] = other_signals
    if flat:
        metadata["flat_leads"] = flat
    gains = [gain for _, gain in values if gain is not None]
    if len(gains) == len(values):
        metadata["adc_gain"] = np.array(gains)
    born, sex = _person(layout)
    day = _start_day(layout)
    if day:
        metadata["start"] = read_time(day.isoformat(), layout.start_time) if layout.start_time else day.isoformat()
    if include_patient:
        metadata["patient"] = {"identification": layout.patient}
    return EcgRecord(
        signal,
        rates[0],
        tuple(names),
        units="mV",
        record_id=path.stem,
        age=age_at(born.isoformat(), day.isoformat()) if born and day else None,
        sex=sex,
        metadata=metadata,
    )


def _layout(path: Path) -> _Layout:
    """The header's numbers, once they agree with each other and with the size of the file."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if head[:8] not in (_EDF_VERSION, _BDF_VERSION):
            raise ValueError(f"{path} begins with {head[:8]!r}, not like EDF or BDF")
        if len(head) < _HEADER_BYTES:
            raise ValueError(f"{path} is cut off in its header, after {len(head)} bytes")
        num_signals = _whole(path, "number of signals", head[252:256])
        header_size = _whole(path, "size of the header", head[184:192])
        if num_signals < 1 or header_size != _HEADER_BYTES * (num_signals + 1):
            raise ValueError(f"{path}: a header of {header_size} bytes does not fit {num_signals} signals")
        columns = file.read(header_size - _HEADER_BYTES)
    if len(columns) < header_size - _HEADER_BYTES:
        raise ValueError(f"{path} is cut off in its header, after {_HEADER_BYTES + len(columns)} bytes")
    signals = tuple(_signal(path, columns, num_signals, row) for row in range(num_signals))
    if not any(signal.samples for signal in signals):
        raise ValueError(f"{path} says that a record holds no samples of its {num_signals} signals")
    patient, recording, day, time = (head[at:end].decode("latin-1").strip() for at, end in _FACTS)
    layout = _Layout(
        signals=signals,
        width=2 if head[:8] == _EDF_VERSION else 3,
        duration=_number(path, "duration of a record", head[244:252]),
        num_records=_whole(path, "number of records", head[236:244]),
        header_size=header_size,
        discontinuous=head[192:197] in (b"EDF+D", b"BDF+D"),
        patient=patient,
        recording=recording,
        start_day=day,
        start_time=time,
    )
    if layout.duration <= 0:
        raise ValueError(f"{path} says that a record takes {layout.duration:g} s")
    stored = path.stat().st_size - header_size
    if layout.num_records == -1:  # a recording that was not closed: as many as are there
        layout = replace(layout, num_records=stored // layout.record_size)
    # Bytes after the last record are of no use, but do no harm.
    if layout.num_records < 1 or stored < layout.num_records * layout.record_size:
        raise ValueError(
            f"{path} is cut off or damaged: it has {stored} bytes of samples, expected {layout.num_records} records "
            f"of {layout.record_size}. Fetch it again"
        )
    return layout


def _signal(path: Path, columns: bytes, num_signals: int, row: int) -> _Signal:
    """One column of the header, where all labels stand together, then all kinds of sensors, and so on."""

    def text(first: int, length: int) -> bytes:
        return columns[first * num_signals + length * row :][:length]

    label = text(0, 16).decode("latin-1").strip(" \0")
    ranges = [
        _number(path, f"{what} of {label!r}", text(first, 8))
        for what, first in (
            ("physical minimum", 104),
            ("physical maximum", 112),
            ("digital minimum", 120),
            ("digital maximum", 128),
        )
    ]
    samples = _number(path, f"number of samples a record of {label!r}", text(216, 8))
    if samples < 0 or samples % 1:
        raise ValueError(f"{path} says that a record holds {samples:g} samples of {label!r}")
    dimension = text(96, 8).decode("latin-1").strip(" \0")
    return _Signal(label, dimension, int(samples), (ranges[0], ranges[1]), (ranges[2], ranges[3]))


def _number(path: Path, what: str, field: bytes) -> float:
    text = field.decode("latin-1").strip(" \0")
    value = read_number(text)
    if value is None:
        raise ValueError(f"{path}: the {what} should be a number, but the header says {text!r}")
    return value


def _whole(path: Path, what: str, field: bytes) -> int:
    value = _number(path, what, field)
    if value % 1:
        raise ValueError(f"{path}: the {what} should be a whole number, but the header says {value:g}")
    return int(value)


def _onsets(path: Path, layout: _Layout) -> np.ndarray:
    """Seconds at which each record begins; EDF+ writes them at the beginning of the first signal of annotations."""
    row = next((at for at, signal in enumerate(layout.signals) if signal.is_annotation), None)
    if row is None:
        raise ValueError(f"{path} is an interrupted recording, but has no annotations that say when each part began")
    stored = np.memmap(path, np.uint8, "r", layout.header_size, (layout.num_records, layout.record_size))
    notes = stored[:, _bytes_of(layout, row)]
    onsets = []
    for number, note in enumerate(notes, start=1):
        found = _ONSET.match(note.tobytes())
        if found is None:
            raise ValueError(f"{path}: data record {number} does not say when it began")
        onsets.append(float(found[0]))
    return np.array(onsets)


def _bytes_of(layout: _Layout, row: int) -> slice:
    """Where a signal stands in each data record."""
    first = layout.width * sum(signal.samples for signal in layout.signals[:row])
    return slice(first, first + layout.width * layout.signals[row].samples)


def _with_gaps(path: Path, signal: np.ndarray, onsets: np.ndarray, layout: _Layout) -> np.ndarray:
    """Moves each data record to its time; NaN between them. `signal` is (leads, samples), as stored."""
    per_record = signal.shape[1] // layout.num_records
    exact_starts = np.round((onsets - onsets[0]) * (per_record / layout.duration))
    for number, (before, start) in enumerate(pairwise(exact_starts.tolist()), start=2):
        if not start >= before + per_record:
            raise ValueError(f"{path}: data record {number} begins before the one before it has ended")
    if exact_starts[-1] > _MAX_GAP * signal.shape[1]:
        raise ValueError(
            f"{path}: its parts lie {onsets[-1] - onsets[0]:.6g} s apart, too far to fill the gaps; cut it first"
        )
    starts = exact_starts.astype(np.int64)
    filled = np.full((len(signal), int(starts[-1]) + per_record), np.nan)
    places = (starts[:, None] + np.arange(per_record)).reshape(-1)
    filled[:, places] = signal
    return filled


def _chosen(
    path: Path,
    signals: Sequence[_Signal],
    channels: Sequence[int | str] | None,
    lead_names: Sequence[str] | None,
    units: str | None,
) -> tuple[list[int], list[str], list[str]]:
    """Rows to read, their leads, and what is left out."""
    shown = [row for row, signal in enumerate(signals) if not signal.is_annotation]
    labels = [signals[row].label for row in shown]
    if channels is not None:
        rows = [shown[_row(path, channel, labels)] for channel in channels]
    else:
        rows = shown
    if lead_names is not None:
        names: list[str | None] = list(lead_names)
        if len(names) != len(rows):
            raise ValueError(f"{path}: {len(names)} lead_names= for {len(rows)} signals ({', '.join(labels)})")
        agreed_leads(path, lead_names, [signals[row].label for row in rows])
    else:
        names = [_lead(path, signals[row], units, channels is not None) for row in rows]
        rows = [row for row, name in zip(rows, names, strict=True) if name is not None]
    leads = [name for name in names if name is not None]
    if not rows:
        raise ValueError(
            f"{path}: no label names an ECG lead ({', '.join(labels) or 'it has annotations only'}). {_WAY_OUT}"
        )
    others = [f"{signals[row].label} [{signals[row].dimension}]" for row in shown if row not in rows]
    return rows, list(canonical_leads(leads)), others


def _lead(path: Path, signal: _Signal, units: str | None, chosen: bool) -> str | None:
    """Lead that a label names, None for a signal that is left out; EDF holds many that are no ECG."""
    if chosen:
        return canonical_lead(signal.label)
    return recognised_lead(
        path,
        signal.label,
        units or signal.dimension,
        way_out="choose signals with channels= and name them with lead_names=",
        voltages_are_leads=False,
    )


def _row(path: Path, channel: int | str, labels: list[str]) -> int:
    if isinstance(channel, str) and channel in labels:
        return labels.index(channel)
    if not isinstance(channel, str) and 0 <= channel < len(labels):
        return int(channel)
    raise ValueError(f"{path}: channels= names {channel!r}, but the file has {', '.join(labels)}")


def _physical(
    path: Path, layout: _Layout, row: int, stored: np.ndarray, units: str | None
) -> tuple[np.ndarray, float | None]:
    """Samples in mV (float64) and, if these are whole counts divided by it, the counts per mV."""
    signal = layout.signals[row]
    unit = agreed(path, "units", units, signal.dimension if is_voltage(signal.dimension) else None) or signal.dimension
    if not is_voltage(unit):
        stated = f"units {unit!r}, no voltage" if unit else "no unit"
        raise ValueError(f"{path}: signal {signal.label!r} has {stated}. Name the real one with units=")
    low, high = signal.physical
    counts_low, counts_high = signal.digital
    content = np.ascontiguousarray(stored[:, _bytes_of(layout, row)]).reshape(-1, layout.width)
    if signal.flat:
        return np.full(len(content), np.nan), None
    if counts_low >= counts_high:
        raise ValueError(
            f"{path}: signal {signal.label!r} goes from {low:g} to {high:g} in counts from {counts_low:g} "
            f"to {counts_high:g}, which makes no scale"
        )
    if layout.width == 2:
        counts = content.view("<i2")[:, 0].astype(np.float64)
    else:
        first, second, third = content.T.astype(np.int32)
        counts = (((third << 24) | (second << 16) | (first << 8)) >> 8).astype(np.float64)
    counts[counts == -(2.0 ** (8 * layout.width - 1))] = np.nan  # the lowest of all counts marks a missing sample
    to_mv = to_millivolts(1.0, unit)
    gain = (counts_high - counts_low) / (high - low)
    baseline = counts_low - low * gain
    whole = gain > 0 and abs(baseline - round(baseline)) < 1e-6
    counts -= round(baseline) if whole else baseline
    return counts / (gain / to_mv), gain / to_mv if whole else None


def _person(layout: _Layout) -> tuple[date | None, str | None]:
    """Day of birth and sex, where the header follows EDF+ ("code sex birthdate name")."""
    words = layout.patient.split()
    if len(words) < 4 or words[1] not in ("M", "F", "X"):
        return None, None
    return _day(words[2]), canonical_sex(words[1])


def _start_day(layout: _Layout) -> date | None:
    """By EDF+ in the identification of the recording, otherwise by EDF with a year of two digits, 85 being 1985."""
    words = layout.recording.split()
    if words[:1] == ["Startdate"] and len(words) > 1 and (day := _day(words[1])):
        return day
    found = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)", layout.start_day)
    if found is None:
        return None
    year = int(found[3])
    return read_date(f"{year + (1900 if year >= 85 else 2000)}-{found[2]}-{found[1]}")


def _day(text: str) -> date | None:
    """A day as EDF+ writes it: 02-MAR-1951."""
    found = re.fullmatch(r"(\d\d)-([A-Z]{3})-(\d{4})", text.upper())
    if found is None or found[2] not in _MONTHS:
        return None
    return read_date(f"{found[3]}-{_MONTHS.index(found[2]) + 1:02d}-{found[1]}")
