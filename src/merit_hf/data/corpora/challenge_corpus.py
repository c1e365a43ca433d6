"""ChallengeCorpus: the form of CPSC2018 and CSN, WFDB headers with `.mat` files and diagnoses as codes in `#Dx` lines.

The PhysioNet Challenges of 2020 and 2021 use it. `diagnosis_codes.py` knows what the codes mean; the
rules of each corpus are in its own file.
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

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.row import SkipRecord, read_record, row_from_record, skipping_failures
from merit_hf.data.splits import SPLITS, draw_splits, read_split_tables
from merit_hf.io import EcgRecord

from .diagnosis_codes import DiagnosisCodes, diagnosis_codes

HEADER, SIGNAL = ".hea", ".mat"
UNKNOWN = "UNKNOWN"  # what a header says where nothing was stated

_DX_LINE = re.compile(r"^#[ \t]*Dx[ \t]*:(.*)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class ChallengeRecord:
    """One record on disk: its name, its path without extension, the terms of its `#Dx` line."""

    name: str
    path: str
    terms: tuple[str, ...] = ()


def _header_text(header: Path) -> str:
    """Text of a header; empty where it cannot be read: reading the record will fail and say why."""
    try:
        with skipping_failures(header.stem, header):
            return header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
    except SkipRecord:
        return ""


def diagnosis_terms(header: str) -> tuple[str, ...]:
    """Terms of the `#Dx` line of a header (SNOMED codes or abbreviations), each once; empty where none is stated."""
    words = (word for line in _DX_LINE.findall(header) for word in re.split(r"[,;\s]+", line))
    return tuple(dict.fromkeys(word for word in words if word and word.upper() != UNKNOWN))


@dataclass(kw_only=True)
class ChallengeCorpus(CorpusBuilder):
    """Base of a corpus in this form. A new one states its name, its record names, its label rules and its card."""

    corpus_name: ClassVar[str]  # of its file in labels/
    address: ClassVar[str]
    record_name: ClassVar[re.Pattern[str]]  # tells its records from those of other corpora below one folder
    split_column: ClassVar[str]  # of MERL's split files; files of one's own may have ecg_id
    data_dir: str = option(help="folder with the .hea and .mat files, in folders of any depth, as PhysioNet has them")
    splits: str | None = option(
        None,
        help="folder with *train.csv, *val.csv and *test.csv, such as MERL's; records in none of them are left out. "
        "By default splits are drawn: 80 %, 10 % and 10 % of the records, and at least one record each",
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
        """Patient of a record, if the source names one."""
        return None

    def shaped(self, record: EcgRecord) -> EcgRecord:
        """The record in the form that goes into the corpus."""
        return record

    def extra_features(self) -> dict[str, Any]:
        from datasets import List, Value

        return {"diagnosis_codes": List(Value("string"))}

    def tasks(self) -> dict[str, list[str]]:
        return {"labels": list(self.codes.labels)}

    @cached_property
    def records(self) -> dict[str, ChallengeRecord]:
        """Every record below `data_dir` by name, also those of which only one of the two files is there."""
        found: dict[str, ChallengeRecord] = {}
        for path in self._paths():
            name = os.path.basename(path)
            if name in found:
                raise ValueError(f"record {name} is there twice: {found[name].path} and {path}; narrow data_dir")
            found[name] = ChallengeRecord(name, path, diagnosis_terms(_header_text(Path(path + HEADER))))
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

    def work(self) -> dict[str, list[ChallengeRecord]]:
        """Records by split. Records that the split files name but `data_dir` lacks are found missing later.

        Without split files, splits are drawn by quota among the records that are there (`draw_splits`), so that a part
        of the corpus has a validation split as well. Two conversions of different parts may put a record into
        different splits: for results to compare, give split files.
        """
        work: dict[str, list[ChallengeRecord]] = {split: [] for split in SPLITS}
        if self._split_table is None:
            drawn = draw_splits(self.records)
            for record in self.records.values():
                work[drawn[record.name]].append(record)
        else:
            for name, split in self._split_table.items():
                absent = ChallengeRecord(name, os.path.join(self.data_dir, name))
                work[split].append(self.records.get(name, absent))
        return work

    def left_out(self) -> list[SkipRecord]:
        if self._split_table is None:
            return []
        names = (name for name in self.records if name not in self._split_table)
        return [SkipRecord(name, "in no split", f"the files in {self.splits} do not name it") for name in names]

    def row(self, item: ChallengeRecord) -> dict[str, Any]:
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
            notes.append("splits: records drawn 80/10/10 by a hash of their names (--splits DIR uses published ones)")
        if without := sum(not self.labels_of(record.terms) for record in self._used()):
            notes.append(f"records without a label of the task: {without:,} (their list is empty: not in the task)")
        if unknown := self._unknown_terms():
            notes.append(f"diagnoses that are no label and have no acronym: {unknown}")
        return notes

    def _used(self) -> Iterable[ChallengeRecord]:
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
            f"The headers have codes that are in no list of this corpus: {unknown}, counted in records. They are kept "
            "in `diagnosis_codes` and give no label, so a record may have a finding of the task under another code.",
        )

    def split_note(self) -> str:
        """Line for the card on how records came into splits."""
        if self.splits is None:
            return (
                "Drawn by a hash of the record's name: 80 % train, 10 % validation, 10 % test, with at least one "
                "record in each. A conversion of the same records draws the same splits."
            )
        return f"As the files in `{Path(self.splits).name}` say; records that they do not name are left out."
