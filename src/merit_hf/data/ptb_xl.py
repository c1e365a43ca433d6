"""PTB-XL as a corpus: its folder on disk, its five label tasks, its folds, and what its card says.

Labels follow the official `scp_statements.csv`; other corpora have files of their own.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from merit_hf.command_line import option

from .card import CardFacts
from .corpus import CorpusBuilder
from .reports import report_language
from .row import SkipRecord, read_record, row_from_record
from .splits import SPLITS, fold_split

ADDRESS = "https://physionet.org/content/ptb-xl/1.0.3/"
OVER_89 = 300.0  # what PTB-XL writes for every age above 89
FIRST_AGE_OVER_89 = 90.0
SEXES = {"0": "male", "1": "female"}
SIGNAL_COLUMNS = {100: "filename_lr", 500: "filename_hr"}


@dataclass(frozen=True)
class ScpStatements:
    """What `scp_statements.csv` says about each code: in which of the five tasks it counts, and as which label.

    Attributes:
        label: task -> SCP code -> label. `super_class` and `sub_class` hold the diagnostic codes, `form` and `rhythm`
            the
            codes of these kinds under their own names, `all` every code.
    """

    label: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> ScpStatements:
        """Statements of the official file. A code is of a kind where the column of that kind holds 1."""
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        needed = {"", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"}
        _require_columns(path, lines, needed)

        def of_kind(kind: str, label: str) -> dict[str, str]:
            return {line[""]: line[label] for line in lines if line[kind] and float(line[kind]) == 1}

        return cls(
            {
                "super_class": of_kind("diagnostic", "diagnostic_class"),
                "sub_class": of_kind("diagnostic", "diagnostic_subclass"),
                "form": of_kind("form", ""),
                "rhythm": of_kind("rhythm", ""),
                "all": {line[""]: line[""] for line in lines},
            }
        )

    @cached_property
    def universe(self) -> dict[str, list[str]]:
        """Labels of each task, in alphabetical order."""
        return {task: sorted(set(labels.values())) for task, labels in self.label.items()}

    def labels(self, codes: Iterable[str]) -> dict[str, list[str]]:
        """Labels of a record in each task, whatever the likelihood of its codes; an empty list: not in the task."""
        codes = list(codes)
        if unknown := [code for code in codes if code not in self.label["all"]]:
            raise ValueError(f"SCP codes {unknown} are not in scp_statements.csv; take both files from one release")
        return {
            task: sorted({labels[code] for code in codes if code in labels}) for task, labels in self.label.items()
        }


def scp_codes(text: str) -> dict[str, float]:
    """Codes and likelihoods (in percent) of the column `scp_codes`, a Python dict as text."""
    try:
        codes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        codes = None
    if not isinstance(codes, dict):
        raise ValueError(f"scp_codes must be a dict as text such as \"{{'NORM': 100.0}}\", not {text!r}")
    return codes


@dataclass(kw_only=True)
class PtbXl(CorpusBuilder):
    """PTB-XL 1.0.x in PhysioNet's layout."""

    data_dir: str = option(
        help="folder with ptbxl_database.csv, scp_statements.csv and records100/ or records500/, as PhysioNet has it"
    )
    sampling_rate: int = option(100, unit="Hz", help="which of the two published versions of the signals: 100 or 500")

    def __post_init__(self) -> None:
        if self.sampling_rate not in SIGNAL_COLUMNS:
            raise ValueError(f"PTB-XL is published at sampling_rate 100 and 500 Hz, not {self.sampling_rate}")
        folder = Path(self.data_dir)
        for name in ("ptbxl_database.csv", "scp_statements.csv", f"records{self.sampling_rate}"):
            if not (folder / name).exists():
                raise ValueError(f"{folder} has no {name}; data_dir must be PTB-XL as downloaded from {ADDRESS}")

    @cached_property
    def statements(self) -> ScpStatements:
        """The codes and their tasks."""
        return ScpStatements.read(Path(self.data_dir) / "scp_statements.csv")

    def tasks(self) -> dict[str, list[str]]:
        return self.statements.universe

    def work(self) -> dict[str, list[dict[str, str]]]:
        """Lines of ptbxl_database.csv by split."""
        path = Path(self.data_dir) / "ptbxl_database.csv"
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        columns = ["ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold"]
        columns.append(SIGNAL_COLUMNS[self.sampling_rate])
        _require_columns(path, lines, set(columns))
        work: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
        for line in lines:
            work[fold_split(int(float(line["strat_fold"])))].append({column: line[column] for column in columns})
        return work

    def row(self, item: Mapping[str, str]) -> dict[str, Any]:
        ecg_id = item["ecg_id"]
        path = Path(self.data_dir) / item[SIGNAL_COLUMNS[self.sampling_rate]]
        if not path.with_name(f"{path.name}.dat").is_file():
            raise SkipRecord(ecg_id, "file missing", f"{path}.dat")
        record = read_record(path, ecg_id)
        record.report = item["report"]
        record.age = float(item["age"]) if item["age"] else None
        if record.age == OVER_89:
            record.age = FIRST_AGE_OVER_89
        record.sex = SEXES.get(item["sex"])
        return row_from_record(
            record,
            ecg_id=ecg_id,
            patient_id=item["patient_id"].removesuffix(".0"),  # published as a decimal number
            report_language=report_language(item["report"]),
            **self.statements.labels(scp_codes(item["scp_codes"])),
        )

    def card(self) -> CardFacts:
        return CardFacts(
            title=f"PTB-XL, {self.sampling_rate} Hz",
            summary=(
                "Clinical 12-lead ECGs of 10 s, recorded between 1989 and 1996, with the report of each "
                f"and its SCP-ECG statements. Converted from PTB-XL's {self.sampling_rate} Hz files: the digital "
                "samples are kept as they are."
            ),
            source=f"PTB-XL, version 1.0.3, PhysioNet: {ADDRESS}",
            licence="cc-by-4.0",
            citation=CITATION,
            languages=("de", "en", "sv"),
            split_note="Official folds (`strat_fold`): 1 to 8 train, 9 validation, 10 test, disjoint by patient.",
            column_notes={
                "super_class": "`diagnostic_class` of the diagnostic codes; empty: the record is not in this task",
                "sub_class": "`diagnostic_subclass` of the diagnostic codes; empty: not in this task",
                "form": "codes marked `form`; empty: not in this task",
                "rhythm": "codes marked `rhythm`; empty: not in this task",
                "all": "every SCP code of the record",
                "age": "age at the recording; 90 where the source has 300, its code for above 89",
                "report_language": "told by the words in the report, as the source does not say; null where they do "
                "not tell",
            },
            known_faults=(
                'The likelihood of a code is ignored: a code with likelihood 0 ("unknown") counts like one with 100.',
                "Codes keep the underscore of the source (`_AVB`, `ISC_`, `NST_`, `STD_`, `NT_`, `TAB_`, `STE_`); "
                "published label files often drop it.",
                "Reports are German, English or Swedish, partly made by machine and not validated; the source has "
                "broken umlauts in them, and cuts long ones off.",
                "Ages above 89 are known only as such; do not read 90 as an age.",
                "The columns on signal quality, devices, sites and validation of the source are not carried over.",
            ),
        )


def _require_columns(path: Path, lines: list[dict[str, str]], columns: set[str]) -> None:
    if not lines:
        raise ValueError(f"{path} has no lines")
    if missing := columns - lines[0].keys():
        raise ValueError(f"{path} has no columns {', '.join(sorted(missing))}; it is not the file of PTB-XL")


CITATION = """
@article{wagner2020ptbxl,
  title = {{PTB-XL}, a large publicly available electrocardiography dataset},
  author = {Wagner, Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Kreiseler, Dieter and Lunze, Fatima I.
  and
            Samek, Wojciech and Schaeffter, Tobias},
  journal = {Scientific Data}, volume = {7}, number = {1}, pages = {154}, year = {2020},
  doi = {10.1038/s41597-020-0495-6}
}
@misc{wagner2022ptbxl,
  title = {{PTB-XL}, a large publicly available electrocardiography dataset (version 1.0.3)},
  author = {Wagner, Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Samek, Wojciech and Schaeffter,
  Tobias}, publisher = {PhysioNet}, year = {2022}, doi = {10.13026/kfzx-aw45}
}
"""
