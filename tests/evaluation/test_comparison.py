"""Comparison of two models: what treats both alike, the error rates of test and interval, and words from numbers."""

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from merit_hf.evaluation.comparison import compare_predictions, comparison_metrics, named_verdict, verdict
from merit_hf.evaluation.predictions import Predictions
from merit_hf.evaluation.results import Comparison, Interval


def predictions_from(targets, scores, score_kind="similarity", patient_ids=None) -> Predictions:
    ids = [str(record) for record in range(len(targets))]
    names = [f"label {column}" for column in range(targets.shape[1])]
    return Predictions(ids, patient_ids or [None] * len(ids), names, targets, scores, score_kind)


def drawn(seed: int, records: int = 150, gain: float = 0.0, models: int = 2) -> tuple[np.ndarray, list[np.ndarray]]:
    """Targets of two labels, and scores of models of which the first is better by `gain`."""
    generator = np.random.default_rng(seed)
    targets = np.zeros((records, 2), dtype=bool)
    targets[: records // 2, 0] = True
    targets[records // 4 : 3 * records // 4, 1] = True
    common = generator.normal(size=targets.shape) + targets
    scores = [common + generator.normal(size=targets.shape) for _ in range(models)]
    scores[0] = scores[0] + gain * targets
    return targets, scores


def probabilities(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(1 - scores))


@pytest.mark.parametrize("metric", comparison_metrics("probability"))
def test_a_better_model_is_called_better_from_either_side(metric):
    targets, (good, _) = drawn(0, records=300, gain=2.0)
    poor = np.random.default_rng(1).normal(size=good.shape)
    a, b = (predictions_from(targets, probabilities(scores), "probability") for scores in (good - 1, poor))
    ours = compare_predictions(a, b, metric=metric, num_resamples=100, num_permutations=100)
    theirs = compare_predictions(b, a, metric=metric, num_resamples=100, num_permutations=100)
    assert (ours.verdict, theirs.verdict) == ("A is better", "B is better")
    assert ours.difference == pytest.approx(-theirs.difference, abs=1e-12)
    assert ours.ci_low == pytest.approx(-theirs.ci_high, abs=1e-12)
    assert ours.p_value == theirs.p_value == pytest.approx(1 / 101)
    assert ours.difference == ours.a - ours.b


@pytest.mark.parametrize("metric", comparison_metrics("probability"))
def test_a_model_is_as_good_as_itself(metric):
    targets, (scores, _) = drawn(0)
    predictions = predictions_from(targets, probabilities(scores), "probability")
    result = compare_predictions(predictions, predictions, metric=metric, num_resamples=20, num_permutations=20)
    assert (result.difference, result.ci_low, result.ci_high, result.p_value) == (0, 0, 0, 1)
    assert result.verdict == "within noise"


def test_the_permutation_test_is_that_of_a_plain_loop():
    targets, scores = drawn(3, records=60, gain=0.0)
    result = compare_predictions(
        *(predictions_from(targets, each) for each in scores), num_resamples=10, num_permutations=2000
    )
    generator = np.random.default_rng(9)
    first, second = (rankdata(each, axis=0) for each in scores)
    observed = roc_auc_score(targets, scores[0]) - roc_auc_score(targets, scores[1])
    assert result.difference == pytest.approx(observed, abs=1e-12)
    extreme = 0
    for _ in range(200):
        swap = generator.integers(2, size=(60, 1)).astype(bool)
        difference = roc_auc_score(targets, np.where(swap, second, first)) - roc_auc_score(
            targets, np.where(swap, first, second)
        )
        extreme += abs(difference) >= abs(observed)
    assert 0.02 < result.p_value < 0.98
    assert result.p_value == pytest.approx(extreme / 200, abs=0.1)


def test_false_positives_of_the_test_and_coverage_of_the_interval():
    # Equally good models of which one has scores on another scale: 500 drawings, so 0.02 is two standard errors.
    false_positives = covered = 0
    for seed in range(500):
        targets, (first, second) = drawn(seed, records=120)
        a, b = predictions_from(targets, first), predictions_from(targets, np.exp(3 * second))
        result = compare_predictions(a, b, num_resamples=200, num_permutations=199, seed=seed)
        false_positives += result.p_value <= 0.05
        covered += result.ci_low <= 0 <= result.ci_high
    assert 0.03 <= false_positives / 500 <= 0.07
    assert 0.925 <= covered / 500 <= 0.97


def test_several_seeds_a_side():
    targets, scores = drawn(1, models=5)
    runs = [predictions_from(targets, each) for each in scores]
    result = compare_predictions(runs[:2], runs[2:], num_resamples=50, num_permutations=50)
    expected = [roc_auc_score(targets, each) for each in scores]
    assert result.a_values == pytest.approx(expected[:2])
    assert result.b_values == pytest.approx(expected[2:])
    assert result.difference == pytest.approx(np.mean(expected[:2]) - np.mean(expected[2:]))
    # One seed twice over is one seed.
    single = compare_predictions(runs[0], runs[1], num_resamples=50, num_permutations=50)
    double = compare_predictions([runs[0]] * 2, [runs[1]] * 2, num_resamples=50, num_permutations=50)
    for name in ("difference", "ci_low", "ci_high", "p_value"):
        assert getattr(single, name) == pytest.approx(getattr(double, name))


def test_patients_are_drawn_and_swapped_whole():
    # Every record three times over: by patient it is the evidence that it is, by record it would be three times that.
    targets, scores = drawn(5, records=60, gain=0.5)
    patients = [str(record) for record in range(60)]
    once = [predictions_from(targets, each) for each in scores]
    thrice = [
        predictions_from(np.repeat(targets, 3, axis=0), np.repeat(each, 3, axis=0), patient_ids=patients * 3)
        for each in scores
    ]
    thrice = [
        Predictions(
            run.ecg_ids, np.repeat(patients, 3).tolist(), run.label_names, run.targets, run.scores, "similarity"
        )
        for run in thrice
    ]
    options = {"num_resamples": 1000, "num_permutations": 1000}
    expected = compare_predictions(*once, **options)
    found = compare_predictions(*thrice, by_patient=True, **options)
    too_sure = compare_predictions(*thrice, **options)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.05)
    width, expected_width, too_narrow = (r.ci_high - r.ci_low for r in (found, expected, too_sure))
    assert width == pytest.approx(expected_width, rel=0.15)
    assert too_narrow == pytest.approx(expected_width / np.sqrt(3), rel=0.15)
    assert too_sure.p_value < found.p_value


def test_labels_are_left_out_and_listed():
    targets, scores = drawn(2)
    targets[:, 1] = False
    targets[0, 1] = True
    a, b = (predictions_from(targets, each) for each in scores)
    result = compare_predictions(a, b, num_resamples=20, num_permutations=20, min_positives=2)
    plain = result.as_plain()
    assert plain["labels"] == ["label 0"]
    assert plain["excluded_labels"] == {"label 1": {"positives": 1, "reason": "fewer than 2 positives"}}
    assert Comparison.from_plain(plain) == result
    assert result.a == pytest.approx(roc_auc_score(targets[:, 0], scores[0][:, 0]))


def test_words_follow_from_the_numbers():
    above, below, around = Interval(0.1, 0.02, 0.2), Interval(-0.1, -0.2, -0.02), Interval(0.1, -0.02, 0.2)
    assert verdict(above) == verdict(above, p_value=0.01) == "A is better"
    assert verdict(below, p_value=0.01) == "B is better"
    assert verdict(above, p_value=0.01, lower_is_better=True) == "B is better"
    assert verdict(around, p_value=0.01) == "within noise"
    assert verdict(above, p_value=0.06) == "within noise"
    assert verdict(above, p_value=0.06, confidence=0.9) == "A is better"


def test_a_verdict_names_models_whatever_they_are_called():
    # Names that hold the letters A and B themselves.
    for a, b in (("MASKED/BOTH", "B"), ("B", "A")):
        assert named_verdict("A is better", a, b) == f"{a} is better"
        assert named_verdict("B is better", a, b) == f"{b} is better"
        assert named_verdict("within noise", a, b) == "within noise"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy"}, "metric is 'accuracy', expected one of macro_auroc"),
        ({"metric": "brier"}, "metric is 'brier'.*of kind 'similarity'"),
        ({"records": 149}, "same records"),
        ({"labels": ["label 0", "MI"]}, r"same labels.*\['MI', 'label 1'\]"),
        ({"targets": "other"}, "same targets"),
        ({"targets": "none"}, "can be compared: .*no positives"),
        ({"num_permutations": 0}, "num_permutations must be at least 1"),
    ],
)
def test_bad_input_is_named(changes, message):
    targets, scores = drawn(0)
    a_targets = np.zeros_like(targets) if changes.get("targets") == "none" else targets
    a = predictions_from(a_targets, scores[0])
    b_targets = {"other": ~targets, "none": a_targets}.get(changes.pop("targets", ""), targets)
    records = changes.pop("records", 150)
    b = Predictions(
        a.ecg_ids[:records],
        a.patient_ids[:records],
        changes.pop("labels", a.label_names),
        b_targets[:records],
        scores[1][:records],
        "similarity",
    )
    with pytest.raises(ValueError, match=message):
        compare_predictions(a, b, **changes)
