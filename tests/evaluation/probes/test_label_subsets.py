"""Shares of the labelled records: sizes, labels kept, shares kept, and patients held out."""

import numpy as np
import pytest

from merit_hf.evaluation.probes.label_subsets import label_subset


def long_tail(num_records: int = 1000, seed: int = 0) -> np.ndarray:
    """Targets of 12 labels from common to a handful of records."""
    shares = np.geomspace(0.6, 0.004, 12)
    targets = np.random.default_rng(seed).random((num_records, 12)) < shares
    targets[:12][np.eye(12, dtype=bool)] = True
    return targets


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5])
def test_every_label_keeps_a_positive_where_it_can(fraction):
    targets = long_tail()
    for seed in range(20):
        rows = label_subset(targets, fraction, seed)
        assert len(rows) == round(fraction * 1000)
        assert len(np.unique(rows)) == len(rows)
        assert targets[rows].any(axis=0).all()
    # By chance alone they would not.
    chance = np.random.default_rng(0).permutation(1000)[: round(fraction * 1000)]
    if fraction < 0.1:
        assert not targets[chance].any(axis=0).all()


def test_labels_keep_their_shares_and_seeds_differ():
    targets = long_tail(4000)
    drawn = [label_subset(targets, 0.1, seed) for seed in range(40)]
    np.testing.assert_array_equal(drawn[3], label_subset(targets, 0.1, 3))
    assert not np.array_equal(drawn[0], drawn[1])
    shares = np.mean([targets[rows].mean(axis=0) for rows in drawn], axis=0)
    np.testing.assert_allclose(shares, targets.mean(axis=0), atol=0.01)
    # Records are drawn about equally often: each is in a tenth of the subsets.
    often = np.bincount(np.concatenate(drawn), minlength=4000)
    assert often.max() < 20
    assert often.mean() == pytest.approx(4.0)


def test_more_labels_than_records_keep_as_many_as_can_be():
    targets = np.eye(20, dtype=bool).repeat(10, axis=0)  # 20 labels, no record has two
    rows = label_subset(targets, 0.04, 0)
    assert len(rows) == 8
    assert targets[rows].any(axis=0).sum() == 8


def test_all_and_next_to_nothing():
    targets = long_tail(50)
    np.testing.assert_array_equal(label_subset(targets, 1.0, 5), np.arange(50))
    assert len(label_subset(targets, 0.001, 0)) == 1
    for fraction in (0.0, 1.5, -0.1):
        with pytest.raises(ValueError, match="more than 0 and at most 1"):
            label_subset(targets, fraction, 0)
