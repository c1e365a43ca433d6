"""Calibration against plain loops, scikit-learn's logistic regression, and models whose calibration is known."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from merit_hf.evaluation.metrics.calibration import fit_platt, fit_temperature, logits
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate


def drawn(records: int, slope: float = 1.0, intercept: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets of three labels, and probabilities whose true value is sigmoid(slope * z + intercept)."""
    generator = np.random.default_rng(seed)
    z = generator.normal(0, 1.5, size=(records, 3)) - 1
    return generator.random(z.shape) < expit(slope * z + intercept), expit(z)


def metric_of(name: str, targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """A metric of every label (labels,)."""
    (values,) = evaluate([MultilabelMetrics(targets, probabilities, probabilities={"": probabilities}, only=[name])])
    return values.per_label[name][:, 0]


def plain_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    total = 0.0
    for number in range(15):
        inside = [row for row, p in enumerate(probabilities) if int(p * 15) == number or (number == 14 and p == 1.0)]
        if inside:
            total += len(inside) * abs(np.mean(probabilities[inside]) - np.mean(targets[inside]))
    return total / len(targets)


@pytest.mark.parametrize("records", [4, 7, 300])
def test_scores_are_those_of_a_plain_loop(records):
    targets, probabilities = drawn(records, seed=records)
    probabilities[0] = [0.0, 1.0, 0.2]
    targets[0], targets[1] = True, False
    found_error = metric_of("expected_calibration_error", targets, probabilities)
    found_brier = metric_of("brier", targets, probabilities)
    for column in range(3):
        assert found_error[column] == pytest.approx(
            plain_error(targets[:, column], probabilities[:, column]), abs=1e-12
        )
        assert found_brier[column] == pytest.approx(
            brier_score_loss(targets[:, column], probabilities[:, column], labels=[False, True]), abs=1e-12
        )


def test_temperature_is_found_again_and_has_the_least_log_loss():
    targets, probabilities = drawn(20000, slope=0.5)
    calibration = fit_temperature(targets, probabilities, ["A", "B", "C"])
    assert calibration.left_alone == []
    assert 1 / calibration.slopes[0] == pytest.approx(2.0, rel=0.05)
    assert (calibration.slopes == calibration.slopes[0]).all()
    assert not calibration.intercepts.any()

    def loss(slope):
        return log_loss(targets.ravel(), expit(slope * logit(probabilities)).ravel())

    least = loss(calibration.slopes[0])
    assert least <= min(loss(calibration.slopes[0] * factor) for factor in (0.98, 1.02))
    fresh_targets, fresh = drawn(20000, slope=0.5, seed=1)
    assert (metric_of("expected_calibration_error", fresh_targets, calibration(fresh)) < 0.02).all()
    assert (metric_of("expected_calibration_error", fresh_targets, fresh) > 0.04).all()


def test_platt_is_the_weighted_logistic_regression_of_scikit_learn():
    targets, probabilities = drawn(400, slope=0.7, intercept=-0.5)
    calibration = fit_platt(targets, probabilities, ["A", "B", "C"])
    for column in range(3):
        label, z = targets[:, column], logits(probabilities[:, column])
        positives, negatives = label.sum(), (~label).sum()
        wanted = np.where(label, (positives + 1) / (positives + 2), 1 / (negatives + 2))
        # Every record once as a positive and once as a negative, weighted by its target.
        reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(
            np.concatenate([z, z])[:, None],
            np.repeat([1, 0], len(z)),
            sample_weight=np.concatenate([wanted, 1 - wanted]),
        )
        assert calibration.slopes[column] == pytest.approx(reference.coef_[0, 0], abs=1e-4)
        assert calibration.intercepts[column] == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_labels_that_validation_says_nothing_about_are_left_alone_and_named():
    targets, probabilities = drawn(200, slope=0.5)
    targets[:, 1], targets[:, 2] = False, True
    for fit in (fit_temperature, fit_platt):
        assert fit(targets, probabilities, ["A", "B", "C"]).left_alone == ["B", "C"]
    platt = fit_platt(targets, probabilities, ["A", "B", "C"])
    np.testing.assert_allclose(platt(probabilities)[:, 1:], probabilities[:, 1:], atol=1e-12)
    # The temperature is that of the label that says something.
    alone = fit_temperature(targets[:, :1], probabilities[:, :1], ["A"])
    assert fit_temperature(targets, probabilities, ["A", "B", "C"]).slopes[0] == alone.slopes[0]
    none = fit_temperature(targets[:, 1:], probabilities[:, 1:], ["B", "C"])
    assert (none.slopes == 1.0).all()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_degenerate_probabilities_stay_finite(probability):
    targets = np.array([[1], [0], [0], [0]], dtype=bool)
    constant = np.full((4, 1), probability)
    separated = np.where(targets, 1.0, 0.0)
    for fit in (fit_temperature, fit_platt):
        for probabilities in (constant, separated):
            calibrated = fit(targets, probabilities, ["A"])(probabilities)
            assert np.isfinite(calibrated).all()
            assert ((calibrated >= 0) & (calibrated <= 1)).all()
    # Constant scores can only be given the prior, here the mean of Platt's targets: (2/3 + 3/5) / 4.
    assert fit_platt(targets, constant, ["A"])(constant) == pytest.approx(np.full((4, 1), (2 / 3 + 3 / 5) / 4))
