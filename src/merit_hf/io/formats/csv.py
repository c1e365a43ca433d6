"""Text tables: one column a lead, one line a sample, with or without a line of column names.

Everything about this format lives here.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merit_hf.io.array_record import agreed, array_record, leads_of_columns
from merit_hf.io.record import EcgRecord

NAME = "CSV table"
EXTENSIONS = (".csv", ".tsv", ".txt")

_DELIMITERS = (";", "\t", ",", " ")  # a comma may also stand in numbers, but then not between them
_TIME = re.compile(
    r"^(?:(?:time|t|timestamp)[\s_\[(]+)?(?P<unit>s|sec|seconds?|ms|milliseconds?)[\])]?$", re.IGNORECASE
)
_STATED = re.compile(r"^#\s*(sampling_rate|units)\s*[:=]\s*(\S+)\s*$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+(?:e[+-]?\d+)?)$", re.IGNORECASE)
_MISSING = ("", "nan", "na", "null", "none")


def matches(path: Path, head: bytes) -> bool:
    """Text of numbers, after at most one line of names. (A WFDB header may start with a line of numbers, too.)"""
    if b"\0" in head:
        return False
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # not merely a character cut in two by the end of `head`
            return False
        text = head[: error.start].decode("utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")][:2]
    return bool(lines) and _is_numeric(_split(lines[-1], _delimiter(lines[-1])))


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads a table separated by commas, semicolons, tabs or blanks; empty fields and "nan" mean missing.

    A first line of names says the leads, with their unit where it reads "I (uV)". The sampling rate follows from a
    column "time (s)" or "time_ms", as programs write that digitise paper, if its steps are even; other columns of time
    are left out. Numbers may have a decimal comma where commas do not separate. Lines `# sampling_rate: 500` and
    `# units: uV` before the table are understood.

    Args:
        path: the file.
        sampling_rate: in Hz, where the file does not say it.
        lead_names: one a column, where the file has no line of names.
        units: where the file does not say it; "mV" if left out.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}).") from error
    stated = {found[1].lower(): found[2] for line in lines if (found := _STATED.match(line))}
    numbered = [(at, line) for at, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise ValueError(f"{path} holds no table.")
    delimiter = _delimiter(numbered[0][1])
    columns = None
    if not _is_numeric(_split(numbered[0][1], delimiter)):
        columns = _split(numbered.pop(0)[1], delimiter)
    if not numbered:
        raise ValueError(f"{path} has a line of names but no samples.")
    table = _numbers(path, numbered, delimiter)
    found_names, found_units, found_rate = None, None, None
    if columns is not None:
        if len(columns) != table.shape[1]:
            raise ValueError(f"{path} names {len(columns)} columns but has {table.shape[1]}.")
        positions, found_names, found_units = leads_of_columns(path, columns)
        found_rate = _rate_of_times(path, columns, table)
        table = table[:, positions]
    elif lead_names is not None and len(lead_names) != table.shape[1]:
        hint = (
            " It has as many lines: one line must be a sample, so transpose it."
            if len(lead_names) == len(table)
            else ""
        )
        raise ValueError(f"{path} has {table.shape[1]} columns, but lead_names= has {len(lead_names)}.{hint}")
    stated_rate = stated.get("sampling_rate")
    rate = agreed(path, "sampling_rate", sampling_rate, stated_rate and _number(path, stated_rate))
    if rate is not None and found_rate is not None and abs(rate / found_rate - 1) > 0.01:
        raise ValueError(f"{path}: sampling_rate is {rate:g} Hz, but its column of time says {found_rate:g} Hz.")
    return array_record(
        path,
        table.T,
        sampling_rate=found_rate if rate is None else rate,
        lead_names=found_names if lead_names is None else lead_names,
        units=agreed(path, "units", units, found_units or stated.get("units")),
        metadata={"format": NAME},
    )


def _delimiter(line: str) -> str:
    return next((delimiter for delimiter in _DELIMITERS if delimiter in line.strip()), ",")


def _split(line: str, delimiter: str) -> list[str]:
    fields = line.split() if delimiter == " " else line.split(delimiter)
    fields = [field.strip().strip('"').strip() for field in fields]
    return fields if delimiter == "," else [_DECIMAL_COMMA.sub(r"\1.\2", field) for field in fields]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_numeric(fields: list[str]) -> bool:
    return any(map(_is_number, fields)) and all(field.lower() in _MISSING or _is_number(field) for field in fields)


def _number(path: Path, text: str) -> float:
    if not _is_number(text):
        raise ValueError(f"{path} states sampling_rate {text!r}, which is no number.")
    return float(text)


def _rate_of_times(path: Path, columns: list[str], table: np.ndarray) -> float | None:
    """Samples a second by a column of time whose unit is named; ValueError if its steps are uneven."""
    found = next(((at, match) for at, name in enumerate(columns) if (match := _TIME.match(name))), None)
    if found is None or len(table) < 3:
        return None
    times = table[:, found[0]] / (1000 if found[1]["unit"].lower().startswith("m") else 1)
    step = (times[-1] - times[0]) / (len(times) - 1)
    even = times[0] + step * np.arange(len(times))
    if not step > 0 or not (np.abs(times - even) < 0.75 * step).all():  # times may have been rounded
        raise ValueError(
            f"{path}: column {columns[found[0]]!r} has uneven steps; bring the ECG to an even rate first."
        )
    rate = 1 / step
    return float(round(rate)) if abs(rate / round(rate) - 1) < 1e-3 and round(rate) else float(rate)


def _numbers(path: Path, numbered: list[tuple[int, str]], delimiter: str) -> np.ndarray:
    """The table (lines, columns) as float64; says the line that does not fit."""
    width = len(_split(numbered[0][1], delimiter))
    table = np.empty((len(numbered), width))
    for row, (at, line) in zip(table, numbered, strict=True):
        fields = _split(line, delimiter)
        if len(fields) != width:
            raise ValueError(f"{path}, line {at}: {len(fields)} fields, expected {width}.")
        try:
            row[:] = [np.nan if field.lower() in _MISSING else float(field) for field in fields]
        except ValueError as error:
            raise ValueError(f"{path}, line {at}: {error}.") from error
    return table
