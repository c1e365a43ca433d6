"""Samples of WFDB records in physical units: signal files in any of the formats of signal(5), alone or in segments.

ECGs are not known here. Formats 508, 516 and 524 (FLAC) are decoded by the wfdb library.
"""

from collections.abc import Callable
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merit_hf.leads_merit import is_voltage, to_millivolts

from .header import DEFAULT_UNITS, WfdbHeader, WfdbSignal, read_header

_FLAC = (508, 516, 524)
# Bytes and samples of the smallest whole unit of a format, and the count that marks a missing sample.
_UNITS: dict[int, tuple[int, int, int | None]] = {
    8: (1, 1, None),
    16: (2, 1, -(2**15)),
    24: (3, 1, -(2**23)),
    32: (4, 1, -(2**31)),
    61: (2, 1, -(2**15)),
    80: (1, 1, -(2**7)),
    160: (2, 1, -(2**15)),
    212: (3, 2, -(2**11)),
    310: (4, 3, -(2**9)),
    311: (4, 3, -(2**9)),
}
# Samples in the first so many bytes of a unit that is cut off.
_IN_PART = {(212, 2): 1, (310, 2): 1, (310, 3): 1, (311, 2): 1, (311, 3): 2}
_SPARSEST = 100  # a recording of segments may last so many times as long as what is stored of it
_SHORT = 100_000_000  # samples that need no such limit


class WfdbSamples(NamedTuple):
    """Samples of one signal.

    Args:
        name: as the header says, "" where it says none.
        values: float64 (samples,) in `units`, NaN where missing.
        units: as the header says, "" where it says none; None where a signal is announced but stored in no segment.
        gain: counts per unit; None where it changes from segment to segment.
        per_frame: samples a frame.
    """

    name: str
    values: np.ndarray
    units: str | None
    gain: float | None
    per_frame: int


def read_samples(header: WfdbHeader) -> list[WfdbSamples]:
    """All signals of a record, of one length in frames.

    Raises:
        ValueError: a file is missing or too short, or segments contradict each other.
    """
    return _in_one_piece(header) if header.segments is None else _in_segments(header)


def _in_one_piece(header: WfdbHeader) -> list[WfdbSamples]:
    if not header.signals:
        raise ValueError(f"{header.path}: the header announces no signals")
    if all(signal.file == "~" for signal in header.signals):
        raise ValueError(
            f"{header.path}: this is the layout of a recording in segments, without samples; read the recording's own "
            "header"
        )
    if any(signal.format in _FLAC for signal in header.signals):
        rows = _by_library(header)
    else:
        files = [(file, list(signals)) for file, signals in groupby(header.signals, key=lambda signal: signal.file)]
        if len({file for file, _ in files}) < len(files):
            raise ValueError(f"{header.path}: its signals of one file do not follow each other; reorder its lines")
        rows = [row for file, signals in files for row in _of_file(header, file, signals)]
    frames = min(len(row) // signal.per_frame for row, signal in zip(rows, header.signals, strict=True))
    return [
        WfdbSamples(signal.name, row[: frames * signal.per_frame], signal.units, signal.gain, signal.per_frame)
        for row, signal in zip(rows, header.signals, strict=True)
    ]


def _of_file(header: WfdbHeader, name: str, signals: list[WfdbSignal]) -> list[np.ndarray]:
    """Physical values of the signals that share a file."""
    first = signals[0]
    if len({(signal.format, signal.offset) for signal in signals}) > 1:
        raise ValueError(f"{header.path}: signals in {name} differ in format or offset; correct the header")
    if first.format not in _UNITS:
        known = ", ".join(map(str, (*_UNITS, *_FLAC)))
        raise ValueError(f"{header.path}: format {first.format} of {name} is unknown, expected one of {known}")
    path = _beside(header, name)
    size = max(path.stat().st_size - first.offset, 0)
    unit_bytes, unit_samples, missing = _UNITS[first.format]
    per_frame = sum(signal.per_frame for signal in signals)
    held = size // unit_bytes * unit_samples + _IN_PART.get((first.format, size % unit_bytes), 0)
    frames = held // per_frame
    if header.num_samples is not None:
        if frames < header.num_samples:
            needed = -(-header.num_samples * per_frame * unit_bytes // unit_samples)
            raise ValueError(
                f"{header.path}: signal file {name} is cut off, it has {first.offset + size} of "
                f"{first.offset + needed} bytes for {header.num_samples} samples. Fetch it again"
            )
        frames = min(frames, header.num_samples + max(signal.skew for signal in signals))
    if not frames:
        raise ValueError(f"{header.path}: signal file {name} holds no samples")
    count = frames * per_frame
    size = -(-count // unit_samples) * unit_bytes
    content = np.fromfile(path, np.uint8, size, offset=first.offset)
    if len(content) < size:  # the last unit is cut off after samples that are whole
        content = np.pad(content, (0, size - len(content)))
    counts = _decode(first.format, content, count).reshape(frames, per_frame)
    holds_missing = missing is not None and counts.min() == missing
    ends = accumulate(signal.per_frame for signal in signals)
    # One array a signal: a large one for all would go back to the system after each record, at more cost than reading.
    rows = [
        counts[:, end - signal.per_frame : end].astype(np.float64).reshape(-1)
        for signal, end in zip(signals, ends, strict=True)
    ]
    for values, signal in zip(rows, signals, strict=True):
        if first.format == 8:
            np.cumsum(values, out=values)
            values += signal.first
        if holds_missing:
            values[values == missing] = np.nan
    return [
        _physical(values, signal, header.num_samples or frames) for values, signal in zip(rows, signals, strict=True)
    ]


def _decode(format_number: int, content: np.ndarray, count: int) -> np.ndarray:
    """Counts as stored, all signals interleaved."""
    if format_number in _PACKED:
        return _PACKED[format_number](content)[:count]
    dtype = {8: "i1", 16: "<i2", 32: "<i4", 61: ">i2", 80: "u1", 160: "<u2"}.get(format_number)
    if dtype is not None:
        offset = {80: 2**7, 160: 2**15}.get(format_number, 0)
        values = content.view(dtype)
        return values.astype(np.int32) - offset if offset else values
    low, middle, high = content.reshape(-1, 3).T.astype(np.int32)  # format 24
    return _signed(low | middle << 8 | high << 16, 24)


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    return values - ((values >> (bits - 1)) << bits)


def _pairs_of_12_bits(content: np.ndarray) -> np.ndarray:
    low, middle, high = content.reshape(-1, 3).T.astype(np.int32)
    pairs = np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1)
    return _signed(pairs.reshape(-1), 12)


def _triples_in_halves(content: np.ndarray) -> np.ndarray:
    first, second = content.view("<u2").reshape(-1, 2).T.astype(np.int32)
    triples = np.stack([first >> 1 & 0x3FF, second >> 1 & 0x3FF, first >> 11 | (second >> 11) << 5], axis=1)
    return _signed(triples.reshape(-1), 10)


def _triples_in_words(content: np.ndarray) -> np.ndarray:
    words = content.view("<u4").astype(np.int64)
    return _signed(np.stack([words >> shift & 0x3FF for shift in (0, 10, 20)], axis=1).reshape(-1), 10)


_PACKED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    212: _pairs_of_12_bits,
    310: _triples_in_halves,
    311: _triples_in_words,
}


def _physical(values: np.ndarray, signal: WfdbSignal, frames: int) -> np.ndarray:
    """(count - baseline) / gain in float64, in the place of the counts, and brought forward by the skew."""
    if signal.baseline:
        values -= signal.baseline
    values /= signal.gain
    shift, length = signal.skew * signal.per_frame, frames * signal.per_frame
    if not shift:
        return values[:length]
    return np.concatenate(
        [values[shift : shift + length], np.full(max(length - max(len(values) - shift, 0), 0), np.nan)]
    )


def _by_library(header: WfdbHeader) -> list[np.ndarray]:
    import wfdb  # slow to import, and only rare records need it

    for signal in header.signals:
        _beside(header, signal.file)
    try:
        record: Any = wfdb.rdrecord(str(header.path.with_suffix("")), physical=False, smooth_frames=False)
        rows = record.e_d_signal
    except Exception as error:  # the library fails in many ways on broken files
        raise ValueError(
            f"{header.path}: its FLAC signal files are damaged, or need a package: pip install soundfile"
        ) from error
    missing = {508: -(2**7), 516: -(2**15), 524: -(2**23)}
    frames = len(rows[0]) // header.signals[0].per_frame
    physical = []
    for row, signal in zip(rows, header.signals, strict=True):
        values = np.array(row, dtype=np.float64)
        values[values == missing.get(signal.format)] = np.nan
        physical.append(_physical(values, signal._replace(skew=0), frames))  # the library has undone the skew
    return physical


def _beside(header: WfdbHeader, name: str) -> Path:
    """The file of that name in the header's folder, also where the header states a folder of its own."""
    for path in (header.path.parent / name, header.path.with_name(name.replace("\\", "/").rpartition("/")[2] or name)):
        if path.is_file():
            return path
    raise ValueError(f"{header.path}: file {name} missing beside {header.path.name}")


def _in_segments(header: WfdbHeader) -> list[WfdbSamples]:
    """Segments joined in time: by row where all hold the same signals, by name where a layout comes first."""
    segments = header.segments or ()
    headers: list[WfdbHeader | None] = []
    for name, length in segments:
        segment = None if name == "~" else read_header(_beside(header, f"{name}.hea"))
        if segment is not None and (segment.segments is not None or segment.rate != header.rate):
            what = "has segments itself" if segment.segments is not None else f"has {segment.rate:g} Hz"
            raise ValueError(f"{header.path}: its segment {name} {what}, expected one piece of {header.rate:g} Hz")
        if segment is not None and length and segment.num_samples not in (None, length):
            raise ValueError(
                f"{header.path} says that segment {name} has {length} samples, but its header says "
                f"{segment.num_samples}; correct one of them"
            )
        headers.append(segment)
    described = [segment for segment in headers if segment is not None]
    if not described:
        raise ValueError(f"{header.path} holds only gaps")
    by_name = segments[0][1] == 0
    keys = [_key(by_name, row, signal) for row, signal in enumerate(described[0].signals)]
    pieces: dict[int | str, list[tuple[int, WfdbSamples]]] = {key: [] for key in keys}
    start, stored = 0, 0
    for (name, length), segment in zip(segments, headers, strict=True):
        if segment is not None and length:
            for row, (signal, piece) in enumerate(zip(segment.signals, _in_one_piece(segment), strict=True)):
                key = _key(by_name, row, signal)
                if key not in pieces or (not by_name and signal.name != described[0].signals[row].name):
                    raise ValueError(f"{header.path}: its segment {name} holds a signal {signal.name!r} of its own")
                pieces[key].append((start, piece))
            stored += length
        start += length
    if header.num_samples not in (None, start):
        raise ValueError(
            f"{header.path} announces {header.num_samples} samples, but its segments have {start}; correct the header"
        )
    if start > max(_SHORT, _SPARSEST * stored):
        raise ValueError(f"{header.path} lasts {start} samples, of which {stored} are stored; read its segments")
    signals = zip(described[0].signals, keys, strict=True)
    return [_joined(header.path, signal.name, pieces[key], start) for signal, key in signals]


def _key(by_name: bool, row: int, signal: WfdbSignal) -> int | str:
    return signal.name if by_name and signal.name else row


def _joined(path: Path, name: str, pieces: list[tuple[int, WfdbSamples]], frames: int) -> WfdbSamples:
    """One signal from its pieces. Pieces in different units of voltage are brought to mV."""
    if not pieces:
        return WfdbSamples(name, np.full(frames, np.nan), None, None, 1)
    per_frame = {piece.per_frame for _, piece in pieces}
    if len(per_frame) > 1:
        raise ValueError(f"{path}: its signal {name!r} changes its sampling rate between segments")
    units = list(dict.fromkeys(str(piece.units) for _, piece in pieces))
    if len(units) > 1:
        units = list(dict.fromkeys(unit or DEFAULT_UNITS for unit in units))
    to_mv = len(units) > 1 and all(map(is_voltage, units))
    (each,) = per_frame
    values = np.full(frames * each, np.nan)
    for start, piece in pieces:
        converted = to_millivolts(piece.values, piece.units or DEFAULT_UNITS) if to_mv else piece.values
        values[start * each : start * each + len(converted)] = converted
    gains = {piece.gain for _, piece in pieces}
    same = len(gains) == 1 and len(units) == 1
    return WfdbSamples(name, values, "mV" if to_mv else "|".join(units), gains.pop() if same else None, each)
