"""Your own records as a corpus: a CSV or Parquet table with an array of signals or files, or files alone.

Rules of one published corpus do not belong here. `label_cells.py` reads the cells of a table, `recording_files.py`
finds the recordings of a folder, `merit_hf.io` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.folder import find_recordings
from merit_hf.data.reports import report_language
from merit_hf.data.row import MISSING, OLDEST_AGE, SkipRecord, printable, row_from_record
from merit_hf.data.splits import SPLIT_NAMES, SPLITS, draw_splits, fold_split
from merit_hf.io import EcgRecord
from merit_hf.io.array_record import array_record
from merit_hf.io.sex import SEXES, canonical_sex
from merit_hf.leads_merit import STANDARD_12

from .label_cells import EVERY_KEY, cell_content, labels_of_cell
from .recording_files import (
    has_known_format,
    match_recordings,
    patient_of,
    read_with_defaults,
    recording_names,
)

USUAL_TASKS = ("super_class", "sub_class", "form", "rhythm", "all", "labels", "findings")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE | re.ASCII)
SCP_CODES = "scp_codes"  # PTB-XL's column of codes and likelihoods; there 0 means that no likelihood is stated
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
    """A table with one line per record and the signals it names; or files alone, each of them a record."""

    records: str | None = option(
        None,
        help="CSV or Parquet table with one line per record. Columns: ecg_id; where known patient_id, report, "
        "report_language, age (years), sex, path; split (train, validation, test) or strat_fold (1-8 train, "
        "9 validation, 10 test), or else splits are drawn by patient: 80 %, 10 % and 10 % of the patients, and at "
        "least one patient each; and one column per task, with labels separated by ';', or a list of labels, or a "
        "dict of labels and 0/1 or true/false. Blank cells and NaN, NA, N/A, null, None are missing. "
        "Without a table, every file below files is a record",
    )
    signals: str | None = option(
        None,
        help=".npy array (records, leads, samples); row i belongs to line i of the table; in int16, -32768 is a "
        "missing sample",
    )
    files: str | None = option(
        None,
        help="folder to which the column path is relative, by default that of the table; without that column, the "
        "folder below which each record has a file named like its ecg_id",
    )
    sampling_rate: float | None = option(
        None, unit="Hz", help="samples per second; needed with signals, and used for files that do not state it"
    )
    scale: float | None = option(
        None, unit="counts per unit", help="what the values in signals are divided by; needed where they are integers"
    )
    units: str | None = option(
        None, help="unit of the scaled values: mV (default for signals), uV, V, or zscore where the voltage is lost"
    )
    lead_names: list[str] | None = option(
        None,
        help="leads in the order of the array, also used for files that do not name their leads; by default I II III "
        "aVR aVL aVF V1-V6 for signals",
    )
    task_columns: list[str] | None = option(
        None,
        help=f"columns that hold labels; by default those named {', '.join(USUAL_TASKS)}. TASK=COLUMN gives the task "
        "another name than its column, as in all=scp_codes",
    )
    label_threshold: float | None = option(
        None,
        help="for dicts of labels and likelihoods: a record has a label from this number on; 0 takes every label. "
        "Without it, numbers other than 0 and 1 are refused, except in a column scp_codes, where every code counts as "
        "in PTB-XL",
    )
    report_language: str | None = option(
        None,
        help="ISO 639-1 code of all reports, where no column states it; "
        f"{BY_WORDS}: German, English or Swedish, recognised by the words of each report",
    )
    sex_codes: list[str] | None = option(
        None, help="meaning of codes in the column sex, as in 0=male 1=female; F, M, female, male need none"
    )
    published_splits: bool = option(
        False,
        help="keep the splits of the table although two of them share patients or signals, because they were "
        "published; the card then names what they share. By default such splits are refused",
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
        if self.label_threshold is not None and not np.isfinite(self.label_threshold):
            raise ValueError(f"label_threshold must be a finite number, not {self.label_threshold}")
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
            line = self.table["ecg_id"].index(None)
            raise ValueError(
                f"{self.records}: ecg_id is empty in line {line}, counted from 0 (NA, nan and null count as empty)"
            )
        if missing := sorted({column for column in self._task_columns.values() if column not in self.table}):
            raise ValueError(f"{self.records or self.files} has no columns {missing}, named in task_columns")

    def _check_signals(self) -> None:
        signals = self._array
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

    @cached_property
    def _array(self) -> np.ndarray:
        """The file `signals`, mapped into memory."""
        path = Path(str(self.signals))
        if not path.is_file():
            raise ValueError(f"{path} is no file; signals must be a .npy array (records, leads, samples)")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # of any type where the file is damaged
            raise ValueError(f"{path} cannot be read as a .npy array: {_first_line(error)}") from error

    @property
    def _array_leads(self) -> Sequence[str]:
        return self.lead_names or STANDARD_12

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """Columns of the table; a cell is what `cell_content` makes of it, text in all columns but those of labels."""
        if self.records is None:
            paths = find_recordings(str(self.files))
            return {"ecg_id": recording_names(paths), "path": list(paths)}
        table = _read_table(Path(self.records))
        for name in OTHER_COLUMNS:
            if bad := next((cell for cell in table.get(name, ()) if not isinstance(cell, (str, type(None)))), None):
                raise ValueError(f"{self.records}: {name} holds {bad!r:.80}, expected text or a number")
        return table

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

    @cached_property
    def _takes_every_code(self) -> bool:
        """Whether every key of the dicts in the column scp_codes is a label, whatever its number.

        PTB-XL means it so. It does not hold if a threshold is given, or if the numbers are flags: all of them 0 or 1.
        """
        try:
            return self.label_threshold is None and not any(labels_of_cell(cell) for cell in self.table[SCP_CODES])
        except ValueError:
            return True

    def _labels(self, line: int, task: str) -> list[str]:
        column = self._task_columns[task]
        threshold = EVERY_KEY if column == SCP_CODES and self._takes_every_code else self.label_threshold
        try:
            return labels_of_cell(self.table[column][line], threshold)
        except ValueError as error:
            raise ValueError(f"{self.records}, record {self.table['ecg_id'][line]!r}: {column} is {error}") from None

    @property
    def own_splits(self) -> bool:
        return not self.published_splits

    def tasks(self) -> dict[str, list[str]]:
        return {task: universe for task, universe in self._tasks.items() if universe}

    def work(self) -> dict[str, list[TableItem]]:
        """Lines of the table by split. Splits that no column states are drawn by quota (`draw_splits`)."""
        items = [TableItem(line, ecg_id, self._paths(line)) for line, ecg_id in enumerate(self.table["ecg_id"])]
        if self.records is None:
            items = [item._replace(patient_id=patient_of(Path(str(self.files), item.paths[0]))) for item in items]
        split_of = self._split_of(items)
        work: dict[str, list[TableItem]] = {split: [] for split in SPLITS}
        for item in items:
            work[split_of(item)].append(item)
        return work

    def _split_of(self, items: Sequence[TableItem]) -> Callable[[TableItem], str]:
        if self.records is None:
            # A text among the recordings, which no split can hold, must not take the one place of a small split.
            known = [item for item in items if has_known_format(Path(str(self.files), item.paths[0]))]
            drawn = draw_splits(item.patient_id or item.ecg_id for item in known)
            return lambda item: drawn.get(item.patient_id or item.ecg_id, SPLITS[0])
        if "split" in self.table or "strat_fold" in self.table:
            return lambda item: self._stated_split(self._line(item.line))
        patients = self.table.get("patient_id", [None] * len(items))
        if None in patients:
            where = f"{self.records}, record {self.table['ecg_id'][patients.index(None)]!r}"
            raise ValueError(f"{where}: without split and strat_fold, patient_id is needed to draw splits by patient")
        drawn = draw_splits(patients)
        return lambda item: drawn[patients[item.line]]

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

    def _stated_split(self, line: dict[str, Any]) -> str:
        where = f"{self.records}, record {line['ecg_id']!r}"
        if "split" in self.table:
            split = SPLIT_NAMES.get(str(line["split"]).lower())
            if split is None:
                raise ValueError(f"{where}: split is {line['split']!r}, expected one of {', '.join(SPLITS)}")
            return split
        fold = _number(line["strat_fold"])
        if fold is None or fold not in range(1, 11):
            raise ValueError(f"{where}: strat_fold is {line['strat_fold']!r}, expected a whole number from 1 to 10")
        return fold_split(int(fold))

    def row(self, item: TableItem) -> dict[str, Any]:
        record = self._record(item)
        line = dict.fromkeys(OTHER_COLUMNS) if self.records is None else self._line(item.line)
        record.report = line["report"] or record.report
        record.age = record.age if line["age"] is None else _age(line["age"])
        record.sex = record.sex if line["sex"] is None else canonical_sex(line["sex"], self._sex_codes)
        return row_from_record(
            record,
            ecg_id=item.ecg_id,
            patient_id=line["patient_id"] if item.patient_id is None else item.patient_id,
            report_language=self._language(line["report_language"], record.report),
            **{task: self._labels(item.line, task) for task in self.tasks()},
        )

    def _record(self, item: TableItem) -> EcgRecord:
        if self.signals is None:
            given = {"sampling_rate": self.sampling_rate, "lead_names": self.lead_names, "units": self.units}
            defaults = {name: value for name, value in given.items() if value is not None}
            return read_with_defaults(self._only_file(item), item.ecg_id, defaults)
        values = self._array[item.line]
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
            raise SkipRecord(item.ecg_id, "no path", f"the cell in line {item.line}, counted from 0, is empty")
        if not item.paths:
            raise SkipRecord(item.ecg_id, "no file", f"no file below {folder} is named {item.ecg_id}")
        return folder / item.paths[0]

    def _language(self, stated: str | None, report: str | None) -> str | None:
        if stated is not None:
            return stated
        return report_language(report) if self.report_language == BY_WORDS else self.report_language

    @cached_property
    def _sex_codes(self) -> dict[str, str]:
        codes: dict[str, str] = {}
        for text in self.sex_codes or []:
            code, _, meaning = text.partition("=")
            if meaning not in SEXES:
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
                first = printable(unnamed[0])
                notes.append(f"files that no line of the table names: {len(unnamed):,} (the first: {first})")
        if self.records is None:
            notes.append(
                "splits: 80/10/10, drawn by patient where a file states one and by record elsewhere, so recordings of "
                "one patient may be in different splits (a table with ecg_id, patient_id and path prevents it)"
            )
        elif not {"split", "strat_fold"} & set(self.table):
            notes.append("splits: no column split or strat_fold, so they were drawn by patient, 80/10/10")
        stated = {name: {cell for cell in self.table.get(name, ()) if cell is not None} for name in ("sex", "age")}
        if unknown := sorted(cell for cell in stated["sex"] if canonical_sex(cell, self._sex_codes) is None):
            notes.append(f"sex: {', '.join(unknown[:5])} left empty; say what it means: --sex_codes 0=male 1=female")
        if unknown := sorted(cell for cell in stated["age"] if _age(cell) is None):
            notes.append(f"age: {', '.join(unknown[:5])} left empty; expected years, 0 to {OLDEST_AGE:g}")
        return notes

    def card(self) -> CardFacts:
        drawn = "drawn by patient (ordered by a hash of the names): 80 % train, 10 % validation, 10 % test"
        columns = [column for column in ("split", "strat_fold") if column in self.table]
        languages = [] if self.report_language in (None, BY_WORDS) else [str(self.report_language)]
        faults = ["A label that no record of the table has is not in the universe of its task."]
        codes = [task for task, column in self._task_columns.items() if column == SCP_CODES]
        notes = {
            task: "every code of `scp_codes`, whatever its likelihood" for task in codes if self._takes_every_code
        }
        if self.records is None:
            drawn = f"{drawn}; a record whose file states no patient counts as a patient of its own"
            notes["patient_id"] = "hash of the patient's number in the file; null where it states none"
            faults = ["Recordings of one patient may be in different splits where their files name no patient."]
        source = Path(self.records or str(self.files)).name
        return CardFacts(
            title=self.name,
            summary=f"{len(self.table['ecg_id']):,} records of {source}, converted by `merit convert table`.",
            source="Only the owner of the records knows: write it here before you share the corpus.",
            licence=self.licence,
            languages=tuple(languages),
            split_note=f"Splits are {'as the column ' + columns[0] + ' says' if columns else drawn}.",
            column_notes=notes,
            known_faults=tuple(faults),
        )


def _read_table(path: Path) -> dict[str, list[Any]]:
    """Columns of a CSV or Parquet file."""
    import pandas as pd  # here, so that `--help` answers at once

    if not path.is_file():
        raise ValueError(f"{path} is no file; records must be a CSV or Parquet table")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except Exception as error:  # of any type where the file is damaged
        raise ValueError(f"{path} cannot be read as a CSV or Parquet table: {_first_line(error)}") from error
    if table.empty:
        raise ValueError(f"{path} has no lines")
    if path.suffix.lower() not in (".parquet", ".pq") and not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path}: its lines have more cells than its header; give every column a name")
    columns = {}
    for name in table:
        try:
            columns[str(name)] = [cell_content(value) for value in table[name]]
        except ValueError as error:
            raise ValueError(f"{path}, column {name}: {_first_line(error)}") from error
    return columns


def _first_line(error: Exception) -> str:
    return f"{str(error).strip() or type(error).__name__}".splitlines()[0][:200]


def _number(cell: str | None) -> float | None:
    """A finite decimal number; None where the cell holds none."""
    return float(cell) if cell is not None and _DECIMAL.fullmatch(cell) else None


def _age(cell: str) -> float | None:
    """Age in years; None where the cell holds no age that a person can have."""
    age = _number(cell)
    return age if age is not None and 0 <= age <= OLDEST_AGE else None
