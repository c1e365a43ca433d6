"""Anybody's own records as a corpus: a CSV or Parquet table with an array of signals or files, or files alone.

Rules of one published corpus do not belong here; `recording_files.py` finds the recordings of a folder,
`merit_hf.io` reads them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.folder import find_recordings
from merit_hf.data.reports import report_language
from merit_hf.data.row import MISSING, SEXES, SkipRecord, row_from_record
from merit_hf.data.splits import SPLIT_NAMES, SPLITS, fold_split, patient_split
from merit_hf.io import EcgRecord
from merit_hf.io.array_record import array_record
from merit_hf.leads_merit import STANDARD_12

from .recording_files import match_recordings, patient_of, read_with_defaults, recording_names

USUAL_TASKS = ("super_class", "sub_class", "form", "rhythm", "all", "labels", "findings")
OTHER_COLUMNS = ("ecg_id", "patient_id", "split", "strat_fold", "report", "report_language", "age", "sex", "path")
BY_WORDS = "by_words"


class TableItem(NamedTuple):
    """A record to convert: its line in the table, and where there are files, its file or files and its patient."""

    line: int
    ecg_id: str
    paths: tuple[str, ...] = ()
    patient_id: str | None = None


@dataclass(kw_only=True)
class TableCorpus(CorpusBuilder):
    """A table with one line a record, and the signals it speaks of; or files alone, each a record."""

    records: str | None = option(
        None,
        help="CSV or Parquet table, one line a record. Columns: ecg_id; where known patient_id, report, "
        "report_language, age (years), sex, path; split (train, validation, test) or strat_fold (1-8 train, "
        "9 validation, 10 test), else patients are drawn 80/10/10; and one column a task, its labels separated by ';' "
        "or as a list or dict in Python's or JSON's spelling, of which the keys count. "
        "Without a table, every file below files is a record",
    )
    signals: str | None = option(
        None, help=".npy array (records, leads, samples); row i is line i of the table; an int16 of -32768 is missing"
    )
    files: str | None = option(
        None,
        help="folder that the column path starts from, if it is not the folder of the table; without that column, the "
        "folder below which the file of each record is named as its ecg_id",
    )
    sampling_rate: float | None = option(
        None, unit="Hz", help="samples per second; needed with signals, and taken for files that do not say it"
    )
    scale: float | None = option(
        None, unit="counts per unit", help="what the values in signals are divided by; needed where they are integers"
    )
    units: str | None = option(
        None, help="unit of the scaled values: mV (signals, if left out), uV, V, or zscore where voltage is gone"
    )
    lead_names: list[str] | None = option(
        None,
        help="leads in the order of the array, and of files that do not say it; I II III aVR aVL aVF V1-V6 for "
        "signals, if left out",
    )
    task_columns: list[str] | None = option(
        None,
        help=f"columns that hold labels; those named {', '.join(USUAL_TASKS)}, if left out. TASK=COLUMN gives "
        "the task another name than its column, as in all=scp_codes",
    )
    report_language: str | None = option(
        None,
        help="ISO 639-1 code of all reports, where no column says it; "
        f"{BY_WORDS}: German, English or Swedish, told by the words of each report",
    )
    sex_codes: list[str] | None = option(
        None, help="what the column sex means where it says neither female nor male, as in 0=male 1=female"
    )
    published_splits: bool = option(
        False,
        help="the splits of the table were published and must stay: patients and signals that two of them share are "
        "then named in the card; otherwise they are refused",
    )
    name: str = option("ECG corpus from a table", help="title of the dataset card")
    licence: str = option("unknown", help="licence of the data, as the Hub spells it (cc-by-4.0)")

    def __post_init__(self) -> None:
        if self.signals is not None and self.files is not None:
            raise ValueError("give either signals (one array) or files (a folder), not both")
        if self.records is None and self.signals is not None:
            raise ValueError("an array of signals needs records, a table with one line for each of its rows")
        if self.records is None and self.files is None:
            raise ValueError("give records (a table), or files (a folder) of which every file is a record")
        if self.signals is not None:
            self._check_signals()
        elif self.scale is not None:
            raise ValueError("scale belongs to signals (one array); files say their own gain")
        elif "path" not in self.table and self.files is None:
            raise ValueError(
                f"{self.records} has no column path: give it, or files=FOLDER of files named as ecg_id, or "
                "signals=ARRAY.npy"
            )
        if "ecg_id" not in self.table:
            raise ValueError(f"{self.records} has no column ecg_id; it has {', '.join(self.table)}")
        if None in self.table["ecg_id"]:
            raise ValueError(f"{self.records}: ecg_id is empty in line {self.table['ecg_id'].index(None)}, from 0")
        if missing := sorted({column for column in self._task_columns.values() if column not in self.table}):
            raise ValueError(f"{self.records or self.files} has no columns {missing}, named in task_columns")

    def _check_signals(self) -> None:
        signals = _open_array(str(self.signals))
        lines = len(next(iter(self.table.values())))
        if signals.ndim != 3 or len(signals) != lines:
            raise ValueError(
                f"{self.signals} has shape {signals.shape}; expected (records, leads, samples) with {lines} records, "
                f"one for each line of {self.records}"
            )
        if signals.dtype.kind not in "fiu":
            raise ValueError(f"{self.signals} holds {signals.dtype}; expected integers or floating-point numbers")
        if self.sampling_rate is None:
            raise ValueError("an array of signals does not say its sampling rate: give sampling_rate in Hz")
        if signals.dtype.kind != "f" and self.scale is None:
            raise ValueError(f"{self.signals} holds {signals.dtype}: give scale, the counts per unit (1000: uV as mV)")
        if self.scale is not None and not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")
        if len(self._array_leads) != signals.shape[1]:
            raise ValueError(
                f"{self.signals} has {signals.shape[1]} leads but lead_names has {len(self._array_leads)}: "
                f"{', '.join(self._array_leads)}; give lead_names in the order of the array"
            )

    @property
    def _array_leads(self) -> Sequence[str]:
        return self.lead_names or STANDARD_12

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """Columns of the table; a cell is text, a list of texts, or None where it is empty."""
        if self.records is None:
            paths = find_recordings(str(self.files))
            return {"ecg_id": recording_names(paths), "path": list(paths)}
        path = Path(self.records)
        if not path.is_file():
            raise ValueError(f"{path} is no file; records must be a CSV or Parquet table")
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if table.empty:
            raise ValueError(f"{path} has no lines")
        return {str(name): [_cell(value) for value in table[name]] for name in table}

    def _line(self, number: int) -> dict[str, Any]:
        nothing = dict.fromkeys(OTHER_COLUMNS)
        return nothing | {name: column[number] for name, column in self.table.items()}

    @cached_property
    def _task_columns(self) -> dict[str, str]:
        """Column of each task."""
        if self.task_columns is None:
            return {task: task for task in USUAL_TASKS if task in self.table}
        columns: dict[str, str] = {}
        for text in self.task_columns:
            task, separator, column = text.partition("=")
            if text in self.table or not separator:
                task = column = text
            if not task or not column:
                raise ValueError(f"task_columns: {text!r} is neither COLUMN nor TASK=COLUMN")
            if task in columns:
                raise ValueError(f"task_columns names task {task!r} twice: from {columns[task]} and from {column}")
            columns[task] = column
        return columns

    @cached_property
    def _tasks(self) -> dict[str, list[str]]:
        lines = range(len(self.table["ecg_id"]))
        universe = {
            task: {label for line in lines for label in self._labels(line, task)} for task in self._task_columns
        }
        return {task: sorted(labels) for task, labels in universe.items()}

    def _labels(self, line: int, task: str) -> list[str]:
        column = self._task_columns[task]
        try:
            return _labels(self.table[column][line])
        except ValueError as error:
            raise ValueError(f"{self.records}, record {self.table['ecg_id'][line]!r}: {column} is {error}") from None

    @property
    def own_splits(self) -> bool:
        return not self.published_splits

    def tasks(self) -> dict[str, list[str]]:
        return {task: universe for task, universe in self._tasks.items() if universe}

    def work(self) -> dict[str, list[TableItem]]:
        """Lines of the table by split."""
        work: dict[str, list[TableItem]] = {split: [] for split in SPLITS}
        for number, ecg_id in enumerate(self.table["ecg_id"]):
            item = TableItem(number, ecg_id, self._paths(number))
            if self.records is None:
                item = item._replace(patient_id=patient_of(Path(str(self.files), item.paths[0])))
                work[patient_split(item.patient_id or ecg_id)].append(item)
            else:
                work[self._split(self._line(number))].append(item)
        return work

    @cached_property
    def _named_files(self) -> dict[str, list[str]] | None:
        """Files of each ecg_id, where no column says them."""
        if self.signals is not None or "path" in self.table:
            return None
        return match_recordings(find_recordings(str(self.files)), self.table["ecg_id"])

    def _paths(self, line: int) -> tuple[str, ...]:
        if self._named_files is not None:
            return tuple(self._named_files[self.table["ecg_id"][line]])
        path = None if self.signals is not None else self.table["path"][line]
        return () if path is None else (path,)

    def _split(self, line: dict[str, Any]) -> str:
        where = f"{self.records}, record {line['ecg_id']!r}"
        if "split" in self.table:
            split = SPLIT_NAMES.get(str(line["split"]).lower())
            if split is None:
                raise ValueError(f"{where}: split is {line['split']!r}, expected one of {', '.join(SPLITS)}")
            return split
        if "strat_fold" in self.table:
            fold = _number(line["strat_fold"])
            if fold is None:
                raise ValueError(f"{where}: strat_fold is {line['strat_fold']!r}, expected 1 to 10")
            return fold_split(int(fold))
        if line["patient_id"] is None:
            raise ValueError(f"{where}: without split and strat_fold, patient_id is needed to draw splits by patient")
        return patient_split(line["patient_id"])

    def row(self, item: TableItem) -> dict[str, Any]:
        record = self._record(item)
        line = dict.fromkeys(OTHER_COLUMNS) if self.records is None else self._line(item.line)
        record.report = line["report"] or record.report
        age = _number(line["age"])
        record.age = record.age if age is None else age
        record.sex = self._sex_meaning.get(line["sex"], line["sex"] or record.sex)
        return row_from_record(
            record,
            ecg_id=item.ecg_id,
            patient_id=line["patient_id"] if item.patient_id is None else item.patient_id,
            report_language=self._language(line["report_language"], record.report),
            **{task: sorted(set(self._labels(item.line, task))) for task in self.tasks()},
        )

    def _record(self, item: TableItem) -> EcgRecord:
        if self.signals is None:
            given = {"sampling_rate": self.sampling_rate, "lead_names": self.lead_names, "units": self.units}
            defaults = {name: value for name, value in given.items() if value is not None}
            return read_with_defaults(self._only_file(item), item.ecg_id, defaults)
        values = _open_array(self.signals)[item.line]
        if values.dtype == np.int16:
            values = np.where(values == MISSING, np.nan, values)
        return array_record(
            f"{self.signals}, row {item.line}",
            values,
            sampling_rate=self.sampling_rate,
            lead_names=self._array_leads,
            units=self.units,
            adc_gain=self.scale,
            record_id=item.ecg_id,
        )

    def _only_file(self, item: TableItem) -> Path:
        folder = Path(self.files or Path(str(self.records)).parent)
        if len(item.paths) > 1:
            raise SkipRecord(item.ecg_id, "several files", ", ".join(item.paths))
        if not item.paths and "path" in self.table:
            raise SkipRecord(item.ecg_id, "no path", f"the cell of line {item.line} is empty")
        if not item.paths:
            raise SkipRecord(item.ecg_id, "no file", f"none below {folder} is named {item.ecg_id}")
        return folder / item.paths[0]

    def _language(self, stated: str | None, report: str | None) -> str | None:
        if stated is not None:
            return stated
        return report_language(report) if self.report_language == BY_WORDS else self.report_language

    @cached_property
    def _sex_meaning(self) -> dict[str | None, str]:
        codes: dict[str | None, str] = {}
        for text in self.sex_codes or []:
            code, _, meaning = text.partition("=")
            if meaning not in SEXES.values():
                raise ValueError(f"sex_codes: {text!r} is not CODE=female or CODE=male")
            codes[code] = meaning
        return codes

    def notes(self) -> list[str]:
        used = {*OTHER_COLUMNS, *self._task_columns.values()}
        notes = []
        if unused := [column for column in self.table if column not in used]:
            notes.append(f"columns not used: {', '.join(unused)} (task_columns names further label columns)")
        if empty := [task for task, universe in self._tasks.items() if not universe]:
            notes.append(f"tasks without a single label: {', '.join(empty)}")
        if self._named_files is not None:
            named = {path for paths in self._named_files.values() for path in paths}
            if unnamed := [path for path in find_recordings(str(self.files)) if path not in named]:
                notes.append(f"files that no line of the table names: {len(unnamed):,} (the first: {unnamed[0]})")
        if self.records is None:
            notes.append(
                "splits: drawn 80/10/10 by patient where a file states one, else by record: then recordings of one "
                "patient may be in different splits (a table with ecg_id, patient_id and path prevents it)"
            )
        elif not {"split", "strat_fold"} & set(self.table):
            notes.append("splits: no column split or strat_fold, so patients were drawn 80/10/10")
        if "sex" in self.table:
            found = {cell for cell in self.table["sex"] if cell is not None and cell not in self._sex_meaning}
            if unknown := sorted(cell for cell in found if cell.lower() not in SEXES):
                notes.append(f"sex: {', '.join(unknown[:5])} left empty; what it means: --sex_codes 0=male 1=female")
        return notes

    def card(self) -> CardFacts:
        drawn = "drawn by patient: 80 % train, 10 % validation, 10 % test"
        columns = [column for column in ("split", "strat_fold") if column in self.table]
        languages = [] if self.report_language in (None, BY_WORDS) else [str(self.report_language)]
        faults = ["A label that no record of the table has is not in the universe of its task."]
        notes = {}
        if self.records is None:
            drawn = "drawn 80/10/10 by patient where the file of a record states one, else by record"
            notes["patient_id"] = "hash of the patient's number in the file; null where it states none"
            faults = ["Recordings of one patient may be in different splits where their files name no patient."]
        source = Path(self.records or str(self.files)).name
        return CardFacts(
            title=self.name,
            summary=f"{len(self.table['ecg_id']):,} records of {source}, converted by `from_table`.",
            source="The owner of the table knows; write it here before you pass the corpus on.",
            licence=self.licence,
            languages=tuple(languages),
            split_note=f"Splits are {'as the column ' + columns[0] + ' says' if columns else drawn}.",
            column_notes=notes,
            known_faults=tuple(faults),
        )


@lru_cache(maxsize=4)
def _open_array(path: str) -> np.ndarray:
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file; signals must be a .npy array (records, leads, samples)")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _cell(value: Any) -> Any:
    if isinstance(value, dict):  # a struct of Parquet has every key in every line
        return [str(key) for key, content in value.items() if content is not None]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(item) for item in value]
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return None
    # Whole numbers that were stored with decimals, as names of patients often are.
    return re.sub(r"^(\d+)\.0$", r"\1", str(value).strip()) or None


def _labels(cell: Any) -> list[str]:
    """Labels in a cell: items of a list, keys of a dict, or what stands between semicolons."""
    if isinstance(cell, str) and cell[0] in "{[":
        cell = _literal(cell)
    labels = cell if isinstance(cell, list) else (cell or "").split(";")
    return [label.strip() for label in labels if label.strip()]


def _literal(text: str) -> list[str]:
    """Items or keys of a list or dict that stands there as text, in JSON's spelling or Python's."""
    value = None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two for absurd nesting
            continue
    if not isinstance(value, (dict, list)) or not all(isinstance(item, (str, int, float)) for item in value):
        raise ValueError(f"{text!r}, which is no list or dict of labels such as {{'NORM': 100.0}} or ['NORM', 'SR']")
    return [str(item) for item in value]


def _number(cell: str | None) -> float | None:
    try:
        return None if cell is None else float(cell)
    except ValueError:
        return None
