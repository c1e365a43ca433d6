"""Plain WFDB records, read without the wfdb library: one segment, one signal file, 16-bit samples (format 16).

Nearly every published ECG corpus consists of such records, and of the library's time 86 % goes into reading their
headers. Whatever is not exactly of this form gives None and is left to the library; ECGs are not known here.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

MISSING = -32768  # the count by which format 16 marks a sample that was never recorded

# Stricter than the format: what these lines do not match in full may still be a valid header, but not a plain one.
_RECORD_LINE = re.compile(
    r"""
    (?P<name>[-\w]+)  [ \t]+ (?P<num_signals>[1-9]\d{0,3})
    [ \t]+ (?P<rate>\d{1,9}(\.\d{1,9})?)  [ \t]+ (?P<num_samples>[1-9]\d{0,11})
    ( [ \t]+ (?P<time>\d\d?:\d\d:\d\d(\.\d{1,6})?) ([ \t]+ (?P<date>\d\d?/\d\d?/\d{4}))?
    | [ \t]+ \d\d-[A-Z][a-z]{2}-\d{4}[ \t]\d\d:\d\d:\d\d  # not of the format, and ignored by the library as well
    )?
    """,
    re.VERBOSE | re.ASCII,
)
_SIGNAL_LINE = re.compile(
    r"""
    (?P<file>[-\w]+\.\w+)  [ \t]+ 16(x1)?(\+(?P<offset>\d{1,9}))?
    [ \t]+ (?P<gain>\d{1,9}(\.\d{1,15})?)  (\((?P<baseline>-?\d{1,9})\))?  (/(?P<units>[A-Za-z]+))?
    # bits of the converter, its zero, the first count, the checksum (not looked at, as in the library), block, name
    [ \t]+ \d{1,9}  [ \t]+ (?P<zero>-?\d{1,9})  [ \t]+ -?\d{1,9}  [ \t]+ -?\d{1,9}  [ \t]+ \d{1,9}
    [ \t]+ (?P<name>\S[^\t]*)
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True)
class PlainRecord:
    """Record of plain form. Its fields are named as those of the wfdb library's `Record`, and hold equal values.

    `e_p_signal` holds the physical values of each signal, float64 (samples,), NaN where missing.
    """

    record_name: str
    fs: int | float
    sig_len: int
    sig_name: list[str]
    units: list[str]
    adc_gain: list[float]
    samps_per_frame: list[int]
    e_p_signal: list[np.ndarray]
    comments: list[str]
    base_datetime: datetime | None


def read_plain(header: Path) -> PlainRecord | None:
    """Record of a header file; None, never an error, where it is not plain or its samples are not all there."""
    try:
        text = header.read_bytes().decode("ascii", "ignore")
    except OSError:
        return None
    lines = [line.strip() for line in text.splitlines()]
    facts = [line for line in lines if line and not line.startswith("#")]
    first = _RECORD_LINE.fullmatch(facts[0]) if facts else None
    signals = [_SIGNAL_LINE.fullmatch(line) for line in facts[1:]]
    if first is None or len(signals) != int(first["num_signals"]) or None in signals:
        return None
    described = [signal.groupdict() for signal in signals if signal is not None]
    if len({(signal["file"], signal["offset"]) for signal in described}) != 1:
        return None
    try:
        start = _start(first["date"], first["time"])
    except ValueError:  # a date that is none
        return None
    num_samples, rate = int(first["num_samples"]), float(first["rate"])
    offset = int(described[0]["offset"] or 0)
    counts = _counts(header.with_name(described[0]["file"]), offset, num_samples, len(signals))
    if counts is None:
        return None
    gains = [float(signal["gain"]) or 200.0 for signal in described]  # 0 stands for "unknown", which means 200
    baselines = [int(signal["baseline"] or signal["zero"]) for signal in described]
    units = [signal["units"] or "mV" for signal in described]
    return PlainRecord(
        record_name=first["name"],
        fs=int(rate) if round(rate, 8) == int(rate) else rate,
        sig_len=num_samples,
        sig_name=[signal["name"] for signal in described],
        units=units,
        adc_gain=gains,
        samps_per_frame=[1] * len(signals),
        e_p_signal=list(_physical(counts, baselines, gains)),
        comments=[line.strip(" \t#") for line in lines if line.startswith("#")],
        base_datetime=start,
    )


def _counts(path: Path, offset: int, num_samples: int, num_signals: int) -> np.ndarray | None:
    """int16 (signals, samples) of a signal file; None where it does not hold as many."""
    size = num_samples * num_signals
    try:
        if path.stat().st_size < offset + 2 * size:
            return None
        return np.fromfile(path, dtype="<i2", count=size, offset=offset).reshape(num_samples, num_signals).T
    except OSError:
        return None


def _physical(counts: np.ndarray, baselines: list[int], gains: list[float]) -> np.ndarray:
    values = np.array(counts, dtype=np.float64, order="C")
    if any(baselines):
        values -= np.array(baselines, dtype=np.float64)[:, None]
    values /= np.array(gains, dtype=np.float64)[:, None]
    if counts.min() == MISSING:
        values[counts == MISSING] = np.nan
    return values


def _start(date: str | None, time: str | None) -> datetime | None:
    if date is None or time is None:
        if time is not None:
            _start("1/1/2000", time)  # a time that is none is for the library to complain of
        return None
    pattern = "%d/%m/%Y %H:%M:%S.%f" if "." in time else "%d/%m/%Y %H:%M:%S"
    return datetime.strptime(f"{date} {time}", pattern)
