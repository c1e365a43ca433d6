"""The tables of MIMIC-IV-ECG, `record_list.csv` and `machine_measurements.csv`, joined and kept small.

800,000 records take some 150 MB here; as Python objects they would take gigabytes. How a record becomes a row of a
corpus is in `mimic_iv_ecg.py`.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from merit_hf.data.reports import join_report

MEASUREMENTS = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")
NOTES = ("bandwidth", "filtering")
REPORT_LINES = tuple(f"report_{number}" for number in range(18))
NOT_MEASURED = 29999  # MIMIC writes this or more, up to 65535, where the machine found nothing to measure
_MISSING = -(2**31)


@dataclass(frozen=True)
class MimicRecord:
    """One line of `record_list.csv` with the line of `machine_measurements.csv` that belongs to it."""

    subject_id: str
    study_id: str
    path: str
    ecg_time: str
    report: str | None
    measurements: tuple[int | None, ...]  # as MEASUREMENTS
    notes: tuple[str | None, ...]  # as NOTES


@dataclass(frozen=True)
class MimicRecords(Sequence[MimicRecord]):
    """Records as columns. Texts are numbers into `texts`, as most occur many times; -1 means none."""

    subjects: np.ndarray  # int64 (records,)
    studies: np.ndarray  # int64 (records,)
    paths: np.ndarray  # bytes (records,)
    times: np.ndarray  # bytes (records,)
    measurements: np.ndarray  # int32 (records, MEASUREMENTS)
    text_numbers: np.ndarray  # int32 (records, report and NOTES)
    texts: list[str]

    @classmethod
    def read(cls, record_list: Iterable[str], measurements: Iterable[str]) -> MimicRecords:
        """Records of the two tables, given by their lines.

        Raises:
            ValueError: a table has no line, lacks a column, or a number is none.
        """
        studies, measured, text_numbers, texts = _read_measurements(measurements)
        name, needed = "record_list.csv", ("subject_id", "study_id", "path")
        subjects, listed, paths, times = array("q"), array("q"), _Texts(), _Texts()
        for line, (subject, study, path, time) in _rows(name, record_list, needed, ("ecg_time",)):
            subjects.append(_whole(name, line, "subject_id", subject))
            listed.append(_whole(name, line, "study_id", study))
            paths.append(path.removesuffix(".hea"))
            times.append(time)
        if not listed:
            raise ValueError(f"{name} lists no record")
        wanted = np.asarray(listed, dtype=np.int64)
        order = np.argsort(studies, kind="stable")
        places = np.searchsorted(studies, wanted, sorter=order)
        lines = order[np.minimum(places, len(order) - 1)]
        lines = np.where(studies[lines] == wanted, lines, len(studies) - 1)  # the last one is empty
        return cls(
            subjects=np.asarray(subjects, dtype=np.int64),
            studies=wanted,
            paths=paths.column(),
            times=times.column(),
            measurements=measured[lines],
            text_numbers=text_numbers[lines],
            texts=texts,
        )

    def select(self, rows: np.ndarray) -> MimicRecords:
        """The records that `rows`, numbers or booleans, chooses."""
        columns = ("subjects", "studies", "paths", "times", "measurements", "text_numbers")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def __len__(self) -> int:
        return len(self.studies)

    @overload
    def __getitem__(self, index: int) -> MimicRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[MimicRecord]: ...

    def __getitem__(self, index: int | slice) -> MimicRecord | list[MimicRecord]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        report, *notes = (self.texts[number] if number >= 0 else None for number in self.text_numbers[index])
        return MimicRecord(
            subject_id=str(self.subjects[index]),
            study_id=str(self.studies[index]),
            path=self.paths[index].decode(),
            ecg_time=self.times[index].decode(),
            report=report,
            measurements=tuple(None if value == _MISSING else int(value) for value in self.measurements[index]),
            notes=tuple(notes),
        )


class _Texts:
    """A column of texts that grows; as Python objects only the last ones are kept."""

    def __init__(self) -> None:
        self._packed: list[np.ndarray] = []
        self._loose: list[bytes] = []

    def append(self, text: str) -> None:
        self._loose.append(text.encode())
        if len(self._loose) == 2**16:
            self._packed.append(np.array(self._loose))
            self._loose = []

    def column(self) -> np.ndarray:
        return np.concatenate([*self._packed, np.array(self._loose, dtype=bytes)])


def _read_measurements(lines: Iterable[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Studies, their measurements, numbers of their texts, and the texts; after the last line follows an empty one."""
    name = "machine_measurements.csv"
    studies, measured, numbers = array("q"), array("i"), array("i")
    number_of: dict[str, int] = {}
    columns = ("study_id", "report_0")
    for line, (study, _, *cells) in _rows(name, lines, columns, (*MEASUREMENTS, *NOTES, *REPORT_LINES)):
        studies.append(_whole(name, line, "study_id", study))
        measured.extend(_measurement(name, line, *pair) for pair in zip(MEASUREMENTS, cells, strict=False))
        notes = cells[len(MEASUREMENTS) : len(MEASUREMENTS) + len(NOTES)]
        report = join_report(cells[len(MEASUREMENTS) + len(NOTES) :])
        for text in (report, *(note.strip() for note in notes)):
            numbers.append(number_of.setdefault(text, len(number_of)) if text else -1)
    studies.append(-1)
    measured.extend([_MISSING] * len(MEASUREMENTS))
    numbers.extend([-1] * (1 + len(NOTES)))
    return (
        np.asarray(studies, dtype=np.int64),
        np.asarray(measured, dtype=np.int32).reshape(-1, len(MEASUREMENTS)),
        np.asarray(numbers, dtype=np.int32).reshape(-1, 1 + len(NOTES)),
        list(number_of),
    )


def _rows(
    name: str, lines: Iterable[str], needed: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    """Number of each line of a table and its cells in the wanted order; an optional column may be missing."""
    table = csv.reader(lines)
    header = [column.strip().removeprefix("\ufeff") for column in next(table, [])]
    if missing := [column for column in needed if column not in header]:
        raise ValueError(f"{name} has no columns {', '.join(missing)}; it is not the file of MIMIC-IV-ECG")
    places = [header.index(column) if column in header else -1 for column in (*needed, *optional)]
    for cells in table:
        if len(cells) not in (0, len(header)):
            raise ValueError(f"{name}, line {table.line_num}: {len(cells)} cells, expected {len(header)}")
        if cells:
            yield table.line_num, [cells[place] if place >= 0 else "" for place in places]


def _whole(name: str, line: int, column: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}, line {line}: {column} is {text!r}, expected a whole number") from None


def _measurement(name: str, line: int, column: str, text: str) -> int:
    if not text.strip():
        return _MISSING
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}, line {line}: {column} is {text!r}, expected a number") from None
    return round(value) if abs(value) < NOT_MEASURED else _MISSING  # false for NaN, too
