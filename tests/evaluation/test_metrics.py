"""Ranking metrics against scikit-learn and against closed forms."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from merit_hf.evaluation.metrics import LabelRanking, auroc, average_precision, ranking_metrics


def drawn(seed: int, records: int, labels: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.random((records, labels)) < generator.uniform(0.05, 0.6, labels)
    targets[0], targets[1] = True, False
    scores = generator.normal(size=(records, labels)) + targets
    return targets, np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("records", [2, 7, 400])
def test_equal_to_scikit_learn(records, ties):
    targets, scores = drawn(records, records, 6, ties)
    names = [f"label {column}" for column in range(6)]
    found = ranking_metrics(targets, scores, names)
    expected_auroc = [roc_auc_score(targets[:, k], scores[:, k]) for k in range(6)]
    expected_auprc = [average_precision_score(targets[:, k], scores[:, k]) for k in range(6)]
    np.testing.assert_allclose([found.per_label[name].auroc for name in names], expected_auroc, atol=1e-12)
    np.testing.assert_allclose([found.per_label[name].auprc for name in names], expected_auprc, atol=1e-12)
    assert found.macro_auroc == pytest.approx(np.mean(expected_auroc), abs=1e-12)
    assert found.macro_auprc == pytest.approx(np.mean(expected_auprc), abs=1e-12)
    assert [found.per_label[name].positives for name in names] == targets.sum(axis=0).tolist()


@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_repetitions(ties):
    targets, scores = drawn(5, 60, 1, ties)
    targets, scores = targets[:, 0], scores[:, 0]
    weights = np.random.default_rng(6).integers(0, 4, size=(60, 8))
    weights[:2] = 1  # one positive and one negative at least
    curve = LabelRanking(targets, scores).curve(weights)
    found_auroc, found_auprc = curve.auroc(), curve.auprc()
    for column in range(8):
        rows = np.repeat(np.arange(60), weights[:, column])
        assert found_auroc[column] == pytest.approx(roc_auc_score(targets[rows], scores[rows]), abs=1e-12)
        assert found_auprc[column] == pytest.approx(average_precision_score(targets[rows], scores[rows]), abs=1e-12)


def test_known_values():
    targets = np.array([1, 1, 0, 0])
    assert auroc(targets, np.array([4.0, 3.0, 2.0, 1.0])) == 1.0
    assert auroc(targets, np.array([1.0, 2.0, 3.0, 4.0])) == 0.0
    assert auroc(targets, np.zeros(4)) == 0.5
    assert average_precision(targets, np.zeros(4)) == 0.5  # all at one threshold: the share of positives
    assert average_precision(targets, np.array([4.0, 1.0, 3.0, 2.0])) == pytest.approx((1 + 2 / 4) / 2)


def test_labels_without_both_classes_are_left_out_and_listed():
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    found = ranking_metrics(targets, np.arange(9.0).reshape(3, 3), ["A", "B", "C"])
    assert list(found.per_label) == ["A"]
    assert found.excluded == {"B": "no positives", "C": "no negatives"}
    assert found.macro_auroc == found.per_label["A"].auroc


@pytest.mark.parametrize(
    ("targets", "scores", "names", "message"),
    [
        ([[1, 0], [0, 1]], [[0.1, np.nan], [0.2, 0.3]], ["A", "B"], "record 0, label 'B'"),
        ([[1, 0], [0, 1]], [[0.1], [0.2]], ["A", "B"], r"\(2, 1\)"),
        ([[1, 2], [0, 1]], [[0.1, 0.2], [0.2, 0.3]], ["A", "B"], "0 or 1"),
        ([[1, 0], [0, 1]], [[0.1, 0.2], [0.2, 0.3]], ["A", "A"], "distinct"),
        ([[1], [1]], [[0.1], [0.2]], ["A"], "no negatives"),
    ],
)
def test_bad_input_is_named(targets, scores, names, message):
    with pytest.raises(ValueError, match=message):
        ranking_metrics(np.array(targets), np.array(scores), names)
