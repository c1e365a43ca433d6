"""The linear probe: frozen features of a corpus, a head fitted on shares of the labels, results on a test split.

Protocol: the head's options are chosen by macro AUROC on the validation split, which stays whole at every fraction, as
in the published tables. Where the validation split is the one to test on, or there is none, 15 % of the training
patients are held out to choose by; what was chosen is then fitted on all training records of the fraction. The test
split chooses nothing. A corpus is divided in probe_data.py, heads are in heads.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets

from merit_hf.data.splits import HELD_OUT_SHARE
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.encoders.encoder import Encoder
from merit_hf.evaluation.predictions import Predictions, predictions_of, write_predictions
from merit_hf.evaluation.results import Result
from merit_hf.evaluation.targets import TaskTargets

from .heads import HEADS, FittedProbe, NothingToLearn, fit_chosen, fit_probe
from .label_subsets import label_subset
from .probe_data import TRAIN_SPLIT, ProbeData, SplitFeatures, probe_data


@dataclass(frozen=True)
class ProbeSettings:
    """How a linear probe is trained and judged.

    Attributes:
        fractions: shares of the training records whose labels are used, each above 0 and at most 1.
        seeds: of the subsets (label_subsets.py) and of the mlp head; the result is the mean over them. Where neither
            is random (all records, linear head), one seed per encoder is enough.
        test_split, validation_split: see `probe_data`.
        head: "linear" or "mlp" (heads.py).
        min_positives, num_resamples, by_patient: see `classification_result`.
        batch_size: records in one pass of an encoder.
        cache_dir: of features; None takes the usual place (`encoder.cached_features`).
        predictions_dir: folder for the predictions of every fraction and seed, Parquet; None writes none.
        progress: show progress bars.

    Raises:
        ValueError: a value outside its range.
    """

    fractions: Sequence[float] = (0.01, 0.1, 1.0)
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    test_split: str = "test"
    validation_split: str | None = None
    head: str = "linear"
    min_positives: int = 1
    num_resamples: int = 1000
    by_patient: bool = False
    batch_size: int = 64
    cache_dir: str | os.PathLike[str] | None = None
    predictions_dir: str | os.PathLike[str] | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        if not len(self.seeds):
            raise ValueError("seeds must not be empty")
        if self.head not in HEADS:
            raise ValueError(f"head is {self.head!r}, expected one of {', '.join(HEADS)}")
        for name in ("min_positives", "num_resamples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises ValueError unless there are fractions, all above 0 and at most 1."""
    if not len(fractions):
        raise ValueError("fractions must not be empty")
    for fraction in fractions:
        if not 0.0 < fraction <= 1.0:
            raise ValueError(f"fractions must be above 0 and at most 1, got {fraction:g}; 0.1 means 10 %")


DEFAULT_SETTINGS = ProbeSettings()


def linear_probe(
    encoder: Encoder | Sequence[Encoder],
    splits: Mapping[str, datasets.Dataset],
    task: str,
    settings: ProbeSettings = DEFAULT_SETTINGS,
    *,
    untrained: Encoder | Sequence[Encoder] | None = None,
    model_name: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> list[Result]:
    """Results of a probe, one for each fraction of the training labels that can be learned from.

    Args:
        encoder: frozen; several of one kind (trained or drawn with different seeds) take turns over the seeds.
        splits: map-style splits of the corpus by name, as `load_corpus(path)` gives them.
        task: label column.
        settings: how to train and judge.
        untrained: encoders to compare with, in the same way.
        model_name: recorded in the results; the encoder's by default.
        config: further settings to record in the results; plain JSON.

    Returns:
        Results (results.py). Their config says how many records were trained on, what validation chose and which
        labels all or none of them carry, so that their score is constant, for every seed. If some fraction leaves too
        few records or classes to learn from, it has no result, and "skipped_fractions" in the config of the others
        says why. With `untrained` each has that result, and the paired comparison with it (comparison.py).

    Raises:
        ValueError: nothing can be learned at any fraction, or seeds are no multiple of the encoders; see also
            `probe_data`.
    """
    data = probe_data(splits, task, settings.test_split, settings.validation_split)
    trained = _ProbedEncoders(data, settings, encoder, settings.predictions_dir)
    baseline = None
    if untrained is not None:
        folder = None if settings.predictions_dir is None else Path(settings.predictions_dir) / "untrained"
        baseline = _ProbedEncoders(data, settings, untrained, folder)
    config = config or {}
    results: list[Result] = []
    skipped: list[dict[str, Any]] = []
    for fraction in settings.fractions:
        try:
            result, runs = trained.result(fraction, model_name or trained.name, config)
            if baseline is not None:
                its_result, its_runs = baseline.result(fraction, baseline.first_name, config)
                comparison = compare_predictions(
                    runs,
                    its_runs,
                    num_resamples=settings.num_resamples,
                    min_positives=settings.min_positives,
                    by_patient=settings.by_patient,
                )
                result = replace(result, untrained=its_result, against_untrained=comparison)
        except NothingToLearn as error:
            skipped.append({"fraction": fraction, "reason": str(error)})
        else:
            results.append(result)
    if not results:
        raise NothingToLearn(skipped[-1]["reason"])
    if skipped:
        results = [replace(each, config={**each.config, "skipped_fractions": skipped}) for each in results]
    return results


class _ProbedEncoders:
    """Encoders of one kind that take turns over the seeds, and where the predictions of their probes are written."""

    def __init__(
        self,
        data: ProbeData,
        settings: ProbeSettings,
        encoders: Encoder | Sequence[Encoder],
        folder: str | os.PathLike[str] | None,
    ) -> None:
        self.data, self.settings = data, settings
        self.folder = None if folder is None else Path(folder)
        turns = list(encoders) if isinstance(encoders, Sequence) else [encoders]
        if not turns or len(settings.seeds) % len(turns):
            raise ValueError(
                f"{len(turns)} encoders for {len(settings.seeds)} seeds; give each encoder the same number of seeds"
            )
        self.features = [
            SplitFeatures(
                each,
                data.splits,
                batch_size=settings.batch_size,
                cache_dir=settings.cache_dir,
                progress=settings.progress,
            )
            for each in turns
        ]
        self.first_name = turns[0].name
        self.name = self.first_name if len(turns) == 1 else f"{self.first_name} (first of {len(turns)} seeds)"

    def result(self, fraction: float, model: str, config: Mapping[str, Any]) -> tuple[Result, list[Predictions]]:
        """The result at one fraction, and the test predictions of every seed.

        Raises:
            NothingToLearn: with at least one of the seeds.
        """
        settings, data = self.settings, self.data
        drawn = settings.head == "mlp" or fraction < 1.0
        seeds = list(settings.seeds if drawn else settings.seeds[: len(self.features)])
        probes = [
            train_probe(data, self.features[index % len(self.features)], fraction, seed, settings.head)
            for index, seed in enumerate(seeds)
        ]
        tests = [
            _test_predictions(data, self.features[index % len(self.features)], trained.probe)
            for index, trained in enumerate(probes)
        ]
        if self.folder is not None:
            for seed, trained, test in zip(seeds, probes, tests, strict=True):
                stem = f"{data.task}-{fraction:g}-seed-{seed}"
                write_predictions(test, self.folder / f"{stem}-{data.test_split}.parquet")
                write_predictions(trained.validation, self.folder / f"{stem}-chosen-by.parquet")
        result = classification_result(
            tests,
            [trained.validation for trained in probes],
            task=data.task,
            split=data.test_split,
            model=model,
            config={**config, **self._protocol(probes, fraction, seeds)},
            num_resamples=settings.num_resamples,
            min_positives=settings.min_positives,
            by_patient=settings.by_patient,
        )
        return result, tests

    def _protocol(self, probes: Sequence[TrainedProbe], fraction: float, seeds: Sequence[int]) -> dict[str, Any]:
        return {
            "fraction": fraction,
            "head": self.settings.head,
            "seeds": list(seeds),
            "num_train": probes[0].num_train,
            "chosen_by": self.data.validation_split or f"{HELD_OUT_SHARE:.0%} of the patients of {TRAIN_SPLIT}",
            "num_chosen_by": len(probes[0].validation),
            "choices": [trained.probe.choice for trained in probes],
            "constant_labels": [list(trained.probe.constants) for trained in probes],
        }


@dataclass(frozen=True)
class TrainedProbe:
    """A probe that was drawn, chosen and fitted.

    Attributes:
        probe: the head.
        num_train: records whose labels it saw.
        validation: its predictions of the records that it was chosen by, none of which it was fitted on.
    """

    probe: FittedProbe
    num_train: int
    validation: Predictions


def train_probe(
    data: ProbeData, features: SplitFeatures, fraction: float = 1.0, seed: int = 0, head: str = "linear"
) -> TrainedProbe:
    """Trains one head on a share of the labels, by the protocol above; test records are not looked at.

    Args:
        data: the divided corpus.
        features: of the splits of the same corpus.
        fraction: share of the training records whose labels are used.
        seed: of the subset, and of the mlp head.
        head: "linear" or "mlp".

    Raises:
        NothingToLearn: too few records or classes are left.
    """
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
    return TrainedProbe(probe, len(rows), validation)


def _test_predictions(data: ProbeData, features: SplitFeatures, probe: FittedProbe) -> Predictions:
    scores = probe.probabilities(features[data.test_split][data.test.records])
    return predictions_of(data.splits[data.test_split], data.test, scores)
