"""Text headers of WFDB records, as header(5) of the WFDB manual describes them.

What a header says is read here, and what it cannot say is refused; signal files are opened in samples.py.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from merit_hf.io.numbers import read_count, read_number
from merit_hf.limits_merit import MAX_DURATION, SAMPLING_RATE_RANGE

DEFAULT_UNITS = "mV"
"""By header(5), where a gain states no unit."""

_DEFAULT_RATE, _DEFAULT_GAIN = 250.0, 200.0  # of header(5), where a field is left out
_RECORD_LINE = re.compile(
    r"(?P<name>[^\s,;]*?[^\s,;/])(/(?P<segments>\d{1,7}))?\s+(?P<signals>\d{1,4})(\s+(?P<rest>.+))?"
)
_SEGMENT_LINE = re.compile(r"[^\s.]+\s+\d+")
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d+)(x(?P<per_frame>\d{1,6}))?(:(?P<skew>\d{1,9}))?(\+(?P<offset>\d{1,12}))?"
    # the gain; then bits of the converter, its zero, first count, checksum, block size; and the name
    r"(\s+(?P<gain>\S+)(?P<counts>(\s+[-+]?\d+(?=\s|$)){0,5})(\s+(?P<name>\S.*))?)?"
)
_GAIN = re.compile(r"(?P<gain>[^(/]*)(\((?P<baseline>[^)]*)\))?(/(?P<units>.*))?")


class WfdbSignal(NamedTuple):
    """One signal as a header describes it.

    Args:
        file: name of its signal file; "~" for a layout, which has no samples.
        format: number of the storage format. per_frame: samples a frame. skew: frames by which it is stored late.
        offset: bytes before the samples.
        gain: counts per unit. baseline: count of 0 units. first: the count before the first, for format 8.
        units: as the header says, "" where it says none. name: "" where there is none.
    """

    file: str
    format: int
    per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    first: int
    units: str
    name: str


@dataclass(frozen=True)
class WfdbHeader:
    """A header.

    Args:
        path: its file. name: of the record.
        rate: frames a second, in Hz. num_samples: frames; None where the header does not say.
        start: date and time, None where they are missing or no date.
        signals: none in a recording of segments.
        segments: names and lengths, None in a recording of one piece.
        comments: lines that begin with "#".
    """

    path: Path
    name: str
    rate: float
    num_samples: int | None
    start: datetime | None
    signals: tuple[WfdbSignal, ...]
    segments: tuple[tuple[str, int], ...] | None
    comments: tuple[str, ...]


def header_text(content: bytes) -> str:
    """Text of a header: UTF-8 or, as programs on Windows write it, Latin-1."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def header_lines(text: str) -> list[str]:
    """Lines that say something, without comments."""
    return [line for line in _stripped_lines(text) if not line.startswith("#")]


def _stripped_lines(text: str) -> list[str]:
    """Lines that are not blank. Only line feeds and carriage returns end one: Latin-1 has other uses for \\x85."""
    lines = map(str.strip, text.replace("\r", "\n").split("\n"))
    return list(filter(None, lines))


def is_header(text: str) -> bool:
    """Whether text begins like a header: by its first two lines."""
    lines = header_lines(text)
    record = _RECORD_LINE.fullmatch(lines[0]) if lines and "\0" not in lines[0] else None
    if len(lines) < 2 or record is None:
        return False
    if record["rest"] and not re.fullmatch(r"[\d.eE+/():\s-]+(\s+\S.*)?", record["rest"]):
        return False
    signal = _SIGNAL_LINE.fullmatch(lines[1])
    # Whole numbers with blanks between them are a table, unless segments are announced.
    return bool(signal and read_number(signal["file"]) is None) or bool(
        record["segments"] and _SEGMENT_LINE.fullmatch(lines[1])
    )


def read_header(path: Path) -> WfdbHeader:
    """The header in a file.

    Raises:
        ValueError: it is cut off, or a number in it cannot be.
    """
    try:
        text = header_text(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"header {path} is missing") from None
    stripped = _stripped_lines(text)
    lines = [line for line in stripped if not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path}: unreadable header: it holds no line that describes a record")
    record = _RECORD_LINE.fullmatch(lines[0])
    if record is None or "\0" in lines[0]:
        raise ValueError(
            f"{path}: unreadable header: its first line {lines[0][:60]!r} is not 'name signals rate samples'"
        )
    rate, num_samples, start = _rate_length_start(path, (record["rest"] or "").split())
    segments, name = record["segments"], record["name"]
    # "records/100001 2 360" names a folder and a record; only lines of segments tell it from a recording of segments.
    segmented = bool(segments) and all(map(_SEGMENT_LINE.fullmatch, lines[1:]))
    if segments and not segmented and _SIGNAL_LINE.fullmatch(lines[1] if len(lines) > 1 else ""):
        name = segments
    count = int(segments) if segmented else int(record["signals"])
    if len(lines) - 1 < count:
        what = "segments" if segmented else "signals"
        raise ValueError(f"{path}: truncated header: it announces {count} {what} and describes {len(lines) - 1}")
    described = lines[1 : count + 1]  # what follows is not read, says header(5)
    return WfdbHeader(
        path=path,
        name=re.split(r"[/\\]", name)[-1],
        rate=rate,
        num_samples=num_samples,
        start=start,
        signals=() if segmented else tuple(_signal(path, line) for line in described),
        segments=tuple(_segment(path, line) for line in described) if segmented else None,
        comments=tuple(line.strip(" \t#") for line in stripped if line.startswith("#")),
    )


def _rate_length_start(path: Path, fields: list[str]) -> tuple[float, int | None, datetime | None]:
    """What may follow the number of signals: rate[/counter[(base)]], number of samples, time and date."""
    low, high = SAMPLING_RATE_RANGE
    rate = _DEFAULT_RATE
    if fields:
        rate = read_number(fields[0].split("/")[0]) or 0.0
        if not low <= rate <= high:
            raise ValueError(
                f"{path}: the sampling rate is {fields[0][:20]!r}, expected {low:g} to {high:g} Hz; correct the header"
            )
    num_samples = read_count(fields[1]) if len(fields) > 1 else 0
    if num_samples is None or not 0 <= num_samples <= MAX_DURATION * rate:
        raise ValueError(f"{path}: the number of samples is {fields[1][:20]!r}, expected a whole number; correct it")
    start = None
    if len(fields) > 3:
        time, _, fraction = fields[2].partition(".")
        try:
            start = datetime.strptime(f"{fields[3]} {time}.{fraction or 0}", "%d/%m/%Y %H:%M:%S.%f")
        except ValueError:  # no sample depends on it
            start = None
    return rate, num_samples or None, start


def _segment(path: Path, line: str) -> tuple[str, int]:
    name, length = line.split()
    if re.split(r"[/\\]", name)[-1] == path.stem:
        raise ValueError(f"{path}: the header names itself as one of its segments; correct it")
    return name, int(length[:18])


def _signal(path: Path, line: str) -> WfdbSignal:
    found = _SIGNAL_LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{path}: unreadable header: its line {line[:60]!r} does not describe a signal")
    scale = _scale(found["gain"] or "")
    if scale is None:
        raise ValueError(f"{path}: unreadable gain {str(found['gain'])[:40]!r}, expected counts per unit as 200(0)/mV")
    gain, baseline, units = scale
    counts = [int(count) for count in (found["counts"] or "").split()]
    per_frame = int(found["per_frame"] or 1)
    if not per_frame:
        raise ValueError(f"{path}: signal line {line[:60]!r} says 0 samples a frame")
    return WfdbSignal(
        file=found["file"],
        format=int(found["format"][:6]),
        per_frame=per_frame,
        skew=int(found["skew"] or 0),
        offset=int(found["offset"] or 0),
        gain=gain,
        baseline=baseline if baseline is not None else counts[1] if len(counts) > 1 else 0,
        first=counts[2] if len(counts) > 2 else 0,
        units=units,
        name=(found["name"] or "").strip(),
    )


@lru_cache(maxsize=1024)
def _scale(text: str) -> tuple[float, int | None, str] | None:
    """Gain, baseline (None where it is not stated) and units of a gain field; None where it is none."""
    found = _GAIN.fullmatch(text)
    gain = read_number(found["gain"] or "0") if found else None
    baseline = read_number(found["baseline"] or "0") if found and found["baseline"] != "" else None
    if found is None or gain is None or baseline is None or abs(baseline) > 2**40 or baseline % 1:
        return None
    stated = int(baseline) if found["baseline"] is not None else None
    return gain or _DEFAULT_GAIN, stated, found["units"] or ""  # a gain of 0 means the default
