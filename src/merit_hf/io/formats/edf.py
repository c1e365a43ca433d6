"""EDF, EDF+ and BDF: recordings of many signals in data records of equal duration, with a header in plain text.

Everything about these formats lives here; decoding the samples is the work of the edfio library.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.record import EcgRecord
from merit_hf.io.sex import canonical_sex
from merit_hf.leads_merit import canonical_lead, canonical_units, to_millivolts

NAME = "EDF"
EXTENSIONS = (".edf", ".bdf", ".rec")

_EDF_VERSION = b"0       "
_BDF_VERSION = b"\xffBIOSEMI"
_HEADER_BYTES = 256  # of the file, and again of each signal
_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)
_ECG_LABEL = re.compile(r"^(ecg|ekg|lead)\b[\s_:-]*", re.IGNORECASE)
_ONSET = re.compile(rb"^[+-]\d+(\.\d+)?(?=\x14)")
_MAX_GAP = 10  # times the samples that there are; where gaps take up more, a time must be wrong


@dataclass(frozen=True)
class _Layout:
    """How the file is cut into data records.

    Args:
        labels: of the signals. samples: of each signal in a record. width: bytes of a sample.
        duration: of a record, in seconds.
        num_records: how many there are. header_size: bytes before them.
        discontinuous: may there be gaps between records?
    """

    labels: tuple[str, ...]
    samples: tuple[int, ...]
    width: int
    duration: float
    num_records: int
    header_size: int
    discontinuous: bool

    @property
    def record_size(self) -> int:
        return self.width * sum(self.samples)


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
    are filled with NaN.

    Args:
        path: the file.
        channels: which signals to read, by index or label, annotations not counted.
        lead_names: names for the signals read, in order, where their labels name no leads.
        units: unit of the signals, where the file gives none that is a voltage.
        include_patient: put what the header says of the patient into `metadata["patient"]`.
    """
    try:
        import edfio  # only this format needs it
    except ImportError as error:
        raise ImportError(f"{path}: reading EDF needs edfio: pip install merit-hf[formats]") from error

    layout = _layout(path)
    onsets = _onsets(path, layout) if layout.discontinuous else None
    reader = edfio.read_edf if layout.width == 2 else edfio.read_bdf
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what the library only warns of leaves the values in doubt
            recording = reader(path, header_encoding="latin-1")
            signals = recording.signals
            rows, names, other_signals = _chosen(path, signals, channels, lead_names, units)
            values = [_physical(path, signals[row], units) for row in rows]
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read as EDF ({' '.join(str(error).split())}).") from error
    except Exception as error:  # a broken header makes the library fail in many ways
        raise ValueError(f"{path} cannot be read as EDF ({type(error).__name__}: {error}).") from error
    rates = sorted({float(signals[row].sampling_frequency) for row in rows})
    if len(rates) > 1:
        raise ValueError(
            f"{path}: leads {', '.join(names)} have different sampling rates ({', '.join(map(str, rates))} Hz). "
            "Choose those of one rate with channels=."
        )
    signal = np.stack([lead for lead, _ in values])
    if onsets is not None:
        signal = _with_gaps(path, signal, onsets, layout)
    metadata: dict[str, Any] = {"format": NAME if layout.width == 2 else "BDF"}
    if other_signals:
        metadata["other_signals"] = other_signals
    gains = [gain for _, gain in values if gain is not None]
    if len(gains) == len(values):
        metadata["adc_gain"] = np.array(gains)
    age, sex = _person(recording)
    start = _start(recording)
    if start:
        metadata["start"] = start
    if include_patient:
        metadata["patient"] = {"identification": recording.local_patient_identification}
    try:
        return EcgRecord(signal, rates[0], tuple(names), record_id=path.stem, age=age, sex=sex, metadata=metadata)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _layout(path: Path) -> _Layout:
    """The header's numbers, once they agree with each other and with the size of the file."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if head[:8] not in (_EDF_VERSION, _BDF_VERSION):
            raise ValueError(f"{path} begins with {head[:8]!r}, not like EDF or BDF.")
        if len(head) < _HEADER_BYTES:
            raise ValueError(f"{path} is cut off in its header, after {len(head)} bytes.")
        num_signals = int(_number(path, "number of signals", head[252:256]))
        header_size = int(_number(path, "size of the header", head[184:192]))
        if num_signals < 1 or header_size != _HEADER_BYTES * (num_signals + 1):
            raise ValueError(f"{path}: a header of {header_size} bytes does not fit {num_signals} signals.")
        columns = file.read(header_size - _HEADER_BYTES)
    if len(columns) < header_size - _HEADER_BYTES:
        raise ValueError(f"{path} is cut off in its header, after {_HEADER_BYTES + len(columns)} bytes.")
    labels = [columns[16 * row : 16 * row + 16].decode("latin-1").strip() for row in range(num_signals)]
    at = 216 * num_signals
    samples = [_number(path, "samples of a record", columns[at + 8 * row :][:8]) for row in range(num_signals)]
    width = 2 if head[:8] == _EDF_VERSION else 3
    duration = _number(path, "duration of a record", head[244:252])
    num_records = int(_number(path, "number of records", head[236:244]))
    if min(samples) < 0 or any(sample % 1 for sample in samples) or sum(samples) < 1:
        raise ValueError(f"{path} says that a record holds {samples} samples of its signals.")
    plus_d = head[192:197] in (b"EDF+D", b"BDF+D")
    layout = _Layout(tuple(labels), tuple(map(int, samples)), width, duration, num_records, header_size, plus_d)
    stored = path.stat().st_size - header_size
    if num_records < 1 or stored != num_records * layout.record_size:
        what = "cut off" if 0 <= stored < num_records * layout.record_size else "damaged or unfinished"
        raise ValueError(
            f"{path} is {what}: it has {stored} bytes of samples, expected {num_records} records "
            f"of {layout.record_size}."
        )
    if duration <= 0:
        raise ValueError(f"{path} says that a record takes {duration} s.")
    return layout


def _number(path: Path, what: str, field: bytes) -> float:
    text = field.decode("latin-1").strip()
    if not _NUMBER.match(text) or not np.isfinite(float(text)):
        raise ValueError(f"{path}: the {what} should be a number, but the header says {text!r}.")
    return float(text)


def _onsets(path: Path, layout: _Layout) -> np.ndarray:
    """Seconds at which each record begins; EDF+ writes them at the beginning of the first signal of annotations."""
    kinds = ("EDF Annotations", "BDF Annotations")
    row = next((at for at, label in enumerate(layout.labels) if label in kinds), None)
    if row is None:
        raise ValueError(f"{path} is an interrupted recording, but has no annotations that say when each part began.")
    content = np.memmap(path, dtype=np.uint8, mode="r", offset=layout.header_size)
    first = layout.width * sum(layout.samples[:row])
    notes = content.reshape(layout.num_records, -1)[:, first : first + layout.width * layout.samples[row]]
    onsets = []
    for number, note in enumerate(notes, start=1):
        found = _ONSET.match(note.tobytes())
        if found is None:
            raise ValueError(f"{path}: data record {number} does not say when it began.")
        onsets.append(float(found[0]))
    return np.array(onsets)


def _with_gaps(path: Path, signal: np.ndarray, onsets: np.ndarray, layout: _Layout) -> np.ndarray:
    """Moves each data record to its time; NaN between them. `signal` is (leads, samples), as stored."""
    per_record = signal.shape[1] // layout.num_records
    exact_starts = np.round((onsets - onsets[0]) * (per_record / layout.duration))
    for number, (before, start) in enumerate(pairwise(exact_starts.tolist()), start=2):
        if not start >= before + per_record:
            raise ValueError(f"{path}: data record {number} begins before the one before it has ended.")
    if exact_starts[-1] > _MAX_GAP * signal.shape[1]:
        raise ValueError(
            f"{path}: its parts lie {onsets[-1] - onsets[0]:.6g} s apart, too far to fill the gaps; cut it first."
        )
    starts = exact_starts.astype(np.int64)
    filled = np.full((len(signal), int(starts[-1]) + per_record), np.nan)
    places = (starts[:, None] + np.arange(per_record)).reshape(-1)
    filled[:, places] = signal
    return filled


def _chosen(
    path: Path,
    signals: Sequence[Any],
    channels: Sequence[int | str] | None,
    lead_names: Sequence[str] | None,
    units: str | None,
) -> tuple[list[int], list[str], list[str]]:
    """Rows to read, their leads, and what is left out."""
    labels = [signal.label for signal in signals]
    if channels is not None:
        rows = [_row(path, channel, labels) for channel in channels]
    elif lead_names is not None:
        rows = list(range(len(labels)))
    else:
        rows = [row for row, signal in enumerate(signals) if _is_lead(path, signal, units)]
    if not rows:
        raise ValueError(
            f"{path}: no label names an ECG lead ({', '.join(labels) or 'it has annotations only'}). "
            "Choose signals with channels= and name them with lead_names=."
        )
    if lead_names is not None and len(lead_names) != len(rows):
        raise ValueError(f"{path}: {len(lead_names)} lead_names= for {len(rows)} signals ({', '.join(labels)}).")
    names = list(lead_names) if lead_names is not None else [_bare(labels[row]) for row in rows]
    try:
        names = [canonical_lead(name) for name in names]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    others = [f"{signal.label} [{signal.physical_dimension}]" for row, signal in enumerate(signals) if row not in rows]
    return rows, names, others


def _row(path: Path, channel: int | str, labels: list[str]) -> int:
    if isinstance(channel, str) and channel in labels:
        return labels.index(channel)
    if not isinstance(channel, str) and 0 <= channel < len(labels):
        return int(channel)
    raise ValueError(f"{path}: channels= names {channel!r}, but the file has {', '.join(labels)}.")


def _bare(label: str) -> str:
    return _ECG_LABEL.sub("", label.strip()) or label.strip()


def _is_lead(path: Path, signal: Any, units: str | None) -> bool:
    """Whether a signal is an ECG lead by its label; ValueError if it says so but not which one."""
    try:
        canonical_lead(_bare(signal.label))
    except ValueError:
        if not _ECG_LABEL.match(signal.label):
            return False
        raise ValueError(
            f"{path}: signal {signal.label!r} is an ECG of unknown lead. Choose signals with channels= and name them "
            "with lead_names=."
        ) from None
    # X, Y, Z are leads, but also the axes of an accelerometer.
    return bool(_ECG_LABEL.match(signal.label)) or _is_voltage(units or signal.physical_dimension)


def _is_voltage(units: str) -> bool:
    try:
        return canonical_units(units) != "zscore"
    except ValueError:
        return False


def _physical(path: Path, signal: Any, units: str | None) -> tuple[np.ndarray, float | None]:
    """Samples in mV (float64) and, if these are whole counts divided by it, the counts per mV."""
    unit = units or signal.physical_dimension
    if not _is_voltage(unit):
        raise ValueError(
            f"{path}: signal {signal.label!r} has units {unit!r}, no voltage. Name the real one with units=."
        )
    low, high = signal.physical_range
    counts_low, counts_high = signal.digital_range
    if low == high or counts_low >= counts_high or not np.isfinite([low, high]).all():
        raise ValueError(
            f"{path}: signal {signal.label!r} goes from {low:g} to {high:g} in counts from {counts_low} "
            f"to {counts_high}, which makes no scale."
        )
    to_mv = to_millivolts(1.0, unit)
    gain = (counts_high - counts_low) / (high - low)
    baseline = counts_low - low * gain
    whole = gain > 0 and abs(baseline - round(baseline)) < 1e-6
    counts = signal.digital.astype(np.float64) - (round(baseline) if whole else baseline)
    return counts / (gain / to_mv), gain / to_mv if whole else None


def _person(recording: Any) -> tuple[float | None, str | None]:
    """Age and sex, where the header follows EDF+ ("code sex birthdate name"); never the other two."""
    words = recording.local_patient_identification.split()
    if len(words) < 4 or words[1] not in ("M", "F", "X"):
        return None, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            born, at = recording.patient.birthdate, recording.startdate
    except (ValueError, AttributeError, KeyError):
        return None, canonical_sex(words[1])
    age = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
    return (float(age) if 0 <= age < 150 else None), canonical_sex(words[1])


def _start(recording: Any) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f"{recording.startdate.isoformat()}T{recording.starttime.isoformat()}"
    except (ValueError, AttributeError, KeyError):
        return None
