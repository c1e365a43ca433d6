"""Counting many numbers in little memory: exact counts of few different values, and histograms of measured ones.

What is counted is decided in `describe.py` and `signal_statistics.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_BARS = 40


class ValueCounts:
    """How often each value occurred, with values rounded to whole multiples of `step`; exact after that rounding."""

    def __init__(self, step: float) -> None:
        self.step = step
        self._counts: dict[int, int] = {}

    def add(self, values: np.ndarray) -> None:
        """Counts values; NaN is ignored."""
        numbers = np.rint(np.asarray(values, dtype=np.float64)[~np.isnan(values)] / self.step).astype(np.int64)
        for number, count in zip(*(found.tolist() for found in np.unique(numbers, return_counts=True)), strict=True):
            self._counts[number] = self._counts.get(number, 0) + count

    def join(self, other: ValueCounts) -> None:
        """Adds the counts of another object with the same step."""
        for number, count in other._counts.items():
            self._counts[number] = self._counts.get(number, 0) + count

    def summary(self) -> dict[str, Any] | None:
        """Mean, percentiles and a histogram of `MOST_BARS` bars or fewer; None without values."""
        if not self._counts:
            return None
        numbers = np.array(sorted(self._counts))
        counts = np.array([self._counts[number] for number in numbers.tolist()])
        values = np.round(numbers * self.step, 9)
        bars = min(MOST_BARS, int(numbers[-1] - numbers[0]) + 1)
        half = self.step / 2
        heights, edges = np.histogram(values, bins=bars, range=(values[0] - half, values[-1] + half), weights=counts)
        named = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}
        return {
            "count": int(counts.sum()),
            "mean": float(np.average(values, weights=counts)),
            "min": float(values[0]),
            **dict(zip(named, percentiles(values, counts, list(named.values())), strict=True)),
            "max": float(values[-1]),
            "histogram": {"edges": edges.tolist(), "counts": heights.astype(np.int64).tolist()},
        }


class Histograms:
    """One histogram per row, of values from `-limit` to `limit` in bins `step` wide; values beyond count in the last.

    A percentile of it is exact to half a step.
    """

    def __init__(self, rows: int, step: float, limit: float) -> None:
        self.centres = np.arange(-round(limit / step), round(limit / step) + 1) * step
        self.step = step
        self.counts = np.zeros((rows, len(self.centres)), dtype=np.int64)

    def add(self, values: np.ndarray) -> None:
        """Counts (rows, number) values; NaN is ignored."""
        bins = len(self.centres)
        known = ~np.isnan(values)
        places = np.clip(np.rint(np.where(known, values, 0.0) / self.step) + bins // 2, 0, bins - 1).astype(np.int64)
        places += np.arange(len(values))[:, None] * bins
        self.counts += np.bincount(places[known], minlength=self.counts.size).reshape(self.counts.shape)

    def percentiles(self, row: int, shares: Sequence[float]) -> list[float] | None:
        """Percentiles (0 to 100) of one row; None where it has no value."""
        if not self.counts[row].any():
            return None
        return percentiles(self.centres, self.counts[row], shares)


def percentiles(values: np.ndarray, counts: np.ndarray, shares: Sequence[float]) -> list[float]:
    """The smallest value that has at least the share (0 to 100) of all counts at or below it, for each share.

    That is NumPy's method "inverted_cdf" on every value repeated by its count.
    """
    below = np.cumsum(counts)
    wanted = np.maximum(np.ceil(np.asarray(shares) / 100 * below[-1]), 1)
    return np.round(values[np.searchsorted(below, wanted)], 9).tolist()
