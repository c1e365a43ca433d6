"""Thresholds that turn scores into decisions. The rule they were chosen by is part of every F1.

    fixed    0.5 on probabilities
    val      per label the threshold with the highest F1 on the validation records
    oracle   per label the threshold with the highest F1 on the test records themselves: what no user could have
             chosen, and what several papers report

A record is called positive where its score is at least the threshold. Thresholds are scores that occur; of several
equally good ones the highest is taken.
"""

from __future__ import annotations

import numpy as np

from .ranking import LabelRanking

FIXED_THRESHOLD = 0.5


def best_f1_thresholds(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The threshold with the highest F1 of every label.

    Args:
        targets: bool (records, labels).
        scores: float (records, labels), finite.

    Returns:
        float64 (labels,). Without positives every threshold has an F1 of 0: then it lies just above all scores, so
        that what is called positive must score higher than all these negatives. Without negatives it is the lowest
        score.
    """
    thresholds = np.empty(targets.shape[1])
    for column in range(targets.shape[1]):
        positive, label_scores = targets[:, column], scores[:, column]
        if not positive.any():
            thresholds[column] = np.nextafter(label_scores.max(), np.inf)
        elif positive.all():
            thresholds[column] = label_scores.min()
        else:
            ranking = LabelRanking(positive, label_scores)
            thresholds[column] = ranking.positive_scores[ranking.curve().best_f1()[0][0]]
    return thresholds
