"""Ranking metrics of multi-label scores: area under the ROC curve, average precision, F1 of the best threshold.

Numbers only: no models, no files; thresholds live in thresholds.py, calibration in calibration.py, all metrics of a
model together in multilabel.py, uncertainty in resampling.py and intervals.py, and the JSON layout in results.py.

Every number comes from `LabelRanking`, which sorts the scores of one label once and then evaluates any number of
weightings of the records. A plain metric is the weighting by ones, a bootstrap resample is the weighting by how often
each record was drawn, so point estimates and intervals cannot disagree about ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from merit_hf.messages_merit import shown


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one label over `num_records` records, `positives` of which carry it."""

    positives: int
    num_records: int
    auroc: float
    auprc: float


@dataclass(frozen=True)
class RankingMetrics:
    """Per-label metrics in the order of the labels, and the labels that could not be scored with the reason why."""

    per_label: dict[str, LabelMetrics]
    excluded: dict[str, str] = field(default_factory=dict)

    @property
    def macro_auroc(self) -> float:
        """Unweighted mean of the per-label AUROC over the labels that could be scored."""
        return float(np.mean([label.auroc for label in self.per_label.values()]))

    @property
    def macro_auprc(self) -> float:
        """Unweighted mean of the per-label average precision over the labels that could be scored."""
        return float(np.mean([label.auprc for label in self.per_label.values()]))


class RankingCurve:
    """Weights of positives and negatives at and above each score of a positive, for several weightings of the records.

    Args:
        positive_weights: (groups, weightings), weight of the positives at each distinct score of a positive, from the
            highest score down.
        above, upto: (groups, weightings), weight of the negatives scored strictly above it and at least as high.
        num_negatives: float64 (weightings,), weight of all negatives.

    With `W_g` the weight of the positives of group g, `T_g` that of all positives at least as high, and P, N the
    weights of all positives and negatives,

        AUROC = 1 - sum_g W_g (above_g + upto_g) / (2 P N)          (ties count one half: Mann-Whitney)
        AUPRC = sum_g W_g / P * T_g / (T_g + upto_g)                (average precision)
        F1_g  = 2 T_g / (T_g + upto_g + P)                          (of the threshold at group g)

    which are scikit-learn's `roc_auc_score`, `average_precision_score` and `f1_score`. No threshold between two scores
    of positives can have a higher F1 than the upper of the two.
    """

    def __init__(
        self, positive_weights: np.ndarray, above: np.ndarray, upto: np.ndarray, num_negatives: np.ndarray
    ) -> None:
        self._positive_weights, self._above, self._upto = positive_weights, above, upto
        self._true_positives = np.cumsum(positive_weights, axis=0, dtype=np.int32)
        self.num_positives = self._true_positives[-1].astype(np.float64)
        self.num_negatives = num_negatives

    def auroc(self) -> np.ndarray:
        """Area under the ROC curve, float64 (weightings,)."""
        misranked = np.einsum("gw,gw->w", self._positive_weights, self._above + self._upto, dtype=np.float64)
        return 1.0 - misranked / (2.0 * self.num_positives * self.num_negatives)

    def auprc(self) -> np.ndarray:
        """Average precision, float64 (weightings,)."""
        # T_g + upto_g is 0 only where no drawn record scores as high, so W_g = 0: the term is 0 whatever divides it.
        precision = self._true_positives / np.maximum(self._true_positives + self._upto, 1)
        return np.einsum("gw,gw->w", self._positive_weights, precision) / self.num_positives

    def best_f1(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The threshold with the highest F1, the highest such threshold if there are several.

        Returns:
            Its group (int64), the weight of the true positives and that of all records called positive (float64), each
            (weightings,).
        """
        # F1 = 2 T / (T + upto + P) is largest where (upto + P) / T is least. The first T_g may be 0.
        with np.errstate(divide="ignore"):
            cost = (self._upto + self.num_positives) / self._true_positives
        groups = np.argmin(cost, axis=0)
        found = groups[None]
        true_positives = np.take_along_axis(self._true_positives, found, axis=0)[0].astype(np.float64)
        return groups, true_positives, true_positives + np.take_along_axis(self._upto, found, axis=0)[0]


class LabelRanking:
    """The scores of one label, sorted once, from which the metrics of any weighting of the records follow.

    Args:
        targets: bool (records,), True where the record carries the label; both values must occur.
        scores: float (records,), higher meaning more likely; finite.

    The metrics need the negatives only at the distinct scores of the positives (see `RankingCurve`).
    """

    def __init__(self, targets: np.ndarray, scores: np.ndarray) -> None:
        targets = np.asarray(targets, dtype=bool)
        scores = np.asarray(scores, dtype=np.float64)
        if targets.ndim != 1 or targets.shape != scores.shape:
            raise ValueError(
                f"targets and scores of one label must be 1-D and equally long, got shapes {targets.shape} and "
                f"{scores.shape}"
            )
        if not np.isfinite(scores).all():
            raise ValueError(f"scores must be finite, got {np.count_nonzero(~np.isfinite(scores))} that are not")
        positives, negatives = np.flatnonzero(targets), np.flatnonzero(~targets)
        if len(positives) == 0 or len(negatives) == 0:
            raise ValueError(
                f"a ranking needs positives and negatives, got {len(positives)} and {len(negatives)}; leave this "
                "label out of the metrics"
            )
        self.positives = positives[np.argsort(-scores[positives], kind="stable")]
        self.negatives = negatives[np.argsort(-scores[negatives], kind="stable")]
        # Distinct scores of the positives from the highest down, and all scores of the negatives.
        distinct, self._group_starts = np.unique(-scores[self.positives], return_index=True)
        self.positive_scores, self.negative_scores = -distinct, scores[self.negatives]
        self._num_above = np.searchsorted(-self.negative_scores, distinct, side="left")
        self._num_upto = np.searchsorted(-self.negative_scores, distinct, side="right")

    def weigh(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a weighting gives to the positives at each distinct score and to the k highest negatives.

        Args:
            weights: non-negative integers (records, weightings), how often each record counts.

        Returns:
            int (groups, weightings), and int32 (negatives + 1, weightings) starting with zeros.
        """
        positive_weights = weights[self.positives]
        if len(self._group_starts) < len(self.positives):
            positive_weights = np.add.reduceat(positive_weights, self._group_starts, axis=0)
        cumulative = np.zeros((len(self.negatives) + 1, weights.shape[1]), dtype=np.int32)
        np.cumsum(weights[self.negatives], axis=0, out=cumulative[1:])
        return positive_weights, cumulative

    def curve_of(self, positive_weights: np.ndarray, cumulative: np.ndarray) -> RankingCurve:
        """The curve of what `weigh` returned."""
        return RankingCurve(
            positive_weights,
            cumulative[self._num_above],
            cumulative[self._num_upto],
            cumulative[-1].astype(np.float64),
        )

    def curve(self, weights: np.ndarray | None = None) -> RankingCurve:
        """The curve of every weighting.

        Args:
            weights: as in `weigh`; None counts each record once. At least one positive and one negative must have a
                weight in every weighting.
        """
        if weights is None:
            weights = np.ones((len(self.positives) + len(self.negatives), 1), dtype=np.int32)
        return self.curve_of(*self.weigh(weights))


class PooledRanking:
    """The decisions on all labels in one ranking, as micro averages have them, for weightings that differ by label.

    Args:
        rankings: one a label.

    The pooled curve is made of sums that the labels add one after the other, so that the weights of only one label
    need to be held at a time.
    """

    def __init__(self, rankings: Sequence[LabelRanking]) -> None:
        # Everything ascends in minus the score, as np.unique and np.searchsorted want it.
        distinct = np.unique(np.concatenate([-ranking.positive_scores for ranking in rankings]))
        self._num_groups = len(distinct)
        self._places = []
        for ranking in rankings:
            negatives = -ranking.negative_scores
            # Interval 2g lies strictly between the scores of groups g-1 and g, interval 2g+1 is the score of group g.
            intervals = np.searchsorted(distinct, negatives, side="left") + np.searchsorted(
                distinct, negatives, side="right"
            )
            ends = np.append(np.flatnonzero(np.diff(intervals)), len(intervals) - 1) + 1
            groups = np.searchsorted(distinct, -ranking.positive_scores)
            self._places.append((groups, intervals[ends - 1], ends))

    def start(self, num_weightings: int) -> tuple[np.ndarray, np.ndarray]:
        """The sums before any label was added."""
        return (
            np.zeros((self._num_groups, num_weightings), dtype=np.int32),
            np.zeros((2 * self._num_groups + 1, num_weightings), dtype=np.int32),
        )

    def add(
        self, sums: tuple[np.ndarray, np.ndarray], label: int, positive_weights: np.ndarray, cumulative: np.ndarray
    ) -> None:
        """Adds one label, by its place among the rankings, with what its `weigh` returned."""
        groups, intervals, ends = self._places[label]
        sums[0][groups] += positive_weights
        sums[1][intervals] += np.diff(cumulative[np.concatenate([[0], ends])], axis=0)

    def curve(self, sums: tuple[np.ndarray, np.ndarray]) -> RankingCurve:
        """The curve once every label was added."""
        cumulative = np.cumsum(sums[1], axis=0, dtype=np.int32)
        return RankingCurve(sums[0], cumulative[0:-1:2], cumulative[1::2], cumulative[-1].astype(np.float64))


def check_targets_and_scores(
    targets: np.ndarray, scores: np.ndarray, label_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Targets as bool and scores as float64, both (records, labels).

    Raises:
        ValueError: shapes disagree, targets are not 0/1, scores are not finite, or a label name occurs twice.
    """
    targets, scores = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if targets.ndim != 2 or targets.shape != scores.shape or targets.shape[1] != len(label_names):
        raise ValueError(
            f"targets and scores must both have shape (records, {len(label_names)} labels), got {targets.shape} and "
            f"{scores.shape}"
        )
    if len(set(label_names)) != len(label_names):
        raise ValueError(f"label_names must be distinct, got {list(label_names)}")
    if not np.isin(targets, (0, 1)).all():
        raise ValueError("targets must be 0 or 1 (False or True)")
    bad = ~np.isfinite(scores)
    if bad.any():
        record, label = np.argwhere(bad)[0]
        raise ValueError(
            f"scores must be finite, got {scores[record, label]} for record {record}, label {label_names[label]!r} "
            f"({int(bad.sum())} such values)"
        )
    return targets.astype(bool), scores


def unscorable_labels(targets: np.ndarray, label_names: Sequence[str]) -> dict[str, str]:
    """Labels that no ranking metric is defined for, with the reason: "no positives" or "no negatives".

    Args:
        targets: bool (records, labels).
    """
    counts = np.asarray(targets, dtype=bool).sum(axis=0)
    reasons = {}
    for name, count in zip(label_names, counts, strict=True):
        if count == 0:
            reasons[name] = "no positives"
        elif count == len(targets):
            reasons[name] = "no negatives"
    return reasons


def ranking_metrics(targets: np.ndarray, scores: np.ndarray, label_names: Sequence[str]) -> RankingMetrics:
    """AUROC and AUPRC of every label that has positives and negatives; the others are listed in `excluded`.

    Args:
        targets: 0/1 (records, labels).
        scores: float (records, labels), higher meaning more likely; only the order within a label matters.
        label_names: one a column.

    Raises:
        ValueError: bad shapes or values, or no label at all can be scored.
    """
    targets, scores = check_targets_and_scores(targets, scores, label_names)
    excluded = unscorable_labels(targets, label_names)
    if len(excluded) == len(label_names):
        raise ValueError(
            f"none of the labels {shown(list(label_names))} has both positives and negatives: {shown(excluded, 160)}"
        )
    per_label = {}
    for column, name in enumerate(label_names):
        if name in excluded:
            continue
        curve = LabelRanking(targets[:, column], scores[:, column]).curve()
        per_label[name] = LabelMetrics(
            positives=int(targets[:, column].sum()),
            num_records=len(targets),
            auroc=float(curve.auroc()[0]),
            auprc=float(curve.auprc()[0]),
        )
    return RankingMetrics(per_label, excluded)
