"""The linear probe: frozen features of a corpus, a head fitted on shares of the labels, results on a test split.

Protocol: the head's options are chosen by macro AUROC on the validation split, which stays whole at every fraction, as
in the published tables. Where the validation split is the one to test on, or there is none, 15 % of the training
patients are held out to choose by; what was chosen is then fitted on all training records of the fraction. The test
split chooses nothing. Features come from encoders.py, heads are in probe_heads.py, metrics in results.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..data.splits import check_patients_disjoint
from .encoders import Encoder, cached_features
from .label_subsets import HELD_OUT_SHARE, held_out_patients, label_subset
from .predictions import Predictions, predictions_of, write_predictions
from .probe_heads import FittedProbe, fit_chosen, fit_probe
from .results import Result, classification_result
from .targets import TaskTargets, task_targets

__all__ = ["FittedProbe", "ProbeData", "fit_probe", "linear_probe", "probe_data"]

TRAIN_SPLIT = "train"


@dataclass(frozen=True)
class ProbeData:
    """One task of a corpus, divided: what to train on, choose by and test on.

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
        what = "the one trained on" if test_split == TRAIN_SPLIT else "the validation_split that the probe is chosen by"
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
        held_out = held_out_patients(*ids[TRAIN_SPLIT])
        if not held_out.any() or held_out.all():
            raise ValueError(
                f"{len(train.records)} training records of task {task!r} are too few patients to hold out "
                f"{HELD_OUT_SHARE:.0%} of them; give a validation split"
            )
    validation = None if validation_split is None else chosen[validation_split]
    return ProbeData(splits, task, train, chosen[test_split], validation, held_out, validation_split, test_split)


def _ids(dataset: datasets.Dataset, chosen: TaskTargets) -> tuple[list[str | None], list[str]]:
    columns = dataset.select_columns(["patient_id", "ecg_id"]).with_format(None)[chosen.records]
    return columns["patient_id"], columns["ecg_id"]


def linear_probe(
    encoder: Encoder | Sequence[Encoder],
    splits: Mapping[str, datasets.Dataset],
    task: str,
    *,
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    test_split: str = "test",
    validation_split: str | None = None,
    head: str = "linear",
    min_positives: int = 1,
    num_resamples: int = 1000,
    by_patient: bool = False,
    batch_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
    predictions_dir: str | os.PathLike[str] | None = None,
    model_name: str | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Result]:
    """Results of a probe, one for each fraction of the training labels.

    Args:
        encoder: frozen; several, one a seed, where the encoder itself is drawn by chance.
        splits, task, test_split, validation_split: see `probe_data`.
        fractions: shares of the training records whose labels are used.
        seeds: of the subsets (label_subsets.py) and of the mlp head; the result is the mean over them. Where nothing
            is drawn (all records, linear head, one encoder) the first stands for all.
        head: "linear" or "mlp" (probe_heads.py).
        min_positives, num_resamples, by_patient: see `classification_result`.
        batch_size: records in one pass of the encoder.
        cache_dir: of features; None takes the usual place (`encoders.cached_features`).
        predictions_dir: folder for the predictions of every fraction and seed, Parquet; None writes none.
        model_name: stands in the results; the encoder's by default.
        config: what else made the numbers, for the results; plain JSON.
        progress: show progress bars.

    Returns:
        Results (results.py). Their config says how many records were trained on, what validation chose and which
        labels had no positives to train on and so a constant score, for every seed.

    Raises:
        ValueError: see `probe_data`, `label_subset` and `fit_probe`.
    """
    if not len(fractions) or not len(seeds):
        raise ValueError(f"fractions and seeds must not be empty, got {list(fractions)} and {list(seeds)}")
    encoders = list(encoder) if isinstance(encoder, Sequence) else [encoder] * len(seeds)
    if len(encoders) != len(seeds):
        raise ValueError(f"{len(encoders)} encoders for {len(seeds)} seeds; give one, or one a seed")
    data = probe_data(splits, task, test_split, validation_split)
    drawn = isinstance(encoder, Sequence) or head == "mlp"
    known: dict[int, dict[str, np.ndarray]] = {}

    def features(index: int) -> dict[str, np.ndarray]:
        first = encoders.index(encoders[index])
        if first not in known:
            known[first] = {
                name: cached_features(
                    encoders[first],
                    data.splits[name],
                    cache_dir,
                    batch_size=batch_size,
                    description=f"{encoders[first].name}, {name}" if progress else None,
                )
                for name in dict.fromkeys([TRAIN_SPLIT, data.validation_split or TRAIN_SPLIT, data.test_split])
            }
        return known[first]

    results = []
    for fraction in fractions:
        used = list(seeds) if drawn or fraction < 1.0 else [seeds[0]]
        probes = [_probe(data, features(index), fraction, seed, head) for index, seed in enumerate(used)]
        test_runs, validation_runs = [p.test for p in probes], [p.validation for p in probes]
        if predictions_dir is not None:
            for seed, probe in zip(used, probes, strict=True):
                stem = f"{task}-{fraction:g}-seed-{seed}"
                write_predictions(probe.test, Path(predictions_dir) / f"{stem}-{data.test_split}.parquet")
                write_predictions(probe.validation, Path(predictions_dir) / f"{stem}-chosen-by.parquet")
        results.append(
            classification_result(
                test_runs,
                validation_runs,
                task=task,
                split=data.test_split,
                model=model_name or encoders[0].name,
                config={
                    **(config or {}),
                    "fraction": fraction,
                    "head": head,
                    "seeds": used,
                    "chosen_by": data.validation_split or f"{HELD_OUT_SHARE:.0%} of the patients of {TRAIN_SPLIT}",
                    "num_train": len(label_subset(data.train.targets, fraction, used[0])),
                    "num_chosen_by": len(probes[0].validation),
                    "choices": [probe.choice for probe in probes],
                    "constant_labels": [probe.constant_labels for probe in probes],
                },
                num_resamples=num_resamples,
                min_positives=min_positives,
                by_patient=by_patient,
            )
        )
    return results


@dataclass(frozen=True)
class _Probe:
    test: Predictions
    validation: Predictions
    choice: dict[str, Any]
    constant_labels: list[str]


def _probe(data: ProbeData, features: Mapping[str, np.ndarray], fraction: float, seed: int, head: str) -> _Probe:
    """One head: drawn, chosen, fitted and applied. Thresholds are chosen on scores of records it did not see."""
    train, labels = data.train, data.train.label_names
    train_features = features[TRAIN_SPLIT][train.records]
    rows = label_subset(train.targets, fraction, seed)
    fitting = rows[~data.held_out[rows]]
    if data.validation is not None and data.validation_split is not None:
        chosen_by, chosen_split = data.validation, data.validation_split
        chosen_features = features[chosen_split][chosen_by.records]
    else:
        chosen_by = TaskTargets(train.records[data.held_out], train.targets[data.held_out], labels)
        chosen_split, chosen_features = TRAIN_SPLIT, train_features[data.held_out]
    probe = fit_probe(
        train_features[fitting],
        train.targets[fitting],
        chosen_features,
        chosen_by.targets,
        labels,
        head=head,
        seed=seed,
    )
    validation = predictions_of(data.splits[chosen_split], chosen_by, probe.probabilities(chosen_features))
    if len(fitting) < len(rows):
        probe = fit_chosen(train_features[rows], train.targets[rows], labels, probe.choice, head=head, seed=seed)
    test_scores = probe.probabilities(features[data.test_split][data.test.records])
    test = predictions_of(data.splits[data.test_split], data.test, test_scores)
    return _Probe(test, validation, probe.choice, list(probe.constants))
