"""Thresholds of best F1 against a search over all scores by scikit-learn, and what labels of one class get."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from merit_hf.evaluation.metrics.thresholds import best_f1_thresholds


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=25))
def test_no_other_threshold_is_better(pairs):
    targets = np.array([pair[0] for pair in pairs])
    scores = np.array([pair[1] for pair in pairs]) / 7
    (threshold,) = best_f1_thresholds(targets[:, None], scores[:, None])
    found = f1_score(targets, scores >= threshold, zero_division=0)
    others = {score: f1_score(targets, scores >= score, zero_division=0) for score in scores}
    assert found == pytest.approx(max(others.values()), abs=1e-12)
    if targets.any() and not targets.all():
        assert threshold == max(score for score, value in others.items() if value >= found - 1e-12)


def test_labels_of_one_class():
    scores = np.array([[0.2, 0.2], [0.9, 0.9]])
    never, always = best_f1_thresholds(np.array([[0, 1], [0, 1]], dtype=bool), scores)
    assert never > 0.9
    assert never == pytest.approx(0.9)
    assert always == 0.2
