"""Whether model A is better than model B on the same records: paired bootstrap difference and paired permutation test.

Interval: both models are scored on the same stratified resamples (resampling.py), and the interval is that of the
difference a - b (intervals.py).

Permutation test: were A and B equally good, then for each record it would be chance which model gave which of its two
rows of scores. So each permutation tosses one coin a record and swaps the two rows where it falls so, all labels (and
all seeds) together; the p-value is the share of permutations, the observed one counted among them, whose difference is
at least as large as the observed one, both signs counted. Swapping raw scores of models with different scales would
test whether their scales are the same. So whatever depends on the order of scores alone is swapped as ranks (mid-ranks
of ties), which leaves the metric of each model as it is: macro metrics and single thresholds a label with ranks within
each label, micro AUROC and AUPRC with ranks over all labels together. This is the test of Venkatraman and Begg (1996)
for ROC curves; what it finds is a difference of the curves that shows in the metric. The fixed threshold, Brier score
and calibration error depend on the probabilities themselves, which are swapped as they are.

Several models a side (seeds): the metric of a side is the mean over its models. Models of both sides are swapped in
pairs, by position if there are equally many, otherwise each with each. Interval and test say how the difference would
vary with other records; that other seeds would give other models is in neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from merit_hf.evaluation.metrics.intervals import estimates_of
from merit_hf.evaluation.metrics.multilabel import (
    MultilabelMetrics,
    MultilabelValues,
    evaluate,
    is_calibration,
    over_labels_name,
)
from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.evaluation.metrics.resampling import bootstrap
from merit_hf.evaluation.metrics.thresholds import FIXED_THRESHOLD

from .predictions import Predictions, as_runs, in_order_of

# Weights of one chunk of permutations are at most this many numbers of 4 bytes.
_MAX_WEIGHTS = 4_000_000

_ANY_KIND = ("auroc", "auprc", "f1_oracle")
_OF_PROBABILITIES = ("f1_fixed", "brier", "expected_calibration_error")


def comparison_metrics(score_kind: str = "probability") -> list[str]:
    """Names of the metrics that `compare_predictions` knows for a kind of scores."""
    names = [*_ANY_KIND, *(_OF_PROBABILITIES if score_kind == "probability" else ())]
    return [over_labels_name(name) for name in names] + [f"micro_{name}" for name in names if not is_calibration(name)]


def compare_predictions(
    a: Predictions | Sequence[Predictions],
    b: Predictions | Sequence[Predictions],
    *,
    metric: str = "macro_auroc",
    num_resamples: int = 1000,
    num_permutations: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    min_positives: int = 1,
    by_patient: bool = False,
) -> dict[str, Any]:
    """The difference of two models on the same records, with interval, p-value and what follows from them in words.

    Args:
        a, b: predictions of each model, or of several seeds of it, on the same records.
        metric: one of `comparison_metrics`.
        num_resamples, num_permutations: of the bootstrap and of the permutation test.
        seed: of both.
        confidence: of the interval; the test's level is 1 - confidence.
        min_positives: labels with fewer positive records are left out.
        by_patient: draw and swap patients, each with all records, instead of records.

    Returns:
        {"metric", "a", "b", "difference", "ci_low", "ci_high", "p_value", "n", "verdict", ...}. The verdict is "A is
        better" or "B is better" if the interval leaves out 0 and the p-value is at most 1 - confidence, otherwise
        "within noise". "a_values" and "b_values" list the single models where there are several.

    Raises:
        ValueError: unknown metric, records, labels or targets differ, or no label can be scored.
    """
    if num_permutations < 1:
        raise ValueError(f"num_permutations must be at least 1, got {num_permutations}")
    a_runs = as_runs(a, "a")
    b_runs = [in_order_of(run, a_runs[0], "a and b") for run in as_runs(b, "b")]
    first = a_runs[0]
    known = comparison_metrics(first.score_kind)
    if metric not in known:
        raise ValueError(
            f"metric is {metric!r}, expected one of {', '.join(known)} for scores of kind {first.score_kind!r}"
        )
    positives = first.targets.sum(axis=0)
    reasons = unscorable_labels(first.targets, first.label_names)
    for label, count in zip(first.label_names, positives, strict=True):
        if label not in reasons and count < min_positives:
            reasons[label] = f"fewer than {min_positives} positives"
    if len(reasons) == len(first.label_names):
        raise ValueError(f"none of the labels {first.label_names} can be compared: {reasons}")
    kept = np.array([label not in reasons for label in first.label_names])
    kept_names = [label for label in first.label_names if label not in reasons]
    targets = first.targets[:, kept]
    patient_ids = first.patient_ids if by_patient else None

    sides = [[_metrics_of(targets, run.scores[:, kept], metric) for run in runs] for runs in (a_runs, b_runs)]
    models = [*sides[0], *sides[1]]
    every_label = np.ones(len(kept_names), dtype=bool)
    points = evaluate(models)
    samples = bootstrap(models, kept_names, num_resamples=num_resamples, seed=seed, patient_ids=patient_ids)
    values = np.array([point.over_labels(every_label)[metric][0] for point in points])
    a_values, b_values = values[: len(a_runs)], values[len(a_runs) :]
    difference = float(a_values.mean() - b_values.mean())
    ours, theirs = (
        estimates_of(points[side], samples[side], targets, pooled=every_label, patient_ids=patient_ids)[
            metric.startswith("micro_")
        ]
        for side in (slice(len(a_runs)), slice(len(a_runs), None))
    )
    name = metric.removeprefix("macro_").removeprefix("micro_")
    low, high = ours[name].difference_interval(theirs[name], confidence=confidence)

    permuted = _permuted_differences(
        targets,
        [_exchangeable(run.scores[:, kept], metric) for run in a_runs],
        [_exchangeable(run.scores[:, kept], metric) for run in b_runs],
        metric,
        num_permutations,
        seed,
        _units(patient_ids, len(first)),
    )
    # The allowance is for sums of the same numbers in another order, as when A and B are one model.
    at_least = np.count_nonzero(np.abs(permuted) >= abs(difference) - 1e-12)
    p_value = (1 + at_least) / (1 + num_permutations)
    result: dict[str, Any] = {
        "metric": metric,
        "a": float(a_values.mean()),
        "b": float(b_values.mean()),
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "p_value": float(p_value),
        "n": len(first),
        "verdict": verdict(difference, low, high, float(p_value), metric, confidence),
        "labels": kept_names,
        "excluded_labels": {
            label: {"positives": int(positives[first.label_names.index(label)]), "reason": reason}
            for label, reason in reasons.items()
        },
        "config": {
            "num_resamples": num_resamples,
            "num_permutations": num_permutations,
            "confidence": confidence,
            "seed": seed,
            "min_positives": min_positives,
            "unit": "patient" if by_patient else "record",
        },
    }
    if len(models) > 2:
        result["a_values"], result["b_values"] = a_values.tolist(), b_values.tolist()
    return result


def verdict(
    difference: float, ci_low: float, ci_high: float, p_value: float, metric: str, confidence: float = 0.95
) -> str:
    """What a difference a - b means: "A is better", "B is better" or "within noise". Errors are better when lower."""
    if ci_low <= 0.0 <= ci_high or p_value > 1.0 - confidence + 1e-12:
        return "within noise"
    return "A is better" if (difference > 0.0) != is_calibration(metric) else "B is better"


def _metrics_of(targets: np.ndarray, scores: np.ndarray, metric: str) -> MultilabelMetrics:
    """Prepared for one metric alone."""
    name = metric.removeprefix("macro_").removeprefix("micro_")
    num_labels = targets.shape[1]
    return MultilabelMetrics(
        targets,
        scores,
        thresholds={"fixed": np.full(num_labels, FIXED_THRESHOLD)} if name == "f1_fixed" else {},
        probabilities={"": scores} if is_calibration(name) else {},
        pooled=np.full(num_labels, metric.startswith("micro_")),
        only=[name],
    )


def _exchangeable(scores: np.ndarray, metric: str) -> np.ndarray:
    """Scores in the form in which those of two models may be swapped."""
    if metric in ("micro_auroc", "micro_auprc"):
        return rankdata(scores).reshape(scores.shape)
    if metric.endswith(_ANY_KIND):
        return rankdata(scores, axis=0)
    return scores


def _units(patient_ids: Sequence[str | None] | None, num_records: int) -> np.ndarray:
    """What is swapped together: int64 (records,), the number of each record's patient, or of the record."""
    if patient_ids is None:
        return np.arange(num_records)
    numbers: dict[str, int] = {}
    units = np.arange(num_records)
    for record, patient in enumerate(patient_ids):
        if patient is not None:
            units[record] = numbers.setdefault(patient, record)
    return units


def _permuted_differences(
    targets: np.ndarray,
    a_scores: Sequence[np.ndarray],
    b_scores: Sequence[np.ndarray],
    metric: str,
    num_permutations: int,
    seed: int,
    units: np.ndarray,
) -> np.ndarray:
    """The difference of the metric in every permutation, float64 (permutations,).

    The rows of both models lie below one another, and a permutation is a weighting that takes one row of each record:
    the model "A" of a permutation is the weights, and the model "B" what they leave.
    """
    if len(a_scores) == len(b_scores):
        pairs = list(zip(a_scores, b_scores, strict=True))
    else:
        pairs = [(a, b) for a in a_scores for b in b_scores]
    both_targets = np.concatenate([targets, targets])
    models = [_metrics_of(both_targets, np.concatenate(pair), metric) for pair in pairs]
    every_label = np.ones(targets.shape[1], dtype=bool)
    num_records = len(targets)
    differences = np.empty(num_permutations)
    size = max(1, _MAX_WEIGHTS // (4 * num_records))
    for start in range(0, num_permutations, size):
        count = min(size, num_permutations - start)
        generator = np.random.default_rng([seed, start, num_records])
        swapped = generator.integers(2, size=(num_records, count), dtype=np.int32)[units]
        weights = np.concatenate([1 - swapped, swapped])
        weights = np.concatenate([weights, 1 - weights], axis=1)
        values = _same_for_all_labels(models, weights)
        mean = np.mean([value.over_labels(every_label)[metric] for value in values], axis=0)
        differences[start : start + count] = mean[:count] - mean[count:]
    return differences


def _same_for_all_labels(models: Sequence[MultilabelMetrics], weights: np.ndarray) -> list[MultilabelValues]:
    return evaluate(models, lambda column: weights)
