"""All metrics of one model's multi-label scores at once, for any number of weightings of the records.

The names of the metrics are made here and nowhere else. Of one label: `auroc`, `auprc`, `f1_fixed`, `f1_val`,
`f1_oracle`, `brier` and `expected_calibration_error`, the last two also with `_temperature` and `_platt` after them.
Over labels: `macro_` and `micro_` before those, but for the last two, whose means over labels go by their own names.
Definitions are in ranking.py, thresholds.py and calibration.py; resampling is in resampling.py and comparison.py, and
intervals are in intervals.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .calibration import NUM_BINS, bin_of, calibration_noise
from .ranking import LabelRanking, PooledRanking


@dataclass(frozen=True)
class MultilabelValues:
    """Metrics for several weightings of the records.

    per_label: metric -> float64 (labels, weightings).
    micro: metric -> float64 (weightings,).
    """

    per_label: dict[str, np.ndarray]
    micro: dict[str, np.ndarray]

    @classmethod
    def joined(cls, parts: Sequence[MultilabelValues]) -> MultilabelValues:
        """Values of weightings that were made in several parts."""
        return cls(
            {name: np.concatenate([part.per_label[name] for part in parts], axis=1) for name in parts[0].per_label},
            {name: np.concatenate([part.micro[name] for part in parts]) for name in parts[0].micro},
        )

    def over_labels(self, kept: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics over labels, each (weightings,): means over the labels in `kept` (bool), then the micros."""
        means = {over_labels_name(name): values[kept].mean(axis=0) for name, values in self.per_label.items()}
        return {**means, **{f"micro_{name}": values for name, values in self.micro.items()}}


def is_calibration(metric: str) -> bool:
    """Whether a metric is the Brier score or a calibration error: averaged over labels, and better when lower."""
    return metric.startswith(("brier", "expected_calibration_error"))


def over_labels_name(metric: str) -> str:
    """The name of the mean over labels of a label's metric."""
    return metric if is_calibration(metric) else f"macro_{metric}"


class MultilabelMetrics:
    """The scores of one model, prepared for the metrics of any weighting of the records.

    Args:
        targets: bool (records, labels), every label with both values.
        scores: float64 (records, labels), finite.
        thresholds: rule -> float64 (labels,), for the rules "fixed" and "val"; "oracle" needs none.
        probabilities: suffix ("", "_temperature" or "_platt") -> float64 (records, labels) between 0 and 1, whose
            Brier score and calibration error are wanted.
        pooled: bool (labels,), the labels that take part in micro averages; None takes all.
        only: names of the label metrics that are wanted; None takes all.
    """

    def __init__(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        *,
        thresholds: Mapping[str, np.ndarray] | None = None,
        probabilities: Mapping[str, np.ndarray] | None = None,
        pooled: np.ndarray | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.targets, self.scores = targets, scores
        self._thresholds, self._probabilities = dict(thresholds or {}), dict(probabilities or {})
        self.num_labels = targets.shape[1]
        self._rankings = [LabelRanking(targets[:, k], scores[:, k]) for k in range(self.num_labels)]
        self._pooled_columns = np.flatnonzero(np.ones(self.num_labels, dtype=bool) if pooled is None else pooled)
        self._pooling = None
        if len(self._pooled_columns):
            self._pooling = PooledRanking([self._rankings[k] for k in self._pooled_columns])
        names = ["auroc", "auprc", *(f"f1_{rule}" for rule in self._thresholds), "f1_oracle"]
        for suffix in self._probabilities:
            names += [f"brier{suffix}", f"expected_calibration_error{suffix}"]
        self.names = [name for name in names if only is None or name in only]

    def oracle_thresholds(self) -> np.ndarray:
        """Thresholds with the highest F1 on these records, float64 (labels,)."""
        return np.array([r.positive_scores[r.curve().best_f1()[0][0]] for r in self._rankings])

    def calibration_noise(self) -> dict[str, np.ndarray]:
        """What noise alone adds to each calibration error: metric -> float64 (labels,)."""
        noise = {
            f"expected_calibration_error{suffix}": calibration_noise(probabilities)
            for suffix, probabilities in self._probabilities.items()
        }
        return {name: values for name, values in noise.items() if name in self.names}

    def linear_forms(self, column: int) -> dict[str, np.ndarray]:
        """What these metrics need besides the curve: rows that are multiplied by the weights and summed over records.

        Returns:
            metric -> float64 (rows, records). Of a threshold rule the rows are the true positives and the calls, of
            the Brier score the squared error, of the calibration error the gap between probability and target in
            each bin.
        """
        positive = self.targets[:, column]
        forms: dict[str, np.ndarray] = {}
        for rule, thresholds in self._thresholds.items():
            called = self.scores[:, column] >= thresholds[column]
            forms[f"f1_{rule}"] = np.stack([called & positive, called]).astype(np.float64)
        for suffix, probabilities in self._probabilities.items():
            gaps = probabilities[:, column] - positive
            forms[f"brier{suffix}"] = gaps[None] ** 2
            in_bin = bin_of(probabilities[:, column]) == np.arange(NUM_BINS)[:, None]
            forms[f"expected_calibration_error{suffix}"] = in_bin * gaps
        return {name: rows for name, rows in forms.items() if name in self.names}


class _Collector:
    """Gathers the values of one `MultilabelMetrics`, label by label."""

    def __init__(self, metrics: MultilabelMetrics, num_weightings: int) -> None:
        self.metrics = metrics
        self.per_label = {name: np.empty((metrics.num_labels, num_weightings)) for name in metrics.names}
        self._sums = metrics._pooling.start(num_weightings) if metrics._pooling is not None else None
        # Of each threshold rule: true positives, records called positive, positives.
        self._counts = {name: np.zeros((3, num_weightings)) for name in metrics.names if name.startswith("f1_")}

    def add(self, column: int, weights: np.ndarray) -> None:
        metrics = self.metrics
        ranking = metrics._rankings[column]
        positive_weights, cumulative = ranking.weigh(weights)
        curve = ranking.curve_of(positive_weights, cumulative)
        pooled = column in metrics._pooled_columns
        if pooled and self._sums is not None and metrics._pooling is not None:
            place = int(np.searchsorted(metrics._pooled_columns, column))
            metrics._pooling.add(self._sums, place, positive_weights, cumulative)
        if "auroc" in self.per_label:
            self.per_label["auroc"][column] = curve.auroc()
        if "auprc" in self.per_label:
            self.per_label["auprc"][column] = curve.auprc()
        calls: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if "f1_oracle" in self.per_label:
            calls["f1_oracle"] = curve.best_f1()[1:]
        if forms := metrics.linear_forms(column):
            products = np.concatenate(list(forms.values())) @ weights.astype(np.float64)
            ends = np.cumsum([len(rows) for rows in forms.values()])
            num_records = curve.num_positives + curve.num_negatives
            for name, sums in zip(forms, np.split(products, ends[:-1]), strict=True):
                if is_calibration(name):
                    self.per_label[name][column] = np.abs(sums).sum(axis=0) / num_records
                else:
                    calls[name] = (sums[0], sums[1])
        for name, (true_positives, called) in calls.items():
            self.per_label[name][column] = 2.0 * true_positives / (called + curve.num_positives)
            if pooled:
                self._counts[name] += np.stack([true_positives, called, curve.num_positives])

    def values(self) -> MultilabelValues:
        micro: dict[str, np.ndarray] = {}
        if self._sums is not None and self.metrics._pooling is not None:
            if {"auroc", "auprc"} & set(self.per_label):
                curve = self.metrics._pooling.curve(self._sums)
                for name, metric in (("auroc", curve.auroc), ("auprc", curve.auprc)):
                    if name in self.per_label:
                        micro[name] = metric()
            for name, (true_positives, called, positives) in self._counts.items():
                micro[name] = 2.0 * true_positives / (called + positives)
        return MultilabelValues(self.per_label, micro)


def evaluate(
    models: Sequence[MultilabelMetrics], weights_of: Callable[[int], np.ndarray] | None = None
) -> list[MultilabelValues]:
    """The metrics of one or several models over the same records and labels.

    Args:
        models: at least one.
        weights_of: column of a label -> non-negative integers (records, weightings), how often each record counts for
            it; every weighting needs a positive and a negative. None counts each record once.
    """
    if weights_of is None:
        once = np.ones((len(models[0].targets), 1), dtype=np.int32)
        return evaluate(models, lambda column: once)
    collectors: list[_Collector] = []
    for column in range(models[0].num_labels):
        weights = weights_of(column)
        if not collectors:
            collectors = [_Collector(model, weights.shape[1]) for model in models]
        for collector in collectors:
            collector.add(column, weights)
    return [collector.values() for collector in collectors]
