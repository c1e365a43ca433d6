"""One task of a corpus, divided for a probe into what to train on, choose by and test on; features of the splits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import datasets
import numpy as np

from merit_hf.data.splits import check_patients_disjoint, hold_out_by_patient
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.targets import TaskTargets, task_targets

TRAIN_SPLIT = "train"


@dataclass(frozen=True)
class ProbeData:
    """One task of a corpus, divided.

    Attributes:
        splits: the corpus' splits by name.
        task: name of the task.
        train, test: records and targets of those splits.
        validation: those of the split to choose by; None where a part of train is held out for that.
        held_out: bool (training records,), that part; all False where there is a validation split.
        validation_split, test_split: names.
    """

    splits: Mapping[str, datasets.Dataset]
    task: str
    train: TaskTargets
    test: TaskTargets
    validation: TaskTargets | None
    held_out: np.ndarray
    validation_split: str | None
    test_split: str


def probe_data(
    splits: Mapping[str, datasets.Dataset], task: str, test_split: str = "test", validation_split: str | None = None
) -> ProbeData:
    """Divides a corpus for a probe.

    Args:
        splits: map-style splits by name, as `load_corpus(path)` gives them.
        task: label column.
        test_split: split to test on.
        validation_split: split to choose by. None takes "validation" unless it is missing or tested on; then patients
            of train are held out.

    Raises:
        ValueError: a split or the task is missing, one split is asked to be two of train, validation and test, or two
            of them share patients.
    """
    if validation_split is None and "validation" in splits and test_split != "validation":
        validation_split = "validation"
    for name in (TRAIN_SPLIT, test_split, *([] if validation_split is None else [validation_split])):
        if name not in splits:
            raise ValueError(f"the corpus has no split {name!r}; it has {', '.join(splits)}")
    if test_split in (TRAIN_SPLIT, validation_split):
        what = (
            "the one trained on" if test_split == TRAIN_SPLIT else "the validation_split that the probe is chosen by"
        )
        raise ValueError(f"test_split {test_split!r} is {what}; nothing may be fitted or chosen on test records")
    if validation_split == TRAIN_SPLIT:
        raise ValueError("validation_split is 'train'; leave it out to have patients of train held out")
    names = [TRAIN_SPLIT, test_split] if validation_split is None else [TRAIN_SPLIT, validation_split, test_split]
    chosen = {name: task_targets(splits[name], task) for name in names}
    ids = {name: _ids(splits[name], chosen[name]) for name in names}
    check_patients_disjoint({name: patients for name, (patients, _) in ids.items()})
    train = chosen[TRAIN_SPLIT]
    held_out = np.zeros(len(train.records), dtype=bool)
    if validation_split is None:
        held_out = np.array(hold_out_by_patient(*ids[TRAIN_SPLIT]), dtype=bool)
    validation = None if validation_split is None else chosen[validation_split]
    return ProbeData(splits, task, train, chosen[test_split], validation, held_out, validation_split, test_split)


def _ids(dataset: datasets.Dataset, chosen: TaskTargets) -> tuple[list[str | None], list[str]]:
    columns = dataset.select_columns(["patient_id", "ecg_id"]).with_format(None)[chosen.records]
    return columns["patient_id"], columns["ecg_id"]


class SplitFeatures:
    """Features of the splits of a corpus by one encoder, each computed when it is first asked for.

    Args:
        encoder: frozen.
        splits: of the corpus, by name.
        batch_size: records in one pass of the encoder.
        cache_dir: see `encoder.cached_features`.
        progress: show progress bars.
    """

    def __init__(
        self,
        encoder: Encoder,
        splits: Mapping[str, datasets.Dataset],
        *,
        batch_size: int = 64,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> None:
        self.encoder, self._splits = encoder, splits
        self._batch_size, self._cache_dir, self._progress = batch_size, cache_dir, progress
        self._known: dict[str, np.ndarray] = {}

    def __getitem__(self, split: str) -> np.ndarray:
        """float32 (records of the split, size)."""
        if split not in self._known:
            self._known[split] = cached_features(
                self.encoder,
                self._splits[split],
                self._cache_dir,
                batch_size=self._batch_size,
                description=f"{self.encoder.name}, {split}" if self._progress else None,
            )
        return self._known[split]
