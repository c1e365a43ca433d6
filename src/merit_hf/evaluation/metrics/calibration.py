"""How far probabilities can be believed, and two ways to set them right that are fitted on validation records.

Brier score: mean squared difference of probability and target. Expected calibration error (Naeini, Cooper and
Hauskrecht 2015; Guo et al. 2017), here per label and of the probability of the positive class: the records are put
into `NUM_BINS` = 15 bins of equal width over [0, 1], each with its lower end and the last with 1 too, and

    ECE = sum_bins (records in bin / records) * |mean probability - share of positives|

Of several labels both are averaged over the labels. The error is never negative, so that sampling noise alone makes it
positive: with few records per bin a perfect model has an error above 0.

Both calibrations work on z = log(p / (1 - p)) with p kept `SMALLEST` away from 0 and 1:
temperature scaling (Guo et al. 2017), sigmoid(z / T) with one T for all labels; Platt scaling (Platt 1999),
sigmoid(a z + b) for each label. Labels whose validation records are all of one class say nothing about either: they do
not take part in T, keep a = 1 and b = 0, and are listed in `left_alone`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

NUM_BINS = 15
SMALLEST = 1e-7
# Beyond these a temperature has made all probabilities 0 and 1, or 0.5.
_TEMPERATURES = (1e-2, 1e2)


def calibration_noise(probabilities: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """The expected calibration error that noise alone gives a perfectly calibrated model, float64 (labels,).

    Targets drawn by the probabilities p of one bin leave a sum of gaps with the variance sum p (1 - p); its mean
    absolute value is sqrt(2 / pi) standard deviations where the sum is normal.

    Args:
        probabilities: (records, labels).
    """
    in_bin = bin_of(probabilities, num_bins)[None] == np.arange(num_bins)[:, None, None]
    variances = (in_bin * (probabilities * (1.0 - probabilities))).sum(axis=1)
    return np.sqrt(2.0 / np.pi * variances).sum(axis=0) / len(probabilities)


def bin_of(probabilities: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """The bin of every probability, from 0 to num_bins - 1."""
    return np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)


def logits(probabilities: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), finite for 0 and 1 too."""
    kept = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST, 1.0 - SMALLEST)
    return np.log(kept) - np.log1p(-kept)


@dataclass(frozen=True)
class Calibration:
    """sigmoid(slope * z + intercept) for each label.

    slopes, intercepts: float64 (labels,).
    left_alone: labels that the validation records say nothing about.
    """

    slopes: np.ndarray
    intercepts: np.ndarray
    left_alone: list[str]

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of (records, labels)."""
        return expit(self.slopes * logits(probabilities) + self.intercepts)


def one_class_labels(targets: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Labels that all or none of the records carry. `targets` is bool (records, labels)."""
    counts = np.count_nonzero(targets, axis=0)
    return [name for name, count in zip(label_names, counts, strict=True) if count in (0, len(targets))]


def fit_temperature(targets: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> Calibration:
    """One temperature for all labels, of the least log loss on these (validation) records.

    Args:
        targets: bool (records, labels).
        probabilities: (records, labels).
        label_names: one a column.

    Returns:
        A calibration whose slopes are all 1 / T, T between 0.01 and 100; T = 1 if no label has both classes.
    """
    left_alone = one_class_labels(targets, label_names)
    used = np.array([name not in left_alone for name in label_names], dtype=bool)
    temperature = 1.0
    if used.any():
        signed = np.where(targets[:, used], 1.0, -1.0) * logits(probabilities[:, used])
        # The log loss is convex in 1 / T and so has one minimum in log T too.
        found = minimize_scalar(
            lambda log_temperature: float(np.logaddexp(0.0, -signed * np.exp(-log_temperature)).mean()),
            bounds=np.log(_TEMPERATURES),
            method="bounded",
            options={"xatol": 1e-9},
        )
        temperature = float(np.exp(found.x))
    num_labels = len(label_names)
    return Calibration(np.full(num_labels, 1.0 / temperature), np.zeros(num_labels), left_alone)


def fit_platt(targets: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> Calibration:
    """Slope and intercept of every label, of the least log loss on these (validation) records with Platt's targets.

    Those are (P + 1) / (P + 2) for the P positives and 1 / (N + 2) for the N negatives: the prior that keeps separable
    labels finite. Arguments as in `fit_temperature`. A slope may be negative where the scores rank the wrong way.
    """
    left_alone = one_class_labels(targets, label_names)
    slopes, intercepts = np.ones(len(label_names)), np.zeros(len(label_names))
    for column, name in enumerate(label_names):
        if name not in left_alone:
            slopes[column], intercepts[column] = _platt_of(targets[:, column], logits(probabilities[:, column]))
    return Calibration(slopes, intercepts, left_alone)


def _platt_of(targets: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Newton's method with step halving; the loss is convex."""
    num_positives = np.count_nonzero(targets)
    num_negatives = len(targets) - num_positives
    wanted = np.where(targets, (num_positives + 1.0) / (num_positives + 2.0), 1.0 / (num_negatives + 2.0))
    design = np.stack([z, np.ones_like(z)], axis=1)

    def loss(weights: np.ndarray) -> float:
        activation = design @ weights
        return float(np.sum(np.logaddexp(0.0, activation) - wanted * activation))

    weights = np.array([0.0, np.log((num_positives + 1.0) / (num_negatives + 1.0))])
    current = loss(weights)
    for _ in range(100):
        fitted = expit(design @ weights)
        gradient = design.T @ (fitted - wanted)
        if np.abs(gradient).max() < 1e-9 * len(targets):
            break
        # The small diagonal is for scores that are all alike, where only the sum of slope and intercept is known.
        hessian = (design * (fitted * (1.0 - fitted))[:, None]).T @ design + 1e-12 * np.eye(2)
        direction = np.linalg.solve(hessian, gradient)
        step = 1.0
        while (tried := loss(weights - step * direction)) > current and step > 1e-10:
            step /= 2.0
        if step <= 1e-10:
            break
        weights, current = weights - step * direction, tried
    return float(weights[0]), float(weights[1])
