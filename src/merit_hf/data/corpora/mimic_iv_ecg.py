"""MIMIC-IV-ECG as a corpus: its folder or the zip archive PhysioNet offers, its splits, and what its card says.

Its two tables are read in `mimic_records.py`, archives in `zip_index.py`; nothing here knows another corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, overload

import numpy as np

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.fetch.project import PhysioNetProject
from merit_hf.data.fetch.zip_index import ZipEntry, ZipIndex, entry_lines, read_entry
from merit_hf.data.reports import clean_report
from merit_hf.data.row import SkipRecord, read_record, row_from_record, skipping_failures
from merit_hf.data.splits import SPLITS, patient_split
from merit_hf.io import EcgRecord

from .mimic_records import MEASUREMENTS, NOT_MEASURED, NOTES, MimicRecord, MimicRecords

MIMIC_URL = "https://physionet.org/content/mimic-iv-ecg/1.0/"
COLUMN_NOTES = {
    "ecg_id": "`study_id` of the source",
    "patient_id": "`subject_id` of the source, the same as in the other modules of MIMIC-IV",
    "lead_names": "leads in the order of `signal`; in the source mostly I, II, III, aVR, aVF, aVL, V1 to V6",
    "report": "`report_0` to `report_17` of the machine, joined by `. `; null where there is none",
    "age": "null: it is in the patients table of MIMIC-IV, which takes credentials",
    "sex": "null: it is in the patients table of MIMIC-IV, which takes credentials",
    "ecg_time": "date and time of the recording, shifted as all dates of MIMIC-IV are",
    "rr_interval": "time between R waves, as the machine measured it; null where it found none, here and below",
    "p_onset": "begin of the P wave; this and the next four count from a zero of the machine's own",
    "p_end": "end of the P wave",
    "qrs_onset": "begin of the QRS complex",
    "qrs_end": "end of the QRS complex",
    "t_end": "end of the T wave",
    "p_axis": "frontal axis of the P wave",
    "qrs_axis": "frontal axis of the QRS complex",
    "t_axis": "frontal axis of the T wave",
    "bandwidth": "frequencies that the machine let pass, in its words",
    "filtering": "filters that were on, in the machine's words",
}
TABLES = ("record_list.csv", "machine_measurements.csv")
EXTENSIONS = (".hea", ".dat")


class MimicItem(NamedTuple):
    """A record to convert, and the places of its header and signal file in the archive; None for a missing file.

    `entries` itself is None where the records are in a folder.
    """

    record: MimicRecord
    entries: tuple[ZipEntry | None, ...] | None = None


@dataclass(frozen=True)
class MimicWork(Sequence[MimicItem]):
    """The records of one split, made into items when they are asked for."""

    records: MimicRecords
    archive: ZipIndex | None = None
    prefix: str = ""  # folder in the archive that holds everything

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> MimicItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[MimicItem]: ...

    def __getitem__(self, index: int | slice) -> MimicItem | list[MimicItem]:
        if isinstance(index, slice):
            return [self._item(record) for record in self.records[index]]
        return self._item(self.records[index])

    def _item(self, record: MimicRecord) -> MimicItem:
        if self.archive is None:
            return MimicItem(record)
        names = [f"{self.prefix}{record.path}{extension}" for extension in EXTENSIONS]
        return MimicItem(record, tuple(self.archive.find(name) for name in names))


@dataclass(kw_only=True)
class MimicIvEcg(CorpusBuilder):
    """MIMIC-IV-ECG 1.0 in PhysioNet's layout, unpacked or not."""

    data_dir: str = option(
        help="folder with record_list.csv, machine_measurements.csv and files/, as PhysioNet has it; or PhysioNet's "
        "zip archive of it, which is read without unpacking; with download, the name of the archive to write"
    )
    validation_share: float = option(0.02, help="share of the patients that go to validation, drawn by patient")
    test_share: float = option(0.0, help="share of the patients that go to test, drawn by patient")
    split_seed: int = option(0, help="another number draws other patients")
    min_report_words: int = option(
        0, unit="words", help="leave out records with a shorter report, counted after cleaning; 0 leaves out none"
    )
    keep_missing_samples: bool = option(
        False, help="keep records with samples marked as missing (NaN), unless all are; by default they are left out"
    )

    project = PhysioNetProject(
        "mimic-iv-ecg",
        "1.0",
        archive="mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0.zip",
        size="33 GB, which need not be unpacked (90 GB)",
    )

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}")
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on"
            )
        if self.min_report_words < 0:
            raise ValueError(f"min_report_words must be at least 0, not {self.min_report_words}")
        root = Path(self.data_dir)
        if root.is_file():
            return  # the archive is checked when it is read
        for name in TABLES:
            if not (root / name).is_file():
                raise ValueError(
                    f"{root} has no {name}; data_dir must be MIMIC-IV-ECG from {MIMIC_URL}, a folder or a zip archive"
                )

    def extra_features(self) -> dict[str, Any]:
        from datasets import Value

        return {
            "ecg_time": Value("string"),
            **{name: Value("int32") for name in MEASUREMENTS},
            **{name: Value("string") for name in NOTES},
        }

    def tasks(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _archive(self) -> tuple[ZipIndex, str] | None:
        """Index of the archive, and the folder in it that contains everything; None if the records are in a folder."""
        if not Path(self.data_dir).is_file():
            return None
        index = ZipIndex(self.data_dir, remember=TABLES[:1])
        if not index.remembered:
            raise ValueError(f"{self.data_dir} has no {TABLES[0]} in it; download the archive from {MIMIC_URL}")
        return index, min(index.remembered, key=len).removesuffix(TABLES[0])

    def _lines(self, name: str) -> Iterator[str]:
        if self._archive is None:
            with open(Path(self.data_dir) / name, newline="", encoding="utf-8") as file:
                yield from file
            return
        index, prefix = self._archive
        entry = index.find(f"{prefix}{name}")
        if entry is None:
            raise ValueError(f"{self.data_dir} has no {prefix}{name} in it; download the archive from {MIMIC_URL}")
        yield from entry_lines(self.data_dir, entry)

    def work(self) -> dict[str, MimicWork]:
        """Records by split.

        Splits are drawn by a hash of each patient alone (`patient_split`), not by quota: with 160,000 patients the
        shares hold anyway, and a patient has the same split in the whole corpus, in a part of it and in the demo set.
        """
        records = MimicRecords.read(self._lines(TABLES[0]), self._lines(TABLES[1]))
        index, prefix = self._archive or (None, "")
        train_share = 1 - self.validation_share - self.test_share
        shares = dict(zip(SPLITS, (train_share, self.validation_share, self.test_share), strict=True))
        patients, patient_of = np.unique(records.subjects, return_inverse=True)
        drawn = [SPLITS.index(patient_split(str(patient), shares, self.split_seed)) for patient in patients]
        split_of = np.array(drawn, dtype=np.int8)[patient_of]
        return {
            split: MimicWork(records.select(split_of == number), index, prefix) for number, split in enumerate(SPLITS)
        }

    def row(self, item: MimicItem) -> dict[str, Any]:
        record = item.record
        if len(clean_report(record.report).split()) < self.min_report_words:
            raise SkipRecord(record.study_id, "short report", record.report or "")
        ecg = self._read(item)
        if self.keep_missing_samples:
            nothing = not np.any(ecg.signal[np.isfinite(ecg.signal)])
        else:
            if missing := int(np.isnan(ecg.signal).sum()):
                raise SkipRecord(record.study_id, "NaN", f"{missing} of {ecg.signal.size} samples are missing")
            nothing = not ecg.signal.any()
        if nothing:
            raise SkipRecord(record.study_id, "all zero", "no sample differs from zero")
        ecg.report = record.report
        return row_from_record(
            ecg,
            ecg_id=record.study_id,
            patient_id=record.subject_id,
            report_language="en",
            ecg_time=record.ecg_time or None,
            **dict(zip(MEASUREMENTS, record.measurements, strict=True)),
            **dict(zip(NOTES, record.notes, strict=True)),
        )

    def _read(self, item: MimicItem) -> EcgRecord:
        if item.entries is None:
            return _read_files(Path(self.data_dir) / item.record.path, item.record)
        with tempfile.TemporaryDirectory(prefix="mimic-iv-ecg-") as folder:
            path = Path(folder) / PurePosixPath(item.record.path).name
            for extension, entry in zip(EXTENSIONS, item.entries, strict=True):
                if entry is not None:
                    with skipping_failures(item.record.study_id, f"{item.record.path}{extension}"):
                        content = read_entry(self.data_dir, entry)
                    path.with_name(f"{path.name}{extension}").write_bytes(content)
            return _read_files(path, item.record)

    def card(self) -> CardFacts:
        return CardFacts(
            title="MIMIC-IV-ECG",
            summary=(
                "Diagnostic 12-lead ECGs of 10 s at 500 Hz from patients of the Beth Israel Deaconess Medical Center "
                "in Boston, with the statements of the ECG machine as report, and its measurements. The digital "
                "samples are kept as they are."
            ),
            source=f"MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset, version 1.0, PhysioNet: {MIMIC_URL}",
            licence="odbl",
            licence_note="The Open Data Commons Open Database License holds for databases made from this one, too.",
            citation=CITATION,
            languages=("en",),
            split_note=self._split_note(),
            column_notes=COLUMN_NOTES,
            column_units={name: "degrees" if name.endswith("_axis") else "ms" for name in MEASUREMENTS},
            known_faults=self._known_faults(),
        )

    def _known_faults(self) -> tuple[str, ...]:
        faults = [
            "Reports were written by the machine and not confirmed by a physician; many repeat: of some 800,000, only "
            "about 180,000 are different texts.",
            "The order of the leads is not the usual one, so go by `lead_names`.",
            f'Measurements of {NOT_MEASURED} or more stand for "not found" in the source and are null here.',
            "Dates are shifted, by another time for each patient, and clocks of the machines were not always right.",
        ]
        if not self.keep_missing_samples:
            faults.append("Records with even one sample marked as missing (NaN) are left out.")
        if self.min_report_words:
            faults.append(f"Records whose cleaned report has fewer than {self.min_report_words} words are left out.")
        return tuple(faults)

    def _split_note(self) -> str:
        shares = f"{self.validation_share:.3g} of the patients go to validation and {self.test_share:.3g} to test"
        return (
            f"The source has no splits. They are drawn by a hash of each patient (seed {self.split_seed}), so that a "
            f"patient has the same split in every part of the source: {shares}, on average."
        )


def _read_files(path: Path, record: MimicRecord) -> EcgRecord:
    """Record of a header and its signal file. Faults are described in the same way for a folder and an archive."""
    for extension in EXTENSIONS:
        if not path.with_name(f"{path.name}{extension}").is_file():
            raise SkipRecord(record.study_id, "file missing", f"{record.path}{extension}")
    try:
        return read_record(path, record.study_id)
    except SkipRecord as skip:
        raise SkipRecord(skip.ecg_id, skip.reason, skip.detail.replace(str(path), record.path)) from skip


CITATION = """
@misc{gow2023mimicivecg,
  title = {{MIMIC-IV-ECG}: Diagnostic Electrocardiogram Matched Subset (version 1.0)},
  author = {Gow, Brian and Pollard, Tom and Nathanson, Larry A. and Johnson, Alistair and Moody, Benjamin and
            Fernandes, Chrystinne and Greenbaum, Nathaniel and Waks, Jonathan W. and Eslami, Parastou and
            Carbonati, Tanner and Chaudhari, Ashish and Herbst, Elizabeth and Moukheiber, Dana and Berkowitz, Seth and
            Mark, Roger and Horng, Steven},
  publisher = {PhysioNet}, year = {2023}, doi = {10.13026/4nqg-sb35}
}
@article{goldberger2000physionet,
  title = {{PhysioBank}, {PhysioToolkit}, and {PhysioNet}},
  author = {Goldberger, Ary L. and Amaral, Luis A. N. and Glass, Leon and Hausdorff, Jeffrey M. and Ivanov, Plamen Ch.
            and Mark, Roger G. and Mietus, Joseph E. and Moody, George B. and Peng, Chung-Kang and Stanley, H. Eugene},
  journal = {Circulation}, volume = {101}, number = {23}, pages = {e215--e220}, year = {2000},
  doi = {10.1161/01.CIR.101.23.e215}
}
"""
