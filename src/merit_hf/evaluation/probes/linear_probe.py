"""The linear probe: frozen features of a corpus, a head fitted on shares of the labels, results on a test split.

Protocol: the head's options are chosen by macro AUROC on the validation split, which stays whole at every fraction, as
in the published tables. Where the validation split is the one to test on, or there is none, 15 % of the training
patients are held out to choose by; what was chosen is then fitted on all training records of the fraction. The test
split chooses nothing. Features come from encoder.py, heads are in heads.py, metrics in results.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from merit_hf.data.splits import HELD_OUT_SHARE, check_patients_disjoint, hold_out_by_patient
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.predictions import Predictions, predictions_of, write_predictions
from merit_hf.evaluation.results import Result, classification_result
from merit_hf.evaluation.targets import TaskTargets, task_targets

from .heads import FittedProbe, fit_chosen, fit_probe
from .label_subsets import label_subset

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


def linear_probe(
    encoder: Encoder | Sequence[Encoder],
    splits: Mapping[str, datasets.Dataset],
    task: str,
    *,
    untrained: Encoder | Sequence[Encoder] | None = None,
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
        encoder: frozen; several of one kind (trained or drawn with different seeds) take turns over the seeds.
        splits, task, test_split, validation_split: see `probe_data`.
        untrained: encoders to stand beside, in the same way.
        fractions: shares of the training records whose labels are used.
        seeds: of the subsets (label_subsets.py) and of the mlp head; the result is the mean over them. Where neither
            is drawn (all records, linear head) one seed an encoder stands for all.
        head: "linear" or "mlp" (heads.py).
        min_positives, num_resamples, by_patient: see `classification_result`.
        batch_size: records in one pass of the encoder.
        cache_dir: of features; None takes the usual place (`encoders.cached_features`).
        predictions_dir: folder for the predictions of every fraction and seed, Parquet; None writes none.
        model_name: stands in the results; the encoder's by default.
        config: what else made the numbers, for the results; plain JSON.
        progress: show progress bars.

    Returns:
        Results (results.py). Their config says how many records were trained on, what validation chose and which
        labels all or none of them carry, so that their score is constant, for every seed. With `untrained` each has
        the entry "untrained" of the same layout and "against_untrained", the paired comparison (comparison.py).

    Raises:
        ValueError: fractions or seeds are empty, seeds are no multiple of the encoders; see also `probe_data`,
            `label_subset` and `fit_probe`.
    """
    if not len(fractions) or not len(seeds):
        raise ValueError(f"fractions and seeds must not be empty, got {list(fractions)} and {list(seeds)}")
    data = probe_data(splits, task, test_split, validation_split)
    entries: dict[str, list[tuple[Result, list[Predictions]]]] = {}
    given = {"": encoder} if untrained is None else {"": encoder, "untrained": untrained}
    for entry, encoders in given.items():
        folder = None if predictions_dir is None else Path(predictions_dir) / entry
        turns = list(encoders) if isinstance(encoders, Sequence) else [encoders]
        if not turns or len(seeds) % len(turns):
            raise ValueError(
                f"{len(turns)} encoders for {len(seeds)} seeds; give as many seeds for each encoder as for the others"
            )
        features = _Features(data, batch_size, cache_dir, progress)
        entries[entry] = []
        for fraction in fractions:
            drawn = head == "mlp" or fraction < 1.0
            used = list(seeds) if drawn else list(seeds[: len(turns)])
            probes = [
                _probe(data, features(turns[index % len(turns)]), fraction, seed, head)
                for index, seed in enumerate(used)
            ]
            if folder is not None:
                _write(probes, used, folder, f"{task}-{fraction:g}", data.test_split)
            name = features.name
            if entry == "":
                name = model_name or (name if len(turns) == 1 else f"{name} (first of {len(turns)} seeds)")
            result = classification_result(
                [probe.test for probe in probes],
                [probe.validation for probe in probes],
                task=task,
                split=data.test_split,
                model=name,
                config={**(config or {}), **_protocol(data, probes, fraction, used, head)},
                num_resamples=num_resamples,
                min_positives=min_positives,
                by_patient=by_patient,
            )
            entries[entry].append((result, [probe.test for probe in probes]))
    results = [result for result, _ in entries[""]]
    for position, (baseline, runs) in enumerate(entries.get("untrained", [])):
        results[position]["untrained"] = baseline
        results[position]["against_untrained"] = compare_predictions(
            entries[""][position][1],
            runs,
            num_resamples=num_resamples,
            min_positives=min_positives,
            by_patient=by_patient,
        )
    return results


class _Features:
    """Features of the splits that a probe needs, of every encoder that was asked for."""

    def __init__(
        self, data: ProbeData, batch_size: int, cache_dir: str | os.PathLike[str] | None, progress: bool
    ) -> None:
        self.data, self.batch_size, self.cache_dir, self.progress = data, batch_size, cache_dir, progress
        self.name = ""
        self._known: dict[int, dict[str, np.ndarray]] = {}

    def __call__(self, encoder: Encoder) -> dict[str, np.ndarray]:
        self.name = self.name or encoder.name
        if id(encoder) not in self._known:
            data = self.data
            self._known[id(encoder)] = {
                name: cached_features(
                    encoder,
                    data.splits[name],
                    self.cache_dir,
                    batch_size=self.batch_size,
                    description=f"{encoder.name}, {name}" if self.progress else None,
                )
                for name in dict.fromkeys([TRAIN_SPLIT, data.validation_split or TRAIN_SPLIT, data.test_split])
            }
        return self._known[id(encoder)]


def _protocol(
    data: ProbeData, probes: Sequence[_Probe], fraction: float, seeds: Sequence[int], head: str
) -> dict[str, Any]:
    return {
        "fraction": fraction,
        "head": head,
        "seeds": list(seeds),
        "num_train": probes[0].num_train,
        "chosen_by": data.validation_split or f"{HELD_OUT_SHARE:.0%} of the patients of {TRAIN_SPLIT}",
        "num_chosen_by": len(probes[0].validation),
        "choices": [probe.choice for probe in probes],
        "constant_labels": [probe.constant_labels for probe in probes],
    }


def _write(probes: Sequence[_Probe], seeds: Sequence[int], folder: Path, stem: str, test_split: str) -> None:
    for seed, probe in zip(seeds, probes, strict=True):
        write_predictions(probe.test, folder / f"{stem}-seed-{seed}-{test_split}.parquet")
        write_predictions(probe.validation, folder / f"{stem}-seed-{seed}-chosen-by.parquet")


@dataclass(frozen=True)
class _Probe:
    num_train: int
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
    return _Probe(len(rows), test, validation, probe.choice, list(probe.constants))
