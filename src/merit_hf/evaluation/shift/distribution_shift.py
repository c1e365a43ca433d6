"""Distribution shift: a probe trained on one corpus, tested there and on another, over the labels that both have.

Which labels those are is data (label_maps.py), the probe is linear_probe.py's. The protocol of six pairs of corpora is
MERL's: a probe on the source learns the shared labels; a record that has other labels only is a negative of them all.
Nothing of the target is used but its test records: scaler, penalty and thresholds come from the source.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from merit_hf.data.splits import check_patients_disjoint
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.metrics.intervals import Estimates, estimates_of
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate
from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.evaluation.metrics.resampling import bootstrap
from merit_hf.evaluation.predictions import Predictions, predictions_of, write_predictions
from merit_hf.evaluation.probes.linear_probe import fit_probe
from merit_hf.evaluation.results import Result, classification_result
from merit_hf.evaluation.targets import TaskTargets, task_targets

from .label_maps import LabelMap, mapped_targets

SOURCE_SPLITS = ("train", "validation", "test")
DROPS = ("auroc", "auprc")


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
) -> dict[str, Any]:
    """One probe on two corpora: metrics on each, and what is lost from the one to the other.

    Args:
        encoder: frozen features.
        source: "train", "validation" and "test" split of the corpus to train on.
        target: the records of the other corpus to test on.
        label_map: which labels of the one stand for which of the other.
        model_name, config, target_split: stand in the result.
        min_positives: labels with fewer positives in either test split are left out.
        num_resamples, confidence, seed: of the intervals.
        batch_size, cache_dir: as in `encoders.cached_features`.
        predictions_dir: folder for `source.parquet` and `target.parquet`; None writes none.
        progress: show progress bars.

    Returns:
        {"label_map", "labels", "excluded_labels": {label: reason}, "model", "config", and, unless every label is
        left out, "probe", "source" and "target" (each a result, see results.py, over the same labels) and "drop"}.
        "drop" is source minus target, {"macro_auroc", "macro_auprc", "per_label": {label: {"auroc", "auprc"}}}, each
        with an interval in which the two test splits are resampled independently of each other.

    Raises:
        ValueError: a split has no record of the task, a split of the source is missing, or two of them share patients.
    """
    if missing := [split for split in SOURCE_SPLITS if split not in source]:
        raise ValueError(f"the source corpus needs the splits {', '.join(SOURCE_SPLITS)}, but {missing} are missing")
    check_patients_disjoint({split: source[split].with_format(None)["patient_id"] for split in SOURCE_SPLITS})
    chosen = {
        split: mapped_targets(task_targets(source[split], label_map.source_task), label_map.source_codes)
        for split in SOURCE_SPLITS
    }
    chosen["target"] = mapped_targets(task_targets(target, label_map.target_task), label_map.target_codes)
    excluded = _excluded(chosen, min_positives)
    kept = [label for label in label_map.labels if label not in excluded]
    result: dict[str, Any] = {
        "label_map": label_map.as_plain(),
        "labels": kept,
        "excluded_labels": excluded,
        "model": model_name,
        "config": {**config, "target_split": target_split, "min_positives": min_positives},
        "n": {split: len(each.records) for split, each in chosen.items()},
    }
    if not kept:
        return result
    splits = {**source, "target": target}
    # Of whole splits, as those of the linear probe are: one cache serves every task.
    features = {
        split: cached_features(
            encoder,
            splits[split],
            cache_dir,
            batch_size=batch_size,
            description=f"features, {split if split == 'target' else f'source {split}'}" if progress else None,
        )[each.records]
        for split, each in chosen.items()
    }
    # With all labels, scored or not: what the target has must not decide what is chosen on the source.
    probe = fit_probe(
        features["train"],
        chosen["train"].targets,
        features["validation"],
        chosen["validation"].targets,
        label_map.labels,
    )
    columns = [label_map.labels.index(label) for label in kept]
    predictions = {
        split: predictions_of(
            splits[split],
            TaskTargets(chosen[split].records, chosen[split].targets[:, columns], kept),
            probe.probabilities(features[split])[:, columns],
        )
        for split in ("validation", "test", "target")
    }
    if predictions_dir is not None:
        write_predictions(predictions["test"], Path(predictions_dir) / "source.parquet")
        write_predictions(predictions["target"], Path(predictions_dir) / "target.parquet")
    # Ids are unique within a corpus: the same one in another corpus is another record.
    names = [f"source {ecg_id}" for ecg_id in predictions["validation"].ecg_ids]
    elsewhere = dataclasses.replace(predictions["validation"], ecg_ids=names)
    common: dict[str, Any] = {"model": model_name, "num_resamples": num_resamples, "confidence": confidence}
    result["probe"] = dict(probe.choice)
    result["source"] = classification_result(
        predictions["test"],
        predictions["validation"],
        task=label_map.source_task,
        split="test",
        config={"corpus": "source"},
        seed=seed,
        **common,
    )
    result["target"] = classification_result(
        predictions["target"],
        elsewhere,
        task=label_map.target_task,
        split=target_split,
        config={"corpus": "target"},
        seed=seed + 1,  # other records, so other draws
        **common,
    )
    result["drop"] = performance_drop(
        predictions["test"],
        predictions["target"],
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )
    return result


def performance_drop(
    source: Predictions, target: Predictions, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
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

    def entry(ours: Estimates, theirs: Estimates) -> dict[str, float]:
        low, high = ours.difference_interval(theirs, confidence=confidence, paired=False)
        return {"value": ours.mean - theirs.mean, "ci_low": low, "ci_high": high}

    per_label: dict[str, dict[str, Any]] = {label: {} for label in source.label_names}
    drop: dict[str, Any] = {}
    for metric in DROPS:
        ours, theirs = (side[metric] for side in sides)
        drop[f"macro_{metric}"] = entry(ours, theirs)
        for row, label in enumerate(source.label_names):
            one = slice(row, row + 1)
            per_label[label][metric] = entry(ours[one], theirs[one])
    return {**drop, "per_label": per_label}


def shift_table(result: Mapping[str, Any]) -> str:
    """A short table of a result: AUROC on source and target and the drop, then what was left out and why."""
    lines = []
    if result["labels"]:
        source, target, drop = result["source"], result["target"], result["drop"]
        rows = [["AUROC", "positives", "source test", "positives", "target", "drop"]]
        rows.append(["macro", "", *(_cell(each) for each in _macros(source, target, drop))])
        rows[-1].insert(3, "")
        for label in result["labels"]:
            ours, theirs = source["per_label"][label], target["per_label"][label]
            rows.append(
                [
                    f"  {label}",
                    str(ours["positives"]),
                    _cell(_auroc(ours)),
                    str(theirs["positives"]),
                    _cell(_auroc(theirs)),
                    _cell(drop["per_label"][label]["auroc"]),
                ]
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    else:
        lines.append("no label can be scored on both corpora:")
    lines += [f"  left out: {label} ({reason})" for label, reason in result["excluded_labels"].items()]
    if unmapped := result["label_map"]["unmapped"]:
        lines.append(f"  without a counterpart: {', '.join(unmapped)}")
    return "\n".join(lines)


def _macros(source: Result, target: Result, drop: Mapping[str, Any]) -> list[Mapping[str, float]]:
    return [source["metrics"]["macro_auroc"], target["metrics"]["macro_auroc"], drop["macro_auroc"]]


def _auroc(entry: Mapping[str, float]) -> dict[str, float]:
    return {"value": entry["auroc"], "ci_low": entry["auroc_ci_low"], "ci_high": entry["auroc_ci_high"]}


def _cell(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['ci_low']:.3f}, {metric['ci_high']:.3f}]"


def _excluded(chosen: Mapping[str, TaskTargets], min_positives: int) -> dict[str, str]:
    """Labels that cannot be learned on the source or not be scored on both corpora, with the first reason."""
    excluded: dict[str, str] = {}
    for split, name in (("train", "source train"), ("test", "source test"), ("target", "target")):
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
