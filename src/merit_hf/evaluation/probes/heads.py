"""What is fitted on frozen features: a logistic regression with its grid, or a small network, chosen by validation.

Features and targets come as arrays; corpora, subsets and results are in linear_probe.py.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from scipy.stats import rankdata
from torch import nn

from merit_hf.modeling_merit import mlp_head_layers

from .logistic_regression import LogisticWeights, fit_logistic

HEADS = ("linear", "mlp")
SCALERS = (False, True)
PENALTIES = (0.01, 0.1, 1.0, 10.0)
CLASS_WEIGHTS = ("none", "balanced")
# In this order: of equal choices the first is taken, so the stronger penalty.
GRID = [
    {"scaler": scaler, "C": C, "class_weight": class_weight}
    for C, scaler, class_weight in itertools.product(PENALTIES, SCALERS, CLASS_WEIGHTS)
]

MLP_LEARNING_RATE = 1e-3
MLP_WEIGHT_DECAY = 1e-2
MLP_BATCH_SIZE = 128
MLP_MAX_EPOCHS = 100
MLP_PATIENCE = 15  # epochs without a better validation score


class NothingToLearn(ValueError):
    """The labels at hand leave nothing that a head could be fitted on or chosen by."""


@dataclass(frozen=True)
class FittedProbe:
    """A head fitted on frozen features.

    Attributes:
        label_names: one a column.
        choice: what validation chose; scaler, C and class_weight of the linear head, epochs of the network.
        constants: probability of every label that training records did not tell apart, as all or none carry it.
        validation_macro_auroc: of the choice; None where it was not made here.
    """

    label_names: list[str]
    choice: dict[str, Any]
    constants: dict[str, float]
    validation_macro_auroc: float | None
    fitted: Callable[[np.ndarray], np.ndarray]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float64 (records, labels) of features (records, size)."""
        features = np.asarray(features, dtype=np.float64)
        columns = [column for column, name in enumerate(self.label_names) if name not in self.constants]
        probabilities = np.empty((len(features), len(self.label_names)))
        probabilities[:, columns] = self.fitted(features)
        for column, name in enumerate(self.label_names):
            if name in self.constants:
                probabilities[:, column] = self.constants[name]
        return probabilities


def fit_probe(
    train_features: np.ndarray,
    train_targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    label_names: Sequence[str],
    *,
    head: str = "linear",
    seed: int = 0,
) -> FittedProbe:
    """The head of the grid with the best macro AUROC on validation records.

    Args:
        train_features, validation_features: float (records, size).
        train_targets, validation_targets: bool (records, labels).
        label_names: one a column.
        head: "linear", logistic regressions: scaler off/on x C x class weight, one choice for all labels. "mlp",
            BN-Dropout .25-Linear 256-ReLU-BN-Dropout .5-Linear: validation says after how many epochs to stop.
        seed: of the network's weights and batches; the linear head has no chance in it.

    Raises:
        NothingToLearn: no label has both classes among the training or among the validation records, or the mlp head
            has fewer than 2 records.
        ValueError: an unknown head.
    """
    label_names = list(label_names)
    train_targets = np.asarray(train_targets, dtype=bool)
    validation_targets = np.asarray(validation_targets, dtype=bool)
    constants = _constant_labels(train_targets, label_names)
    columns = [column for column, name in enumerate(label_names) if name not in constants]
    judged = validation_targets[:, columns]
    if not (judged.any(axis=0) & ~judged.all(axis=0)).any():
        raise NothingToLearn(
            f"none of the labels {_some([label_names[c] for c in columns])} has positives and negatives among the "
            f"{len(judged)} validation records, so nothing can be chosen by them"
        )
    fitted: _Linear | _Mlp
    if head == "mlp":
        chosen = _fit_mlp(train_features, train_targets[:, columns], seed, (validation_features, judged))
        choice, score, fitted = {"epochs": chosen[1]}, chosen[2], chosen[0]
    elif head == "linear":
        choice, score, fitted = _choose_linear(train_features, train_targets[:, columns], validation_features, judged)
    else:
        raise ValueError(f"head is {head!r}, expected one of {', '.join(HEADS)}")
    return FittedProbe(label_names, choice, constants, score, fitted)


def fit_chosen(
    features: np.ndarray,
    targets: np.ndarray,
    label_names: Sequence[str],
    choice: dict[str, Any],
    *,
    head: str = "linear",
    seed: int = 0,
) -> FittedProbe:
    """A head with a choice that was made before, e.g. `fit_probe(...).choice`; arguments as there."""
    label_names, targets = list(label_names), np.asarray(targets, dtype=bool)
    constants = _constant_labels(targets, label_names)
    learned = targets[:, [column for column, name in enumerate(label_names) if name not in constants]]
    fitted: _Linear | _Mlp
    if head == "mlp":
        fitted = _fit_mlp(features, learned, seed, epochs=choice["epochs"])[0]
    else:
        fitted = _fit_grid(features, learned, [choice])[0]
    return FittedProbe(label_names, dict(choice), constants, None, fitted)


def _constant_labels(targets: np.ndarray, label_names: Sequence[str]) -> dict[str, float]:
    """Labels of one class only, with the probability they get: (positives + 1/2) / (records + 1)."""
    counts = targets.sum(axis=0)
    constants = {
        name: (float(count) + 0.5) / (len(targets) + 1.0)
        for name, count in zip(label_names, counts, strict=True)
        if count in (0, len(targets))
    }
    if len(constants) == len(label_names):
        raise NothingToLearn(
            f"none of the labels {_some(label_names)} has both positives and negatives among the {len(targets)} "
            "training records, so there is nothing to learn; use a larger fraction or another task"
        )
    return constants


def _some(label_names: Sequence[str], most: int = 5) -> str:
    """Label names for a message; of many only the first."""
    more = len(label_names) - most
    return ", ".join(label_names[:most]) + (f" and {more} more" if more > 0 else "")


def macro_auroc_of_columns(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Macro AUROC of several score sets at once, by the rank sums of the positives (ties at their mean rank).

    Args:
        targets: bool (records, labels); labels without positives or negatives are left out.
        scores: float (records, sets, labels).

    Returns:
        float64 (sets,).
    """
    positives = targets.sum(axis=0)
    scorable = (positives > 0) & (positives < len(targets))
    targets, positives = targets[:, scorable], positives[scorable]
    ranks = rankdata(scores[:, :, scorable], axis=0)
    sums = np.einsum("rsl,rl->sl", ranks, targets)
    return ((sums - positives * (positives + 1) / 2) / (positives * (len(targets) - positives))).mean(axis=1)


# -- the linear head


@dataclass(frozen=True)
class _Linear:
    mean: np.ndarray
    scale: np.ndarray
    weights: LogisticWeights

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return expit(self.weights.logits((features - self.mean) / self.scale))


def _fit_grid(features: np.ndarray, targets: np.ndarray, grid: Sequence[dict[str, Any]]) -> list[_Linear]:
    """One fit of all labels for each entry of the grid, in its order."""
    features = np.asarray(features, dtype=np.float64)
    num_labels = targets.shape[1]
    fits: dict[int, _Linear] = {}
    for scaler in SCALERS:
        places = [place for place, entry in enumerate(grid) if entry["scaler"] is scaler]
        if not places:
            continue
        mean, scale = np.zeros(features.shape[1]), np.ones(features.shape[1])
        if scaler:
            mean, deviation = features.mean(axis=0), features.std(axis=0)
            scale = np.where(deviation > 0, deviation, 1.0)
        found = fit_logistic(
            (features - mean) / scale,
            np.tile(targets, (1, len(places))),
            np.repeat([grid[place]["C"] for place in places], num_labels),
            np.repeat([grid[place]["class_weight"] == "balanced" for place in places], num_labels),
        )
        for number, place in enumerate(places):
            part = slice(number * num_labels, (number + 1) * num_labels)
            weights = LogisticWeights(found.weights[:, part], found.intercepts[part], found.converged[part])
            fits[place] = _Linear(mean, scale, weights)
    return [fits[place] for place in range(len(grid))]


def _choose_linear(
    features: np.ndarray, targets: np.ndarray, validation_features: np.ndarray, validation_targets: np.ndarray
) -> tuple[dict[str, Any], float, _Linear]:
    fits = _fit_grid(features, targets, GRID)
    validation_features = np.asarray(validation_features, dtype=np.float64)
    scores = np.stack([fit(validation_features) for fit in fits], axis=1)
    values = macro_auroc_of_columns(validation_targets, scores)
    best = int(values.argmax())
    return dict(GRID[best]), float(values[best]), fits[best]


# -- the network


@dataclass(frozen=True)
class _Mlp:
    network: nn.Sequential

    def __call__(self, features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = self.network(torch.as_tensor(features, dtype=torch.float32))
        return torch.sigmoid(logits.double()).numpy()


def _fit_mlp(
    features: np.ndarray,
    targets: np.ndarray,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    epochs: int = MLP_MAX_EPOCHS,
) -> tuple[_Mlp, int, float]:
    """The network, its epochs, and its validation macro AUROC (NaN without validation, which nobody is shown)."""
    if len(features) < 2:
        raise NothingToLearn(f"the mlp head needs at least 2 training records, got {len(features)}; use --head linear")
    values = torch.as_tensor(np.asarray(features), dtype=torch.float32)
    labels = torch.as_tensor(targets, dtype=torch.float32)
    best_score, best_epoch, best_state = -np.inf, 0, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(*mlp_head_layers(values.shape[1], labels.shape[1]))
        optimizer = torch.optim.AdamW(network.parameters(), lr=MLP_LEARNING_RATE, weight_decay=MLP_WEIGHT_DECAY)
        for epoch in range(1, epochs + 1):
            network.train()
            for rows in torch.randperm(len(values)).split(MLP_BATCH_SIZE):
                if len(rows) == 1:  # batch norm has no deviation of one record
                    continue
                loss = nn.functional.binary_cross_entropy_with_logits(network(values[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if validation is None:
                continue
            network.eval()
            scores = _Mlp(network)(validation[0])
            score = float(macro_auroc_of_columns(validation[1], scores[:, None])[0])
            if score > best_score:
                best_score, best_epoch, best_state = score, epoch, copy.deepcopy(network.state_dict())
            elif epoch - best_epoch >= MLP_PATIENCE:
                break
    if best_state is not None:
        network.load_state_dict(best_state)
    return _Mlp(network.eval()), best_epoch or epochs, best_score
