"""Ranking metrics against scikit-learn and against closed forms."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate
from merit_hf.evaluation.metrics.ranking import LabelRanking, ranking_metrics


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


records_of_two_labels = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20
)


@settings(max_examples=60, deadline=None)
@given(records_of_two_labels)
def test_macro_and_micro_of_degenerate_inputs_equal_scikit_learn(records):
    # Few records and few different scores: ties, single positives and constant scores are the rule here.
    table = np.array(records)
    targets, scores = table[:, :2].astype(bool), table[:, 2:] / 5
    assume(targets.any(axis=0).all() and not targets.all(axis=0).any())
    thresholds = {"fixed": np.array([0.5, 0.5]), "val": np.array([0.4, 1.0])}
    metrics = MultilabelMetrics(targets, scores, thresholds=thresholds, probabilities={"": scores})
    found = {name: value[0] for name, value in evaluate([metrics])[0].over_labels(np.ones(2, dtype=bool)).items()}
    oracle = metrics.oracle_thresholds()
    for average in ("macro", "micro"):
        expected = {
            f"{average}_auroc": roc_auc_score(targets, scores, average=average),
            f"{average}_auprc": average_precision_score(targets, scores, average=average),
            **{
                f"{average}_f1_{rule}": f1_score(targets, scores >= chosen, average=average, zero_division=0)
                for rule, chosen in {**thresholds, "oracle": oracle}.items()
            },
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    brier = [brier_score_loss(targets[:, k], scores[:, k]) for k in range(2)]
    assert found["brier"] == pytest.approx(np.mean(brier), abs=1e-12)


def test_weights_that_differ_by_label_are_repetitions_in_micro_averages_too():
    targets, scores = drawn(8, 50, 3, ties=True)
    targets[:, 1] = False  # left out of the micro averages below
    targets[:2, 1] = [True, False]
    scores = (scores - scores.min()) / np.ptp(scores)
    weights = np.random.default_rng(6).integers(0, 4, size=(3, 50, 5))
    weights[:, :2] = 1
    kept = np.array([True, False, True])
    metrics = MultilabelMetrics(
        targets, scores, thresholds={"fixed": np.full(3, 0.5)}, probabilities={"": scores}, pooled=kept
    )
    (values,) = evaluate([metrics], lambda column: weights[column])
    for weighting in range(5):
        rows = [np.repeat(np.arange(50), weights[column, :, weighting]) for column in range(3)]
        pooled_targets = np.concatenate([targets[rows[k], k] for k in (0, 2)])
        pooled_scores = np.concatenate([scores[rows[k], k] for k in (0, 2)])
        expected = {
            "auroc": roc_auc_score(pooled_targets, pooled_scores),
            "auprc": average_precision_score(pooled_targets, pooled_scores),
            "f1_fixed": f1_score(pooled_targets, pooled_scores >= 0.5),
        }
        assert {name: values.micro[name][weighting] for name in expected} == pytest.approx(expected, abs=1e-12)
        for column in range(3):
            label_targets, label_scores = targets[rows[column], column], scores[rows[column], column]
            best = max(f1_score(label_targets, label_scores >= score) for score in np.unique(label_scores))
            line = {name: table[column, weighting] for name, table in values.per_label.items()}
            assert line["f1_oracle"] == pytest.approx(best, abs=1e-12)
            assert line["brier"] == pytest.approx(brier_score_loss(label_targets, label_scores), abs=1e-12)
            bins = np.minimum((label_scores * 15).astype(int), 14)
            gaps = [abs((label_scores - label_targets)[bins == number].sum()) for number in range(15)]
            error = sum(gaps) / len(label_targets)
            assert line["expected_calibration_error"] == pytest.approx(error, abs=1e-12)


def test_only_what_is_asked_for_is_computed():
    targets, scores = drawn(1, 30, 2, ties=False)
    (values,) = evaluate([MultilabelMetrics(targets, scores, only=["auprc"], pooled=np.zeros(2, dtype=bool))])
    assert list(values.per_label) == ["auprc"]
    assert values.micro == {}


def test_known_values():
    columns = {
        "perfect": [4.0, 3.0, 2.0, 1.0],
        "inverted": [1.0, 2.0, 3.0, 4.0],
        "constant": [0.0, 0.0, 0.0, 0.0],
        "mixed": [4.0, 1.0, 3.0, 2.0],
    }
    targets = np.tile([[1], [1], [0], [0]], (1, 4))
    found = ranking_metrics(targets, np.array(list(columns.values())).T, list(columns)).per_label
    assert [found[name].auroc for name in columns] == [1.0, 0.0, 0.5, 0.5]
    assert found["constant"].auprc == 0.5  # all at one threshold: the share of positives
    assert found["mixed"].auprc == pytest.approx((1 + 2 / 4) / 2)


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
