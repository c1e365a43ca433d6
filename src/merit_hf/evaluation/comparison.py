"""Whether model A is better than model B on the same records: paired bootstrap difference and paired permutation test.

Interval: both models are scored on the same stratified resamples (resampling.py), and the interval is that of the
difference a - b (intervals.py).

Permutation test: if A and B were equally good, it would be chance which model gave which of the two rows of scores of
a record. So each permutation tosses one coin per record and swaps its two rows or leaves them, all labels (and seeds)
together. The p-value is the share of permutations, including the observed one, whose absolute difference is at least
the observed one. Swapping raw scores of models with different scales would test whether their scales are the same. So
metrics that depend only on the order of scores are computed from ranks (mid-ranks of ties), which do not change the
metric of either model: ranks within each label for macro metrics and thresholds per label, ranks over all labels
together for micro AUROC and AUPRC. This is the test of Venkatraman and Begg (1996)
for ROC curves; what it finds is a difference of the curves that shows in the metric. The fixed threshold, Brier score
and calibration error depend on the probabilities themselves, which are swapped as they are.

Several models a side (seeds): the metric of a side is the mean over its models. Models of both sides are swapped in
pairs, by position if there are equally many, otherwise each with each. Interval and test say how the difference would
vary with other records; that other seeds would give other models is in neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from merit_hf.evaluation.metrics.intervals import Estimates, estimates_of
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
from .results import Comparison, Interval, LabelResult

A_IS_BETTER, B_IS_BETTER, WITHIN_NOISE = "A is better", "B is better", "within noise"

# Weights of one chunk of permutations are at most this many numbers of 4 bytes.
_MAX_WEIGHTS = 4_000_000

_ANY_KIND = ("auroc", "auprc", "f1_oracle")
_OF_PROBABILITIES = ("f1_fixed", "brier", "expected_calibration_error")


def comparison_metrics(score_kind: str = "probability") -> list[str]:
    """Names of the metrics that `compare_predictions` can compare, for a kind of scores."""
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
) -> Comparison:
    """The difference of two models on the same records, with its interval, p-value and verdict.

    Args:
        a, b: predictions of each model, or of several seeds of it, on the same records.
        metric: one of `comparison_metrics`.
        num_resamples, num_permutations: of the bootstrap and of the permutation test.
        seed: of both.
        confidence: of the interval; the test's level is 1 - confidence.
        min_positives: labels with fewer positive records are left out.
        by_patient: draw and swap patients, each with all records, instead of records.

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
    excluded = _excluded_labels(first, min_positives)
    kept = np.array([label not in excluded for label in first.label_names])
    labels = [label for label in first.label_names if label not in excluded]
    sides = _Sides(
        first.targets[:, kept],
        [run.scores[:, kept] for run in a_runs],
        [run.scores[:, kept] for run in b_runs],
        metric,
    )
    patient_ids = first.patient_ids if by_patient else None
    points = evaluate(sides.models)
    samples = bootstrap(sides.models, labels, num_resamples=num_resamples, seed=seed, patient_ids=patient_ids)
    a_values, b_values = sides.values_of(points)
    difference = float(a_values.mean() - b_values.mean())
    ours, theirs = sides.estimates_of(points, samples, patient_ids)
    low, high = ours.difference_interval(theirs, confidence=confidence)
    p_value = _p_value(difference, sides.permuted_differences(num_permutations, seed, _units(patient_ids, len(first))))
    several = len(sides.models) > 2
    return Comparison(
        metric=metric,
        a=float(a_values.mean()),
        b=float(b_values.mean()),
        difference=difference,
        ci_low=low,
        ci_high=high,
        p_value=p_value,
        n=len(first),
        verdict=verdict(
            Interval(difference, low, high),
            lower_is_better=is_calibration(metric),
            p_value=p_value,
            confidence=confidence,
        ),
        labels=tuple(labels),
        excluded_labels=excluded,
        config={
            "num_resamples": num_resamples,
            "num_permutations": num_permutations,
            "confidence": confidence,
            "seed": seed,
            "min_positives": min_positives,
            "unit": "patient" if by_patient else "record",
        },
        a_values=tuple(a_values.tolist()) if several else (),
        b_values=tuple(b_values.tolist()) if several else (),
    )


def verdict(
    difference: Interval, *, lower_is_better: bool = False, p_value: float = 0.0, confidence: float = 0.95
) -> str:
    """What a difference a - b means: `A_IS_BETTER`, `B_IS_BETTER` or `WITHIN_NOISE`.

    One model is better if the interval leaves out 0 and the p-value is at most 1 - confidence.

    Args:
        difference: with its interval.
        lower_is_better: whether the metric is an error.
        p_value: of a test, if there was one.
        confidence: 1 minus the level of the test.
    """
    if difference.ci_low <= 0.0 <= difference.ci_high or p_value > 1.0 - confidence + 1e-12:
        return WITHIN_NOISE
    return A_IS_BETTER if (difference.value > 0.0) != lower_is_better else B_IS_BETTER


def named_verdict(words: str, a: str, b: str) -> str:
    """A verdict with the names of the models in place of A and B."""
    return {A_IS_BETTER: f"{a} is better", B_IS_BETTER: f"{b} is better"}.get(words, words)


def _excluded_labels(predictions: Predictions, min_positives: int) -> dict[str, LabelResult]:
    """Labels that cannot be compared, with the reason. Raises ValueError if that is all of them."""
    names = predictions.label_names
    positives = dict(zip(names, predictions.targets.sum(axis=0).tolist(), strict=True))
    reasons = unscorable_labels(predictions.targets, names)
    for label, count in positives.items():
        if count < min_positives:
            reasons.setdefault(label, f"fewer than {min_positives} positives")
    if len(reasons) == len(names):
        raise ValueError(f"none of the labels {names} can be compared: {reasons}")
    return {label: LabelResult(positives[label], reason=reason) for label, reason in reasons.items()}


def _p_value(difference: float, permuted: np.ndarray) -> float:
    """Share of the permutations, the observed one among them, with a difference at least as large."""
    # The allowance is for sums of the same numbers in another order, as when A and B are one model.
    at_least = np.count_nonzero(np.abs(permuted) >= abs(difference) - 1e-12)
    return float((1 + at_least) / (1 + len(permuted)))


class _Sides:
    """The models of A and of B, prepared for one metric.

    Args:
        targets: bool (records, labels).
        a_scores, b_scores: float64 (records, labels) of every model of either side.
        metric: one of `comparison_metrics`.
    """

    def __init__(
        self, targets: np.ndarray, a_scores: Sequence[np.ndarray], b_scores: Sequence[np.ndarray], metric: str
    ) -> None:
        self.targets, self.a_scores, self.b_scores, self.metric = targets, a_scores, b_scores, metric
        self.models = [_metrics_of(targets, scores, metric) for scores in (*a_scores, *b_scores)]

    def values_of(self, values: Sequence[MultilabelValues]) -> tuple[np.ndarray, np.ndarray]:
        """The metric of the models of A and of B on the records themselves, each (models,)."""
        every_label = np.ones(self.targets.shape[1], dtype=bool)
        found = np.array([each.over_labels(every_label)[self.metric][0] for each in values])
        return found[: len(self.a_scores)], found[len(self.a_scores) :]

    def estimates_of(
        self,
        points: Sequence[MultilabelValues],
        samples: Sequence[MultilabelValues],
        patient_ids: Sequence[str | None] | None,
    ) -> tuple[Estimates, Estimates]:
        """The metric of A and of B, each the mean over its models, ready for intervals."""
        every_label = np.ones(self.targets.shape[1], dtype=bool)
        name = self.metric.removeprefix("macro_").removeprefix("micro_")
        found = []
        for side in (slice(len(self.a_scores)), slice(len(self.a_scores), None)):
            per_label, micro = estimates_of(
                points[side], samples[side], self.targets, pooled=every_label, patient_ids=patient_ids
            )
            found.append((micro if self.metric.startswith("micro_") else per_label)[name])
        return found[0], found[1]

    def permuted_differences(self, num_permutations: int, seed: int, units: np.ndarray) -> np.ndarray:
        """The difference of the metric in every permutation, float64 (permutations,).

        The rows of both models are stacked. A permutation is a weighting that takes one row of each record: the model
        "A" of a permutation is the weights, and the model "B" is what they leave.

        Args:
            num_permutations, seed: of the test.
            units: int64 (records,), what is swapped together.
        """
        a_scores = [_exchangeable(scores, self.metric) for scores in self.a_scores]
        b_scores = [_exchangeable(scores, self.metric) for scores in self.b_scores]
        if len(a_scores) == len(b_scores):
            pairs = list(zip(a_scores, b_scores, strict=True))
        else:
            pairs = [(a, b) for a in a_scores for b in b_scores]
        both_targets = np.concatenate([self.targets, self.targets])
        models = [_metrics_of(both_targets, np.concatenate(pair), self.metric) for pair in pairs]
        every_label = np.ones(self.targets.shape[1], dtype=bool)
        num_records = len(self.targets)
        differences = np.empty(num_permutations)
        size = max(1, _MAX_WEIGHTS // (4 * num_records))
        for start in range(0, num_permutations, size):
            count = min(size, num_permutations - start)
            generator = np.random.default_rng([seed, start, num_records])
            swapped = generator.integers(2, size=(num_records, count), dtype=np.int32)[units]
            weights = np.concatenate([1 - swapped, swapped])
            weights = np.concatenate([weights, 1 - weights], axis=1)
            values = _same_for_all_labels(models, weights)
            mean = np.mean([value.over_labels(every_label)[self.metric] for value in values], axis=0)
            differences[start : start + count] = mean[:count] - mean[count:]
        return differences


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


def _same_for_all_labels(models: Sequence[MultilabelMetrics], weights: np.ndarray) -> list[MultilabelValues]:
    return evaluate(models, lambda column: weights)
