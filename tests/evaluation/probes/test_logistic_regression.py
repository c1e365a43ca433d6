"""Many logistic regressions at once against scikit-learn, one at a time."""

import logging

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from merit_hf.evaluation.probes.logistic_regression import _inverse_hessian, balanced_weights, fit_logistic


def problem(num_records: int, num_features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of unlike scales around unlike means, and three labels, one of them rare."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((num_features, num_features)) / np.sqrt(num_features)
    features = generator.standard_normal((num_records, num_features)) @ mixing
    features = features * 10 ** generator.uniform(-1, 1, num_features) + generator.normal(0, 5, num_features)
    logits = (features - features.mean(0)) / features.std(0) @ generator.standard_normal((num_features, 3))
    targets = logits / logits.std(0) + generator.logistic(size=logits.shape) > np.array([0.0, 1.0, 3.0])
    return features, targets


@pytest.mark.parametrize(("num_records", "num_features"), [(300, 12), (60, 200), (18, 40)])
def test_probabilities_are_those_of_scikit_learn(num_records, num_features):
    features, targets = problem(num_records + 100, num_features)
    features, test, targets = features[:num_records], features[num_records:], targets[:num_records]
    targets[:2, 2] = [True, False]
    grid = [(C, balanced) for C in (0.01, 0.1, 1.0, 10.0) for balanced in (False, True)]
    fitted = fit_logistic(
        features,
        np.tile(targets, (1, len(grid))),
        np.repeat([C for C, _ in grid], 3),
        np.repeat([balanced for _, balanced in grid], 3),
    )
    assert fitted.converged.all()
    found = expit(fitted.logits(test)).reshape(len(test), len(grid), 3)
    for number, (C, balanced) in enumerate(grid):
        for label in range(3):
            reference = LogisticRegression(
                C=C, class_weight="balanced" if balanced else None, tol=1e-8, max_iter=20_000
            ).fit(features, targets[:, label])
            expected = reference.predict_proba(test)[:, 1]
            np.testing.assert_allclose(found[:, number, label], expected, atol=1e-3)


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_sample_weight

    targets = problem(50, 4)[1]
    expected = [compute_sample_weight("balanced", column) for column in targets.T]
    np.testing.assert_allclose(balanced_weights(targets), np.transpose(expected))


def test_features_that_do_not_vary_or_stand_twice_change_nothing():
    features, targets = problem(80, 5)
    plain = fit_logistic(features, targets, [1.0] * 3, [False] * 3)
    constant = np.full((80, 1), 7.0)
    more = fit_logistic(np.hstack([features, constant]), targets, [1.0] * 3, [False] * 3)
    np.testing.assert_allclose(
        expit(more.logits(np.hstack([features, constant]))), expit(plain.logits(features)), atol=1e-3
    )
    # Twice the same feature halves its penalty: as if it were scaled by the root of two.
    twice = fit_logistic(np.hstack([features, features]), targets, [1.0] * 3, [False] * 3)
    scaled = fit_logistic(features * np.sqrt(2), targets, [1.0] * 3, [False] * 3)
    np.testing.assert_allclose(
        expit(twice.logits(np.hstack([features, features]))), expit(scaled.logits(features * np.sqrt(2))), atol=1e-3
    )


def test_features_of_zero_leave_the_intercept():
    targets = problem(40, 3)[1]
    fitted = fit_logistic(np.zeros((40, 3)), targets, [1.0] * 3, [False] * 3)
    np.testing.assert_allclose(expit(fitted.logits(np.zeros((1, 3))))[0], targets.mean(axis=0), atol=1e-4)


def test_what_cannot_be_fitted_is_refused(caplog):
    features, targets = problem(40, 3)
    with pytest.raises(ValueError, match="column 1 of targets has 0 positives in 40 records"):
        fit_logistic(features, np.stack([targets[:, 0], np.zeros(40)], axis=1), [1.0] * 2, [False] * 2)
    with pytest.raises(ValueError, match="1 that are not"):
        fit_logistic(np.where(np.arange(120).reshape(40, 3) == 5, np.nan, features), targets, [1.0] * 3, [False] * 3)
    with pytest.raises(ValueError, match="penalties positive"):
        fit_logistic(features, targets, [1.0, 0.0, 1.0], [False] * 3)
    with pytest.raises(ValueError, match=r"got \(40, 3\) and \(39, 3\)"):
        fit_logistic(features, targets[1:], [1.0] * 3, [False] * 3)
    with caplog.at_level(logging.WARNING):
        fit_logistic(features, targets, [10.0] * 3, [False] * 3, max_iterations=1)
    assert "did not converge" in caplog.text


def test_a_step_that_changed_nothing_but_rounding_is_not_remembered():
    generator = torch.Generator().manual_seed(0)
    gradient, curvature, step = (torch.rand(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    change = 2.0 * step
    known = _inverse_hessian(gradient, [step], [change], curvature)
    # In the middle problem the second step was so short that the gradient moved by rounding alone, against the step.
    second, moved = step.flip(0).clone(), (2.0 * step.flip(0)).clone()
    second[:, 1], moved[:, 1] = 1e-12, -1e-16
    both = _inverse_hessian(gradient, [step, second], [change, moved], curvature)
    assert torch.equal(both[:, 1], known[:, 1])
    assert not torch.equal(both[:, 0], known[:, 0])
