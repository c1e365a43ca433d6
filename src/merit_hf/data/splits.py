"""Who goes into which split: splits drawn by patient, PTB-XL's folds, published lists, and the check of patients.

What a split contains is the business of each corpus.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {**{split: split for split in SPLITS}, "val": "validation", "valid": "validation", "dev": "validation"}
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def patient_split(patient_id: str, shares: Mapping[str, float] = DEFAULT_SHARES, seed: int = 0) -> str:
    """Split of a patient, drawn by a hash of the name: the same in every process and whoever else is in the corpus.

    Args:
        patient_id: name of the patient; all records of one patient land in one split.
        shares: expected share of the patients in each split, adding up to 1.
        seed: another seed draws other splits.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and add up to 1, not {dict(shares)}")
    digest = hashlib.blake2b(f"{seed}:{patient_id}".encode(), digest_size=8).digest()
    draw = int.from_bytes(digest, "big") / 2**64
    bounds = itertools.accumulate(shares.values())
    named = [split for split, share in shares.items() if share > 0]
    return next((split for split, bound in zip(shares, bounds, strict=True) if draw < bound), named[-1])


def fold_split(fold: int) -> str:
    """Split of a record by its `strat_fold`, as PTB-XL recommends: folds 1-8 train, 9 validation, 10 test."""
    if fold not in range(1, 11):
        raise ValueError(f"strat_fold must be 1 to 10, not {fold!r}")
    return {9: "validation", 10: "test"}.get(fold, "train")


def read_split_tables(folder: str | os.PathLike[str], columns: Sequence[str]) -> dict[str, str]:
    """Split of each record, as CSV files state it, one a split: `train.csv` or `*_train.csv`, and so on.

    Args:
        folder: where the three files are; `val` and `valid` stand for validation as well.
        columns: columns that may hold the record's name or path, the preferred one first; a path counts by its last
            part, without extension.

    Returns:
        Name of the record -> split, in the order of the files.

    Raises:
        ValueError: a file or its column is missing, two files claim one split, a record is listed twice.
    """
    tables: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*.csv")):
        split = SPLIT_NAMES.get(re.split(r"[_-]", path.stem.lower())[-1])
        if split is not None and split in tables:
            raise ValueError(f"{folder}: both {tables[split].name} and {path.name} say who is in {split}")
        if split is not None:
            tables[split] = path
    if missing := [split for split in SPLITS if split not in tables]:
        raise ValueError(f"{folder} has no CSV file for {', '.join(missing)}: splits need *train, *val and *test.csv")
    splits: dict[str, str] = {}
    for split in SPLITS:
        with open(tables[split], newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            column = next((column for column in columns if column in (lines.fieldnames or ())), None)
            if column is None:
                raise ValueError(f"{tables[split]} has no column {' or '.join(columns)}")
            for line in lines:
                name = PurePosixPath(line[column] or "").stem
                if not name or name in splits:
                    what = f"{name} is listed twice" if name else f"{column} is empty"
                    raise ValueError(f"{tables[split]}, line {lines.line_num}: {what}")
                splits[name] = split
    return splits


def check_patients_disjoint(patients: Mapping[str, Iterable[str | None]]) -> None:
    """Refuses splits that share patients; a score on such a test split would be too good.

    Args:
        patients: names of the patients in each split; None stands for unknown and is not compared.
    """
    names = {split: {name for name in names if name is not None} for split, names in patients.items()}
    for (first, some), (second, others) in itertools.combinations(names.items(), 2):
        if shared := sorted(some & others):
            raise ValueError(
                f"{len(shared)} patients are in both {first} and {second} (the first: {', '.join(shared[:3])}); every "
                "patient must be in one split: correct the split column, or leave it out to have splits drawn by "
                "patient"
            )
