"""What is fitted on features: the grid against scikit-learn, and that validation alone chooses."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from merit_hf import MeritEcgConfig
from merit_hf.evaluation.probes.heads import GRID, fit_chosen, fit_probe, macro_auroc_of_columns
from merit_hf.modeling_merit import MeritClassificationHead

LABELS = ["A", "B", "C"]


def made_up(num_records: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((num_records, 20))
    direction = np.random.default_rng(7).standard_normal((20, 3))
    logits = features @ direction + noise * generator.logistic(size=(num_records, 3))
    return features * np.geomspace(0.01, 10, 20), logits > np.array([0.0, 4.0, 7.0])


def test_the_grid_and_its_choice_are_those_of_scikit_learn():
    (features, targets), (val_features, val_targets) = made_up(150, 0), made_up(120, 1)
    probe = fit_probe(features, targets, val_features, val_targets, LABELS)
    scores, probabilities = [], []
    for entry in GRID:
        scaler = StandardScaler(with_mean=entry["scaler"], with_std=entry["scaler"]).fit(features)
        weight = None if entry["class_weight"] == "none" else entry["class_weight"]
        models = [
            LogisticRegression(C=entry["C"], class_weight=weight, solver="newton-cholesky", tol=1e-8).fit(
                scaler.transform(features), targets[:, label]
            )
            for label in range(3)
        ]
        found = np.stack([model.predict_proba(scaler.transform(val_features))[:, 1] for model in models], axis=1)
        probabilities.append(found)
        scores.append(roc_auc_score(val_targets, found, average="macro"))
    assert len({tuple(entry.values()) for entry in GRID}) == 16
    best = int(np.argmax(scores))
    assert probe.validation_macro_auroc == pytest.approx(max(scores), abs=1e-3)
    assert scores[GRID.index(probe.choice)] == pytest.approx(scores[best], abs=1e-3)
    np.testing.assert_allclose(probe.probabilities(val_features), probabilities[GRID.index(probe.choice)], atol=1e-3)
    again = fit_chosen(features, targets, LABELS, probe.choice)
    np.testing.assert_allclose(again.probabilities(val_features), probe.probabilities(val_features), atol=1e-6)


def test_macro_auroc_of_many_score_sets_is_scikit_learns():
    generator = np.random.default_rng(0)
    targets = generator.random((60, 4)) < 0.3
    targets[:, 3] = False
    scores = generator.integers(0, 8, (60, 5, 4)) / 8.0  # with ties
    expected = [roc_auc_score(targets[:, :3], scores[:, each, :3], average="macro") for each in range(5)]
    np.testing.assert_allclose(macro_auroc_of_columns(targets, scores), expected, atol=1e-12)


def test_labels_of_one_class_get_a_constant_and_are_named():
    (features, targets), (val_features, val_targets) = made_up(80, 0), made_up(80, 1)
    targets[:, 1], targets[:, 2] = False, True
    targets[0, 2] = True
    probe = fit_probe(features, targets, val_features, val_targets, LABELS)
    assert probe.constants == {"B": 0.5 / 81, "C": 80.5 / 81}
    found = probe.probabilities(val_features)
    assert set(found[:, 1]) == {0.5 / 81}
    assert np.std(found[:, 0]) > 0.01
    targets[:, 0] = False
    with pytest.raises(ValueError, match="there is nothing to learn"):
        fit_probe(features, targets, val_features, val_targets, LABELS)
    good = made_up(80, 0)[1]
    with pytest.raises(ValueError, match="nothing can be chosen"):
        fit_probe(features, good, val_features, np.zeros_like(val_targets), LABELS)
    with pytest.raises(ValueError, match="expected one of linear, mlp"):
        fit_probe(features, good, val_features, val_targets, LABELS, head="cnn")


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_head_learns_and_chance_follows_from_the_seed(head):
    (features, targets), (val_features, val_targets) = made_up(300, 0), made_up(200, 1)
    test_features, test_targets = made_up(300, 2)
    state = torch.random.get_rng_state()
    probe = fit_probe(features, targets, val_features, val_targets, LABELS, head=head, seed=1)
    again = fit_probe(features, targets, val_features, val_targets, LABELS, head=head, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    found = probe.probabilities(test_features)
    np.testing.assert_array_equal(found, again.probabilities(test_features))
    assert roc_auc_score(test_targets, found, average="macro") > 0.85
    other = fit_probe(features, targets, val_features, val_targets, LABELS, head=head, seed=2)
    assert np.array_equal(found, other.probabilities(test_features)) == (head == "linear")


def test_the_network_is_the_head_of_the_classifier():
    (features, targets), (val_features, val_targets) = made_up(60, 0), made_up(60, 1)
    network = fit_probe(features, targets, val_features, val_targets, LABELS, head="mlp").fitted.network
    config = MeritEcgConfig(hidden_size=20, num_attention_heads=2, num_labels=3, classifier_head="mlp")
    head = MeritClassificationHead(config)
    assert str(list(network)) == str(list(head.eval()))
    # The names under which checkpoints save it.
    assert {name for name, _ in head.named_parameters()} == {
        f"{layer}.{kind}" for layer in (0, 2, 4, 6) for kind in ("weight", "bias")
    }
