"""Ranking metrics of multi-label scores: area under the ROC curve, average precision, and their macro averages.

Numbers only: no models, no files; uncertainty lives in intervals.py and the JSON layout in results.py.

Every number comes from `LabelRanking`, which sorts the scores of one label once and then evaluates any number of
weightings of the records. A plain metric is the weighting by ones, a bootstrap resample is the weighting by how often
each record was drawn, so point estimates and intervals cannot disagree about ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


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


class LabelRanking:
    """The scores of one label, sorted once, from which AUROC and average precision of any weighting follow.

    Args:
        targets: bool (records,), True where the record carries the label; both values must occur.
        scores: float (records,), higher meaning more likely; finite.

    Both metrics need the negatives only at the distinct scores of the positives: with `W_g` the weight of the
    positives at the g-th such score, and `above_g`, `upto_g` the weight of the negatives scored strictly above it and
    at least as high,

        AUROC = 1 - sum_g W_g (above_g + upto_g) / (2 P N)          (ties count one half: Mann-Whitney)
        AUPRC = sum_g W_g / P * T_g / (T_g + upto_g)                (T_g: weight of the positives at least as high)

    which are scikit-learn's `roc_auc_score` and `average_precision_score`.
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
        descending = -scores[self.positives]
        distinct, self._group_starts = np.unique(descending, return_index=True)
        negative_scores = -scores[self.negatives]
        self._num_above = np.searchsorted(negative_scores, distinct, side="left")
        self._num_upto = np.searchsorted(negative_scores, distinct, side="right")

    def __call__(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision of every weighting.

        Args:
            weights: non-negative integers (records, weightings), how often each record counts; None counts each once.
                At least one positive and one negative must have a weight in every weighting.

        Returns:
            Two float64 arrays (weightings,): AUROC and average precision.
        """
        if weights is None:
            weights = np.ones((len(self.positives) + len(self.negatives), 1), dtype=np.int32)
        positive_weights = weights[self.positives]
        if len(self._group_starts) < len(self.positives):
            positive_weights = np.add.reduceat(positive_weights, self._group_starts, axis=0)
        cumulative = np.zeros((len(self.negatives) + 1, weights.shape[1]), dtype=np.int32)
        np.cumsum(weights[self.negatives], axis=0, out=cumulative[1:])
        above, upto = cumulative[self._num_above], cumulative[self._num_upto]
        true_positives = np.cumsum(positive_weights, axis=0, dtype=np.int32)
        num_positives = true_positives[-1].astype(np.float64)
        num_negatives = cumulative[-1].astype(np.float64)

        misranked = np.einsum("gw,gw->w", positive_weights, above + upto, dtype=np.float64)
        auroc = 1.0 - misranked / (2.0 * num_positives * num_negatives)
        # T_g + upto_g is 0 only where no drawn record scores as high, so W_g = 0: the term is 0 whatever divides it.
        precision = true_positives / np.maximum(true_positives + upto, 1)
        auprc = np.einsum("gw,gw->w", positive_weights, precision) / num_positives
        return auroc, auprc


def check_targets_and_scores(
    targets: np.ndarray, scores: np.ndarray, label_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Targets as bool and scores as float64, both (records, labels).

    Raises:
        ValueError: shapes disagree, targets are not 0/1, scores are not finite, or a label name stands twice.
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
        raise ValueError(f"none of the labels {list(label_names)} has both positives and negatives: {excluded}")
    per_label = {}
    for column, name in enumerate(label_names):
        if name in excluded:
            continue
        auroc_values, auprc_values = LabelRanking(targets[:, column], scores[:, column])()
        per_label[name] = LabelMetrics(
            positives=int(targets[:, column].sum()),
            num_records=len(targets),
            auroc=float(auroc_values[0]),
            auprc=float(auprc_values[0]),
        )
    return RankingMetrics(per_label, excluded)


def auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of one label, ties counted one half. Arguments as in `LabelRanking`."""
    return float(LabelRanking(targets, scores)()[0][0])


def average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve by steps (average precision) of one label, as in `LabelRanking`."""
    return float(LabelRanking(targets, scores)()[1][0])
