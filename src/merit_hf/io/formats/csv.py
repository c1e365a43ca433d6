"""Text tables: one column a lead, one line a sample, with or without lines of names, units and facts above.

Everything about this format lives here.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from merit_hf.io.array_record import (
    agreed,
    agreed_leads,
    array_record,
    is_time_column,
    leads_of_columns,
    rate_of_times,
)
from merit_hf.io.numbers import read_number
from merit_hf.io.record import EcgRecord
from merit_hf.leads_merit import canonical_lead, is_voltage

NAME = "CSV table"
EXTENSIONS = (".csv", ".tsv", ".txt")
ASKED_LAST = True  # any text with a line of numbers would do

_DELIMITERS = (";", "\t", ",", " ")  # a comma may also stand in numbers, but then not between them
_MISSING = ("", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", "null", "none", "-", "--", "?")
_STATED = re.compile(
    r"^#\s*(?:(?P<sampling_rate>sampl(?:ing|e)[_ ](?:rate|frequency)|fs)|(?P<units>units?))\s*[:=]\s*(?P<value>\S+)"
    r"(?:\s*(?:hz|hertz))?\s*$",
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+(?:e[+-]?\d+)?)", re.IGNORECASE)
_CLOCK = re.compile(r"\[?(?:\d{4}-\d\d-\d\d[ T])?(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)(?: \d\d/\d\d/\d{4})?\]?")
_UNIT_OF_TIMES = re.compile(
    r"^(s|sec|seconds?|ms|msec|milliseconds?|h+:m+(:s+)?(\.m+)?|hours?:mins?:secs?|samples?|#)$"
)
_COMMAS_AND_BLANKS = re.compile(r"[+-]?\d+,\d+( +[+-]?\d+,\d+)+")
_RATE = re.compile(r"^(\d+(?:[.,]\d+)?)\s*(?:hz|hertz)$", re.IGNORECASE)
_LEAD_KEYS = ("lead", "leads", "ableitung", "dérivation", "derivación", "derivazione", "derivação", "afleiding")
_MOST_LINES_ABOVE = 40


@dataclass
class _Head:
    """What stands above the samples."""

    names: list[str] | None = None
    units: list[str] | None = None  # of the columns
    facts: dict[str, str] = field(default_factory=dict)


def matches(path: Path, head: bytes) -> bool:
    """Text that is no markup and has a line of samples, one of them a number, among its first lines."""
    text = _text(head)
    if "\0" in text or text.lstrip().startswith(("<", "{", "%")):
        return False
    lines = [line for line in text.splitlines() if line.strip() and not _is_comment(line)]
    rows = (_split(line, _delimiter(line)) for line in lines[:_MOST_LINES_ABOVE])
    return any(_is_sample(row) and _has_number(row) for row in rows)


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads a table separated by commas, semicolons, tabs or blanks; empty fields, "nan", "N/A" and "-" mean missing.

    A line of names says the leads, with their unit where it reads "I (uV)" or where a line of units follows, as in
    exports of rdsamp and PhysioBank ATM. Lines above it such as "Sample Rate,512 hertz", "Lead,Lead I" and "Unit,µV",
    as the Apple Watch writes them, are understood, and so are lines `# sampling_rate: 500` and `# units: uV`. Numbers
    may have a decimal comma where commas do not separate, or in quotes.

    The sampling rate follows from a column of time that names its unit or holds clock times, if its steps are even; a
    given `sampling_rate` decides where times were rounded. Other columns of time are left out.

    Args:
        path: the file.
        sampling_rate: in Hz, where the file does not say it.
        lead_names: one a column, where the file has no line of names.
        units: where the file does not say it; "mV" if left out, but whole numbers need it.
    """
    text = _text(path.read_bytes())
    lines = list(enumerate(text.splitlines(), start=1))
    stated: dict[str, str] = {}
    for _, line in lines:
        if found := _STATED.match(line):
            name = "units" if found["units"] else "sampling_rate"
            stated[name] = agreed(path, name, re.sub(r"hz$", "", found["value"], flags=re.I), stated.get(name))
    if text.lstrip().startswith("<"):
        raise ValueError(f"{path} is XML or HTML of no format that can be read, and no table")
    lines = [(at, line) for at, line in lines if line.strip() and not _is_comment(line)]
    first = next((at for at, (_, line) in enumerate(lines) if _is_sample(_split(line, _delimiter(line)))), None)
    if first is None:
        what = "has a line of names but no samples" if lines else "holds no table"
        raise ValueError(f"{path} {what}; expected one line of numbers a sample")
    delimiter = _delimiter(lines[first][1])
    width = len(_split(lines[first][1], delimiter))
    while first and _is_empty(_split(lines[first - 1][1], delimiter), width):  # samples that are missing in all leads
        first -= 1
    named = len(_split(lines[first - 1][1], delimiter)) if first else width
    if named == width - 1 and all(line.rstrip().endswith(delimiter) for _, line in lines[first:]):
        width -= 1  # a delimiter ends every line but that of the names
    head = _head(path, lines[:first], delimiter, width)
    table, has_clock = _numbers(path, lines[first:], delimiter, width)
    if "sampling_rate" in head.facts and "units" not in head.facts and units is None:
        raise ValueError(f"{path} states a sampling rate above its samples but not their unit: pass units=")
    stated = {**head.facts, **stated}

    found_names, found_units, found_rate = None, None, None
    clocks = np.flatnonzero(has_clock).tolist()
    if head.names is not None or clocks:
        columns = head.names or [f"column {at}" for at in range(width)]
        columns = ["time" if at in clocks else name for at, name in enumerate(columns)]
        if head.units is not None:
            columns = [_with_unit(name, unit) for name, unit in zip(columns, head.units, strict=True)]
        positions, found_names, found_units = leads_of_columns(path, columns)
        found_rate = rate_of_times(path, columns, clocks, table, sampling_rate)
        table = table[:, positions]
        found_names = found_names if head.names is not None else None
    if found_names is None and "lead" in stated:
        found_names = [stated["lead"]]
    if lead_names is not None and len(lead_names) != table.shape[1]:
        hint = (
            " It has as many lines: one line must be a sample, so transpose it"
            if len(lead_names) == len(table)
            else ""
        )
        raise ValueError(f"{path} has {table.shape[1]} columns, but lead_names= has {len(lead_names)}.{hint}")
    rate = agreed(path, "sampling_rate", sampling_rate, _stated_rate(path, stated.get("sampling_rate")))
    return array_record(
        path,
        table.T,
        sampling_rate=found_rate if rate is None else rate,
        lead_names=agreed_leads(path, lead_names, found_names),
        units=agreed(path, "units", units, found_units or stated.get("units")),
        metadata={"format": NAME},
    )


def _text(content: bytes) -> str:
    """UTF-8, UTF-16 with its mark, or Latin-1; a character cut in two at the end is left out."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content[: len(content) // 2 * 2].decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        whole = error.end >= len(content) - 3
        return content[: error.start].decode("utf-8-sig") if whole else content.decode("latin-1")


def _delimiter(line: str) -> str:
    bare = re.sub(r'"[^"]*"', "", line.strip())
    if _COMMAS_AND_BLANKS.fullmatch(bare):
        return " "
    return next((delimiter for delimiter in _DELIMITERS if delimiter in bare), ",")


def _split(line: str, delimiter: str) -> list[str]:
    if '"' in line:
        fields = next(csv.reader([line.strip()], delimiter=delimiter, skipinitialspace=True))
    else:
        fields = line.split() if delimiter == " " else line.split(delimiter)
    return [each.strip().strip("'\"").strip() for each in fields]


def _value(text: str) -> float | None:
    """Number, NaN where it is missing, or None if the field is neither."""
    value = read_number(text)
    if value is not None:
        return value
    if text.lower() in _MISSING:
        return np.nan
    found = _DECIMAL_COMMA.fullmatch(text)
    return read_number(f"{found[1]}.{found[2]}") if found else None


def _clock(text: str) -> float | None:
    """Seconds of a clock or elapsed time, such as 0:00.004 and [10:00:00.000 01/01/2000]."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    return 3600.0 * int(found[1] or 0) + 60.0 * int(found[2]) + float(found[3].replace(",", "."))


def _is_sample(fields: list[str]) -> bool:
    values = [_value(each) for each in fields]
    missing = all(value is not None and np.isnan(value) for value in values)
    known = all(value is not None or _clock(each) is not None for each, value in zip(fields, values, strict=True))
    return known and not (missing and not any(fields))


def _has_number(fields: list[str]) -> bool:
    """Whether one field at least is a number: the one word "none" is no table."""
    return any((value := _value(each)) is not None and not np.isnan(value) for each in fields)


def _is_empty(fields: list[str], width: int) -> bool:
    return len(fields) == width > 1 and not any(fields)


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not line.lower().startswith("#n/a")


def _head(path: Path, lines: list[tuple[int, str]], delimiter: str, width: int) -> _Head:
    """Names, units and facts from the lines above the samples; what an app says of the person is not kept."""
    head = _Head()
    rows = []
    for at, line in lines:
        if fact := _fact(_split(line, _delimiter(line))):
            head.facts |= fact
        else:
            rows.append((at, _split(line, delimiter)))
    if head.facts:
        last = rows[-1][1] if rows and rows[-1][0] == lines[-1][0] else []
        rows = rows[-1:] if len(last) == width and all(is_time_column(each) or _is_lead(each) for each in last) else []
    if len(rows) > 1 and len(rows[-1][1]) == width and _are_units(rows[-1][1]):
        head.units = [each.strip("()[] ") for each in rows.pop()[1]]
    if rows:
        at, names = rows.pop()
        if len(names) != width:
            raise ValueError(f"{path} names {len(names)} columns but has {width}")
        if rows:
            raise ValueError(f"{path}, line {at}: {', '.join(names)[:40]!r} are no numbers, expected samples")
        head.names = names
    return head


def _are_units(fields: list[str]) -> bool:
    bare = [each.strip("()[] ") for each in fields]
    return any(map(is_voltage, bare)) and all(
        is_voltage(each) or _UNIT_OF_TIMES.match(each.lower()) or not each for each in bare
    )


def _fact(fields: list[str]) -> dict[str, str] | None:
    """What a line of a key and a value says of the ECG; None if it is no such line, or says nothing of use."""
    if len(fields) != 2:
        return None
    key, value = fields[0].lower().rstrip(":"), fields[1]
    if found := _RATE.match(value):
        return {"sampling_rate": found[1].replace(",", ".")}
    if key in ("sample rate", "sampling rate", "sampling_rate", "sampling frequency", "fs") and read_number(value):
        return {"sampling_rate": value}
    if is_voltage(value) and not (_is_lead(key) or is_time_column(key)):
        return {"units": value}
    if key in _LEAD_KEYS:
        return {"lead": value if _is_lead(value) else value.split()[-1] if value.split() else value}
    return None


def _is_lead(name: str) -> bool:
    try:
        canonical_lead(name)
    except ValueError:
        return False
    return True


def _with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit and not is_time_column(name) else f"time ({unit})" if unit else name


def _stated_rate(path: Path, text: str | None) -> float | None:
    if text is not None and read_number(text) is None:
        raise ValueError(f"{path} states sampling_rate {text!r}, which is no number")
    return read_number(text)


def _numbers(path: Path, lines: list[tuple[int, str]], delimiter: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The table (lines, columns) as float64, and which columns hold clock times; says the line that does not fit."""
    table = np.empty((len(lines), width))
    has_clock = np.zeros(width, dtype=bool)
    for row, (at, line) in zip(table, lines, strict=True):
        fields = _split(line, delimiter)
        if len(fields) == width + 1 and not fields[-1]:  # a delimiter at the end of the line
            fields.pop()
        if len(fields) != width:
            raise ValueError(f"{path}, line {at}: {len(fields)} fields, expected {width}")
        for column, text in enumerate(fields):
            value = _value(text)
            if value is None:
                value = _clock(text)
                if value is None:
                    raise ValueError(
                        f"{path}, line {at}: {text[:40]!r} is no number; leave the field empty if a sample is missing"
                    )
                has_clock[column] = True
            row[column] = value
    return table, has_clock
