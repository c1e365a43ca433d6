"""Confidence intervals of metrics between 0 and 1, from their values and bootstrap samples (resampling.py).

Every interval is a score interval of a proportion (Wilson 1927) at an effective sample size, the device of survey
statistics (Korn and Graubard 1998): a metric p whose samples have the variance v is as certain as a proportion p of
n = p (1 - p) / v independent records. On the scale of log(p / (1 - p)) this interval is symmetric about p, as is the
interval of DeLong's variance on that scale (Qin and Hotilovac 2008), which it approaches as n grows.

With few positives the samples say too little about their own variance, and nothing at all where p is 0 or 1: every
resample of a perfect ranking is perfect. So v is averaged with the variance that such a metric usually has,
p (1 - p) / m, where the latter has the weight of `_PRIOR_RECORDS` records and the former that of the records of the
smaller class, less one. The usual effective sizes m:

    AUROC                       3 / (1 / positives + 1 / negatives), close to the variance of Hanley and McNeil (1982)
    AUPRC, F1                   1 / (1 / positives + 1 / negatives)  (Boyd, Eng and Page 2013 for the AUPRC)
    Brier, calibration error    4 * records: squared errors and gaps vary less than zeros and ones

The variance of a mean over labels, or of a difference of two models, is the sum of the variances of its terms, as if
these were independent, times the design effect (Kish 1965): by how much it differs from that sum in the samples.

Three metrics are too high on few records: F1 at the best threshold of the same records, AUPRC, and the calibration
error, which noise alone makes positive. Their lower end is moved down by this excess. The upper end stays, so that the
value lies inside.

These numbers were chosen by coverage and width on simulated scores: docs/results/interval_coverage.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from .multilabel import MultilabelValues, is_calibration
from .resampling import numbered_patients

# The usual variance counts as much as that of samples of so many records.
_PRIOR_RECORDS = 8.0


@dataclass(frozen=True)
class LabelCounts:
    """How many independent units, records or patients, speak about each label.

    positives, negatives: int64 (labels,), units with a record that has the label, and with one that has not.
    units: number of units in all.
    """

    positives: np.ndarray
    negatives: np.ndarray
    units: int

    @classmethod
    def of(cls, targets: np.ndarray, patient_ids: Sequence[str | None] | None = None) -> LabelCounts:
        """Counts records, or patients if `patient_ids` is given. `targets` is bool (records, labels)."""
        if patient_ids is None:
            positives = np.count_nonzero(targets, axis=0)
            return cls(positives, len(targets) - positives, len(targets))
        patient_of, num_patients = numbered_patients(patient_ids)
        has = np.zeros((2, num_patients, targets.shape[1]), dtype=bool)
        for side, flags in zip(has, (targets, ~targets), strict=True):
            np.logical_or.at(side, patient_of, flags)
        positives, negatives = np.count_nonzero(has, axis=1)
        return cls(positives, negatives, num_patients)

    @classmethod
    def pooled(cls, targets: np.ndarray, patient_ids: Sequence[str | None] | None = None) -> LabelCounts:
        """Counts for a micro average, one "label": units with any label, and units that lack any."""
        either = np.stack([targets.any(axis=1), targets.all(axis=1)], axis=1)
        counts = cls.of(either, patient_ids)
        return cls(counts.positives[:1], counts.negatives[1:], counts.units)

    def usual_sizes(self, metric: str) -> np.ndarray:
        """The effective sample size that a metric usually has, float64 (labels,)."""
        if is_calibration(metric):
            return np.full(len(self.positives), 4.0 * self.units)
        harmonic = 1.0 / (1.0 / self.positives + 1.0 / self.negatives)
        return 3.0 * harmonic if metric == "auroc" else harmonic

    def __getitem__(self, labels: np.ndarray | slice) -> LabelCounts:
        return LabelCounts(self.positives[labels], self.negatives[labels], self.units)


class Estimates:
    """One metric of several labels, with what is needed for its intervals. A micro average is that of one label.

    Args:
        metric: its name without "macro_" or "micro_".
        values: float64 (labels,), the metric on the records themselves.
        samples: float64 (labels, resamples), the metric in each resample, of stratified draws.
        counts: of the same labels.
        noise: float64 (labels,), of a calibration error: what a perfectly calibrated model would have.
    """

    def __init__(
        self,
        metric: str,
        values: np.ndarray,
        samples: np.ndarray,
        counts: LabelCounts,
        noise: np.ndarray | None = None,
    ) -> None:
        self.metric, self.values, self.samples, self.counts, self.noise = metric, values, samples, counts, noise
        self._variances = samples.var(axis=1)
        spread = values * (1.0 - values)
        # Samples that do not vary say nothing. Their variance may be some 1e-33 by rounding.
        varies = (spread > 1e-12) & (self._variances > 1e-20)
        known = np.maximum(np.minimum(counts.positives, counts.negatives) - 1.0, 0.0)
        weights = np.where(varies, known / (known + _PRIOR_RECORDS), 0.0)
        relative = np.divide(self._variances, spread, out=np.zeros_like(spread), where=varies)
        self.sizes = 1.0 / (weights * relative + (1.0 - weights) / counts.usual_sizes(metric))
        if noise is not None:
            self._excess = noise
        elif metric in ("auprc", "f1_oracle"):
            # Samples are to the records at hand what these are to many.
            self._excess = np.maximum(samples.mean(axis=1) - values, 0.0)
        else:
            self._excess = np.zeros_like(values)

    def __getitem__(self, labels: np.ndarray | slice) -> Estimates:
        noise = None if self.noise is None else self.noise[labels]
        return Estimates(self.metric, self.values[labels], self.samples[labels], self.counts[labels], noise)

    @property
    def mean(self) -> float:
        """Mean over labels."""
        return float(self.values.mean())

    @property
    def mean_samples(self) -> np.ndarray:
        """Mean over labels in each resample, float64 (resamples,)."""
        return self.samples.mean(axis=0)

    def label_intervals(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the interval of each label, two float64 (labels,)."""
        low, high = wilson_interval(self.values, self.sizes, confidence)
        return np.maximum(low - self._excess, 0.0), high

    def mean_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Lower and upper end of the interval of the mean over labels."""
        middle = self._inside().mean()
        variance = self._variance * _design_effect(self.mean_samples.var(), self._sample_variance)
        size = middle * (1.0 - middle) / max(variance, np.finfo(np.float64).tiny)
        low, high = wilson_interval(np.asarray(self.mean), size, confidence)
        return float(np.maximum(low - self._excess.mean(), 0.0)), float(high)

    def difference_interval(
        self, other: Estimates, *, confidence: float = 0.95, paired: bool = True
    ) -> tuple[float, float]:
        """Lower and upper end of the interval of `self.mean - other.mean`, which is symmetric.

        Args:
            paired: whether both were resampled alike, on the same records; otherwise on independent ones.
        """
        ours, theirs = self.mean_samples, other.mean_samples
        seen = (ours - theirs).var() if paired else ours.var() + theirs.var()
        variance = self._variance + other._variance
        variance *= _design_effect(seen, self._sample_variance + other._sample_variance)
        difference, spread = self.mean - other.mean, normal_quantile(confidence) * np.sqrt(variance)
        return max(float(difference - spread), -1.0), min(float(difference + spread), 1.0)

    def _inside(self) -> np.ndarray:
        """Values, with 0 and 1 as half a record of the effective sample away from there, float64 (labels,)."""
        margin = 0.5 / (self.sizes + 1.0)
        return np.clip(self.values, margin, 1.0 - margin)

    @property
    def _variance(self) -> float:
        """Variance of the mean over labels, were they independent."""
        inside = self._inside()
        return float((inside * (1.0 - inside) / self.sizes).sum()) / len(inside) ** 2

    @property
    def _sample_variance(self) -> float:
        """The same as the samples alone have it."""
        return float(self._variances.sum()) / len(self._variances) ** 2


def _design_effect(seen: float, independent: float) -> float:
    """Variance of a sum in the samples as a multiple of what it would be, were its terms independent."""
    return seen / independent if independent > 1e-20 else 1.0


def estimates_of(
    points: Sequence[MultilabelValues],
    samples: Sequence[MultilabelValues],
    targets: np.ndarray,
    *,
    pooled: np.ndarray,
    patient_ids: Sequence[str | None] | None = None,
    noise: Sequence[Mapping[str, np.ndarray]] = (),
) -> tuple[dict[str, Estimates], dict[str, Estimates]]:
    """Every metric of one model, or of the mean over several models, ready for its intervals.

    Args:
        points, samples: one a model, on the records themselves (one weighting) and in every resample.
        targets: bool (records, labels).
        pooled: bool (labels,), the labels of the micro averages.
        patient_ids: as in `resampling.bootstrap`.
        noise: one a model, `MultilabelMetrics.calibration_noise`.

    Returns:
        metric -> estimates of the labels, and metric -> estimate of the micro average.
    """
    counts = LabelCounts.of(targets, patient_ids)
    together = LabelCounts.pooled(targets[:, pooled], patient_ids)
    per_label = {
        name: Estimates(
            name,
            np.mean([point.per_label[name][:, 0] for point in points], axis=0),
            np.mean([sample.per_label[name] for sample in samples], axis=0),
            counts,
            np.mean([each[name] for each in noise], axis=0) if noise and name in noise[0] else None,
        )
        for name in points[0].per_label
    }
    micro = {
        name: Estimates(
            name,
            np.mean([point.micro[name] for point in points], axis=0),
            np.mean([sample.micro[name] for sample in samples], axis=0)[None],
            together,
        )
        for name in points[0].micro
    }
    return per_label, micro


def wilson_interval(
    value: np.ndarray, size: float | np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the score interval of a proportion of `size` records (Wilson 1927).

    It contains the value, lies in [0, 1] and has a width above 0, also where the value is 0 or 1.
    """
    squared = normal_quantile(confidence) ** 2
    middle = (size * value + squared / 2.0) / (size + squared)
    half = np.sqrt(squared * (size * value * (1.0 - value) + squared / 4.0)) / (size + squared)
    # The minimum and the maximum are for rounding alone.
    return np.clip(middle - half, 0.0, value), np.clip(middle + half, value, 1.0)


def normal_interval(
    samples: np.ndarray, estimate: float | np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate -+ z * standard deviation of the samples (..., resamples), for what has no bounds."""
    spread = normal_quantile(confidence) * np.std(samples, axis=-1)
    return np.asarray(estimate) - spread, np.asarray(estimate) + spread


def normal_quantile(confidence: float) -> float:
    """The z of a two-sided interval, 1.96 for 0.95."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return float(ndtri((1.0 + confidence) / 2.0))
