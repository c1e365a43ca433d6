"""What CPSC2018 and CSN share: WFDB headers with a `.mat` file each, and diagnoses as codes in their `#Dx` line.

What the codes mean is data (`diagnosis_codes.py`); the rules of one corpus are in its own file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import datasets

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.row import SkipRecord, read_record, row_from_record
from merit_hf.data.splits import SPLITS, patient_split, read_split_tables
from merit_hf.io import EcgRecord

from .diagnosis_codes import DiagnosisCodes, diagnosis_codes

HEADER, SIGNAL = ".hea", ".mat"
UNKNOWN = "UNKNOWN"  # what a header says where nothing was stated

_DX_LINE = re.compile(r"^#[ \t]*Dx[ \t]*:(.*)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class CodedRecord:
    """One record as it lies on disk: its name, its path without extension, the terms of its `#Dx` line."""

    name: str
    path: str
    terms: tuple[str, ...] = ()


def diagnosis_terms(header: str) -> tuple[str, ...]:
    """Terms of the `#Dx` line of a header (SNOMED codes or abbreviations), each once; empty where none is stated."""
    words = (word for line in _DX_LINE.findall(header) for word in re.split(r"[,;\s]+", line))
    return tuple(dict.fromkeys(word for word in words if word and word.upper() != UNKNOWN))


@dataclass(kw_only=True)
class CodedCorpus(CorpusBuilder):
    """Base of a corpus in this form. A new one says its name, its record names, its rules for labels and its card."""

    corpus_name: ClassVar[str]  # of its file in labels/
    address: ClassVar[str]
    record_name: ClassVar[re.Pattern[str]]  # tells its records from those of other corpora below one folder
    split_column: ClassVar[str]  # of MERL's split files; files of one's own may have ecg_id
    extra_features = {"diagnosis_codes": datasets.List(datasets.Value("string"))}

    data_dir: str = option(help="folder with the .hea and .mat files, in folders of any depth, as PhysioNet has them")
    splits: str | None = option(
        None,
        help="folder with *train.csv, *val.csv and *test.csv, such as MERL's; records in none of them are left out. "
        "Without it, splits are drawn 80/10/10 by a hash of the record's name",
    )

    def __post_init__(self) -> None:
        if not Path(self.data_dir).is_dir():
            raise ValueError(f"{self.data_dir} is no folder; data_dir must be the data as downloaded: {self.address}")
        if not self.records:
            raise ValueError(
                f"{self.data_dir} has no {HEADER} or {SIGNAL} files named {self.record_name.pattern}; data_dir must "
                f"be the data as downloaded: {self.address}"
            )

    @property
    def codes(self) -> DiagnosisCodes:
        """What the terms of the headers mean."""
        return diagnosis_codes(self.corpus_name)

    @property
    def own_splits(self) -> bool:
        return self.splits is None

    def labels_of(self, terms: Sequence[str]) -> set[str]:
        """Labels of a record with these terms in its header."""
        raise NotImplementedError

    def patient_of(self, name: str) -> str | None:
        """Patient of a record, if the source tells."""
        return None

    def shaped(self, record: EcgRecord) -> EcgRecord:
        """The record in the form that goes into the corpus."""
        return record

    def tasks(self) -> dict[str, list[str]]:
        return {"labels": list(self.codes.labels)}

    @cached_property
    def records(self) -> dict[str, CodedRecord]:
        """Every record below `data_dir` by name, also those of which only one of the two files is there."""
        found: dict[str, CodedRecord] = {}
        for path in self._paths():
            name = os.path.basename(path)
            if name in found:
                raise ValueError(f"record {name} is there twice: {found[name].path} and {path}; narrow data_dir")
            header = Path(path + HEADER)
            text = header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
            found[name] = CodedRecord(name, path, diagnosis_terms(text))
        return found

    def _paths(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.data_dir):
            folders.sort()
            stems = {os.path.splitext(file) for file in files}
            names = {stem for stem, extension in stems if extension in (HEADER, SIGNAL)}
            yield from (os.path.join(folder, name) for name in sorted(names) if self.record_name.fullmatch(name))

    @cached_property
    def _split_table(self) -> dict[str, str] | None:
        return None if self.splits is None else read_split_tables(self.splits, (self.split_column, "ecg_id"))

    def work(self) -> dict[str, list[CodedRecord]]:
        """Records by split. What the files of splits name but `data_dir` does not have is found missing later."""
        work: dict[str, list[CodedRecord]] = {split: [] for split in SPLITS}
        if self._split_table is None:
            for record in self.records.values():
                work[patient_split(self.patient_of(record.name) or record.name)].append(record)
        else:
            for name, split in self._split_table.items():
                absent = CodedRecord(name, os.path.join(self.data_dir, name))
                work[split].append(self.records.get(name, absent))
        return work

    def left_out(self) -> list[SkipRecord]:
        if self._split_table is None:
            return []
        names = (name for name in self.records if name not in self._split_table)
        return [SkipRecord(name, "in no split", f"the files in {self.splits} do not name it") for name in names]

    def row(self, item: CodedRecord) -> dict[str, Any]:
        for extension in (HEADER, SIGNAL):
            if not os.path.isfile(item.path + extension):
                raise SkipRecord(item.name, "file missing", item.path + extension)
        return row_from_record(
            self.shaped(read_record(item.path, item.name)),
            ecg_id=item.name,
            patient_id=self.patient_of(item.name),
            labels=sorted(self.labels_of(item.terms)),
            diagnosis_codes=list(item.terms),
        )

    def notes(self) -> list[str]:
        notes = []
        if self.splits is None:
            notes.append("splits: records drawn 80/10/10 by a hash of their names (--splits DIR takes published ones)")
        if without := sum(not self.labels_of(record.terms) for record in self._used()):
            notes.append(f"records without a label of the task: {without:,} (their list is empty: not in the task)")
        if unknown := self._unknown_terms():
            notes.append(f"diagnoses that are no label and have no acronym: {unknown}")
        return notes

    def _used(self) -> Iterable[CodedRecord]:
        return (record for records in self.work().values() for record in records if record.name in self.records)

    def _unknown_terms(self) -> str:
        counts = Counter(term for record in self._used() for term in self.codes.unknown(record.terms))
        return ", ".join(f"{term} ({count:,})" for term, count in counts.most_common())

    def unknown_terms_fault(self) -> tuple[str, ...]:
        """Line for the card on the terms that the map does not have; empty if it has them all."""
        unknown = self._unknown_terms()
        if not unknown:
            return ()
        return (
            f"The headers have codes that are in no list of this corpus: {unknown}, counted in records. They stand in "
            "`diagnosis_codes` and give no label, so a record may have a finding of the task under another code.",
        )

    def split_note(self) -> str:
        """Line for the card on how records came into splits."""
        if self.splits is None:
            return (
                "Drawn by a hash of the record's name: 80 % train, 10 % validation, 10 % test, the same in every "
                "conversion."
            )
        return f"As the files in `{Path(self.splits).name}` say; records that they do not name are left out."
