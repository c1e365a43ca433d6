"""Who goes into which split: splits drawn by patient, PTB-XL's folds, published lists; and the check that no patient
is in two of them.

Signals that two splits share are found in `build/leaks.py`; what is in a record is decided by each corpus.
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
HELD_OUT_SHARE = 0.15  # of the patients of a training split whose validation split is tested on
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
SHOWN = 3  # of many records or patients, so many are named in a message


def draw_splits(
    patient_ids: Iterable[str], shares: Mapping[str, float] = DEFAULT_SHARES, seed: int = 0
) -> dict[str, str]:
    """Draws a split for each patient by quota: patients are ordered by a hash of their names and cut at the shares.

    Every split gets its share to within one patient, and at least one patient as long as there are enough (train
    first, then validation, then test), so a corpus of a dozen patients can be trained on. The result depends on the
    set of patients alone: not on the order of the records, nor on the number of processes. It does depend on who else
    is in the set: when patients are added, a few of the others change their split. Where a patient must keep the split
    in every part of a corpus, use `patient_split`.

    Args:
        patient_ids: names of the patients, in any order; a name counts once.
        shares: share of the patients in each split, adding up to 1. A split with share 0 gets none.
        seed: another seed draws other splits.

    Returns:
        Patient -> split.

    Raises:
        ValueError: the shares are negative or do not add up to 1.
    """
    _check_shares(shares)
    patients = sorted(set(patient_ids), key=lambda patient: (_draw(patient, seed), patient))
    exact = {split: share * len(patients) for split, share in shares.items() if share > 0}
    sizes = {split: int(size + 1e-9) for split, size in exact.items()}
    left = len(patients) - sum(sizes.values())
    for split in sorted(exact, key=lambda split: sizes[split] - exact[split])[:left]:  # the largest remainders
        sizes[split] += 1
    for split in list(sizes)[: len(patients)]:
        if not sizes[split]:
            sizes[max(sizes, key=lambda name: sizes[name])] -= 1
            sizes[split] = 1
    splits = itertools.chain.from_iterable(itertools.repeat(split, size) for split, size in sizes.items())
    return dict(zip(patients, splits, strict=True))


def patient_split(patient_id: str, shares: Mapping[str, float] = DEFAULT_SHARES, seed: int = 0) -> str:
    """Draws the split of one patient by a hash of the name alone, so it does not depend on the others.

    This is for huge corpora that are converted in parts (MIMIC-IV-ECG) and for training records that are held out:
    there a patient must keep the split in every subset. Shares hold on average only, so a small corpus may get an
    empty split; `draw_splits` draws by quota.

    Args:
        patient_id: name of the patient; all records of one patient land in one split.
        shares: expected share of the patients in each split, adding up to 1.
        seed: another seed draws other splits.

    Raises:
        ValueError: the shares are negative or do not add up to 1.
    """
    _check_shares(shares)
    draw = _draw(patient_id, seed)
    bounds = itertools.accumulate(shares.values())
    named = [split for split, share in shares.items() if share > 0]
    return next((split for split, bound in zip(shares, bounds, strict=True) if draw < bound), named[-1])


def _check_shares(shares: Mapping[str, float]) -> None:
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and add up to 1, not {dict(shares)}")


def _draw(name: str, seed: int) -> float:
    """Number from 0 up to 1 that follows from a name and a seed, the same in every process."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def hold_out_by_patient(
    patient_ids: Sequence[str | None], ecg_ids: Sequence[str], share: float = HELD_OUT_SHARE, seed: int = 0
) -> list[bool]:
    """Which records to hold out of a training split, for a corpus whose validation split serves as the test split.

    Args:
        patient_ids: patient of each record; all records of one are held out or none is. One whose patient is not
            known (None) is drawn by itself.
        ecg_ids: name of each record.
        share: expected share of the patients that is held out.
        seed: another seed holds out others.

    Raises:
        ValueError: `share` is not between 0 and 1, or the draw leaves one side without records.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share that is held out must be between 0 and 1, not {share}")
    # Other names than for splits: a training split that was drawn by the same hash has only low draws.
    names = [
        f"held out record {ecg_id}" if patient is None else f"held out patient {patient}"
        for patient, ecg_id in zip(patient_ids, ecg_ids, strict=True)
    ]
    held_out = [patient_split(name, {"train": 1 - share, "held out": share}, seed) == "held out" for name in names]
    if all(held_out) or not any(held_out):
        raise ValueError(
            f"holding out {share:.0%} of the patients leaves {held_out.count(False)} records to train on and "
            f"{held_out.count(True)} held out of {len(held_out)}: choose another share, or a larger training split"
        )
    return held_out


def fold_split(fold: int) -> str:
    """Split of a record by its `strat_fold`, as PTB-XL recommends: folds 1-8 train, 9 validation, 10 test."""
    if fold not in range(1, 11):
        raise ValueError(f"strat_fold must be 1 to 10, not {fold!r}")
    return {9: "validation", 10: "test"}.get(fold, "train")


def read_split_tables(folder: str | os.PathLike[str], columns: Sequence[str]) -> dict[str, str]:
    """Split of each record, from CSV files, one per split: `train.csv` or `*_train.csv`, and so on.

    Args:
        folder: with the three files; `val` and `valid` mean validation as well.
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


def shared_patients(patients: Mapping[str, Iterable[str | None]]) -> dict[tuple[str, str], list[str]]:
    """Patients that two splits share: (split, split) -> their names, sorted. Pairs that share none are left out.

    Args:
        patients: names of the patients in each split; None means unknown and is not compared.
    """
    names = {split: {name for name in found if name is not None} for split, found in patients.items()}
    pairs = itertools.combinations(names, 2)
    return {pair: sorted(shared) for pair in pairs if (shared := names[pair[0]] & names[pair[1]])}


def shared_patients_sentence(first: str, second: str, names: Sequence[str]) -> str:
    """Sentence, without its full stop, on the patients that two splits share, with the first few names."""
    number = f"{len(names):,} patient is" if len(names) == 1 else f"{len(names):,} patients are"
    some = ", ".join(names[:SHOWN])
    return f"{number} in both {first} and {second} ({some if len(names) <= SHOWN else f'the first: {some}'})"


def check_patients_disjoint(patients: Mapping[str, Iterable[str | None]]) -> None:
    """Refuses splits that share patients; a score on such a test split would be too good.

    Args:
        patients: names of the patients in each split; None means unknown and is not compared.

    Raises:
        ValueError: two splits share a patient.
    """
    refuse_shared_patients(shared_patients(patients))


def refuse_shared_patients(shared: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """Raises ValueError if there are any `shared_patients`."""
    for (first, second), names in shared.items():
        raise ValueError(
            f"{shared_patients_sentence(first, second, names)}; every patient must be in one split: correct the split "
            "column, or leave it out to have splits drawn by patient"
        )
