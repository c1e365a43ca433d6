"""Distribution shift: a probe trained on one corpus, tested there and on another, over the labels that both have.

Which labels those are is data (label_maps.py). The protocol of six pairs of corpora is MERL's: a probe on the source
learns the shared labels; a record that has other labels only is a negative of them all.
Nothing of the target is used but its test records: scaler, penalty and thresholds come from the source.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from merit_hf.data.splits import check_patients_disjoint
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.metrics.intervals import Estimates, estimates_of
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate
from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.evaluation.metrics.resampling import bootstrap
from merit_hf.evaluation.predictions import Predictions, predictions_of, write_predictions
from merit_hf.evaluation.probes.heads import FittedProbe, fit_probe
from merit_hf.evaluation.results import Drop, Interval, ShiftResult
from merit_hf.evaluation.targets import TaskTargets, task_targets

from .label_maps import LabelMap, mapped_targets

SOURCE_SPLITS = ("train", "validation", "test")
TARGET = "target"


def distribution_shift(
    encoder: Encoder,
    source: Mapping[str, datasets.Dataset],
    target: datasets.Dataset,
    label_map: LabelMap,
    *,
    model_name: str,
    config: Mapping[str, Any],
    target_split: str = "test",
    min_positives: int = 1,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    batch_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
    predictions_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> ShiftResult:
    """One probe on two corpora: metrics on each, and what is lost from the one to the other.

    Args:
        encoder: frozen features.
        source: "train", "validation" and "test" split of the corpus to train on.
        target: the records of the other corpus to test on.
        label_map: which labels of one corpus correspond to which of the other.
        model_name, config, target_split: recorded in the result.
        min_positives: labels with fewer positives in either test split are left out.
        num_resamples, confidence, seed: of the intervals.
        batch_size, cache_dir: as in `encoder.cached_features`.
        predictions_dir: folder for `source.parquet` and `target.parquet`; None writes none.
        progress: show progress bars.

    Returns:
        Source, target and drop are over the same labels. In the interval of the drop the two test splits are resampled
        independently of each other.

    Raises:
        ValueError: a split has no record of the task, a split of the source is missing, or two of them share patients.
    """
    chosen = _mapped_splits(source, target, label_map)
    excluded = _excluded(chosen, min_positives)
    kept = [label for label in label_map.labels if label not in excluded]
    result = ShiftResult(
        label_map=label_map.as_plain(),
        labels=tuple(kept),
        excluded_labels=excluded,
        model=model_name,
        config={**config, "target_split": target_split, "min_positives": min_positives},
        n={split: len(each.records) for split, each in chosen.items()},
    )
    if not kept:
        return result
    splits = {**source, TARGET: target}
    # Of whole splits, as those of the linear probe are: one cache serves every task.
    features = {
        split: cached_features(
            encoder,
            splits[split],
            cache_dir,
            batch_size=batch_size,
            description=f"features, {split if split == TARGET else f'source {split}'}" if progress else None,
        )[each.records]
        for split, each in chosen.items()
    }
    probe, predictions = _probe_and_predictions(splits, chosen, features, kept)
    if predictions_dir is not None:
        write_predictions(predictions["test"], Path(predictions_dir) / "source.parquet")
        write_predictions(predictions[TARGET], Path(predictions_dir) / "target.parquet")
    # Ids are unique within a corpus: the same one in another corpus is another record.
    names = [f"source {ecg_id}" for ecg_id in predictions["validation"].ecg_ids]
    elsewhere = dataclasses.replace(predictions["validation"], ecg_ids=names)
    intervals: dict[str, Any] = {"num_resamples": num_resamples, "confidence": confidence}
    return dataclasses.replace(
        result,
        probe=dict(probe.choice),
        source=classification_result(
            predictions["test"],
            predictions["validation"],
            task=label_map.source_task,
            split="test",
            model=model_name,
            config={"corpus": "source"},
            seed=seed,
            **intervals,
        ),
        target=classification_result(
            predictions[TARGET],
            elsewhere,
            task=label_map.target_task,
            split=target_split,
            model=model_name,
            config={"corpus": "target"},
            seed=seed + 1,  # other records, so other draws
            **intervals,
        ),
        drop=performance_drop(predictions["test"], predictions[TARGET], seed=seed, **intervals),
    )


def _mapped_splits(
    source: Mapping[str, datasets.Dataset], target: datasets.Dataset, label_map: LabelMap
) -> dict[str, TaskTargets]:
    """Targets of the source's splits and of the target, in terms of the shared labels."""
    if missing := [split for split in SOURCE_SPLITS if split not in source]:
        raise ValueError(f"the source corpus needs the splits {', '.join(SOURCE_SPLITS)}, but {missing} are missing")
    check_patients_disjoint({split: source[split].with_format(None)["patient_id"] for split in SOURCE_SPLITS})
    chosen = {
        split: mapped_targets(task_targets(source[split], label_map.source_task), label_map.source_codes)
        for split in SOURCE_SPLITS
    }
    chosen[TARGET] = mapped_targets(task_targets(target, label_map.target_task), label_map.target_codes)
    return chosen


def _probe_and_predictions(
    splits: Mapping[str, datasets.Dataset],
    chosen: Mapping[str, TaskTargets],
    features: Mapping[str, np.ndarray],
    kept: Sequence[str],
) -> tuple[FittedProbe, dict[str, Predictions]]:
    """The probe trained on the source, and its predictions of the kept labels."""
    labels = chosen["train"].label_names
    # With all labels, scored or not: what the target has must not decide what is chosen on the source.
    probe = fit_probe(
        features["train"], chosen["train"].targets, features["validation"], chosen["validation"].targets, labels
    )
    columns = [labels.index(label) for label in kept]
    return probe, {
        split: predictions_of(
            splits[split],
            TaskTargets(chosen[split].records, chosen[split].targets[:, columns], list(kept)),
            probe.probabilities(features[split])[:, columns],
        )
        for split in ("validation", "test", TARGET)
    }


def performance_drop(
    source: Predictions, target: Predictions, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Drop:
    """AUROC and AUPRC on one set of records minus those on another, of the same labels, with intervals.

    AUPRC depends on how frequent a label is, so its drop is partly one of prevalence.

    Args:
        source, target: over the same labels, each with positives and negatives of all of them.
        num_resamples, confidence, seed: of the intervals; the two sets are resampled independently.
    """
    target = target.with_labels(source.label_names)
    sides: list[dict[str, Estimates]] = []
    for number, predictions in enumerate((source, target)):
        model = MultilabelMetrics(predictions.targets, predictions.scores)
        drawn = bootstrap([model], predictions.label_names, num_resamples=num_resamples, seed=seed + number)
        every_label = np.ones(len(source.label_names), dtype=bool)
        sides.append(estimates_of(evaluate([model]), drawn, predictions.targets, pooled=every_label)[0])

    def interval(ours: Estimates, theirs: Estimates) -> Interval:
        low, high = ours.difference_interval(theirs, confidence=confidence, paired=False)
        return Interval(ours.mean - theirs.mean, low, high)

    macros: dict[str, Interval] = {}
    per_label: dict[str, dict[str, Interval]] = {label: {} for label in source.label_names}
    for metric in ("auroc", "auprc"):
        ours, theirs = (side[metric] for side in sides)
        macros[metric] = interval(ours, theirs)
        for row, label in enumerate(source.label_names):
            one = slice(row, row + 1)
            per_label[label][metric] = interval(ours[one], theirs[one])
    return Drop(macros["auroc"], macros["auprc"], per_label)


def _excluded(chosen: Mapping[str, TaskTargets], min_positives: int) -> dict[str, str]:
    """Labels that cannot be learned on the source or not be scored on both corpora, with the first reason."""
    excluded: dict[str, str] = {}
    for split, name in (("train", "source train"), ("test", "source test"), (TARGET, "target")):
        each = chosen[split]
        reasons = unscorable_labels(each.targets, each.label_names)
        if split != "train":
            positives = dict(zip(each.label_names, each.targets.sum(axis=0), strict=True))
            for label, count in positives.items():
                if count < min_positives:
                    reasons.setdefault(label, f"{count} positives, fewer than {min_positives}")
        for label, reason in reasons.items():
            excluded.setdefault(label, f"{name}: {reason}")
    learned = unscorable_labels(chosen["train"].targets, chosen["train"].label_names)
    judged = unscorable_labels(chosen["validation"].targets, chosen["validation"].label_names)
    if all(label in learned or label in judged for label in chosen["train"].label_names):
        for label in chosen["train"].label_names:
            excluded.setdefault(label, "source validation: no label has positives and negatives to choose a probe by")
    return excluded
