"""Ridge regression of many targets at once, in closed form, its penalty chosen on validation records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PENALTIES = tuple(float(10.0**exponent) for exponent in range(-2, 6))


@dataclass(frozen=True)
class Ridge:
    """Predictions are `(features - feature_mean) / feature_scale @ weights + target_mean`."""

    feature_mean: np.ndarray
    feature_scale: np.ndarray
    weights: np.ndarray
    target_mean: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 (records, targets)."""
        return (features - self.feature_mean) / self.feature_scale @ self.weights + self.target_mean


def ridge_path(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float] = PENALTIES) -> list[Ridge]:
    """One fit for each penalty alpha: the minimum of |y - Xw|^2 + alpha |w|^2 with X standardised and y centred.

    With X = U S V' it is w = V S / (S^2 + alpha) U'y, so all penalties share one decomposition. scikit-learn's `Ridge`
    on standardised features is the same.

    Args:
        features: float (records, features). Those that do not vary get no weight.
        targets: float (records, targets), finite.
        penalties: positive.
    """
    features, targets = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    left, singular, right = np.linalg.svd((features - mean) / scale, full_matrices=False)
    target_mean = targets.mean(axis=0)
    projected = left.T @ (targets - target_mean)
    return [
        Ridge(mean, scale, right.T @ ((singular / (singular**2 + alpha))[:, None] * projected), target_mean)
        for alpha in penalties
    ]
