"""Logistic regressions by the hundred: every label with every penalty and weighting on the same features, at once.

Only the optimum is found here; heads.py chooses the penalty. The objective is scikit-learn's
`LogisticRegression`: C times the weighted log-losses plus half the squared weights, intercept not penalised.

Weights that are optimal lie in the span of the records, and there a rotation makes X'X diagonal. So the features are
rotated once (singular value decomposition), which leaves no more numbers than records and hands L-BFGS a curvature to
start from that is right but for the spread of p(1 - p). All problems go through the same two matrix products an
iteration; what has converged drops out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

HISTORY = 10  # pairs of steps and gradients that L-BFGS remembers
ROUGH_ITERATIONS = 60  # in single precision, whose products take a third of the time; most problems end there
SMALLEST_DESCENT = 1e-4  # share of the promised descent that a step must bring (Armijo)
SMALLEST_COSINE = 1e-8  # between a step and the change of the gradient along it; smaller ones are rounding
SMALLEST_SINGULAR_VALUE = 1e-10  # relative; smaller ones are rounding


@dataclass(frozen=True)
class LogisticWeights:
    """Logits are `features @ weights + intercepts`: weights (features, problems), intercepts (problems,)."""

    weights: np.ndarray
    intercepts: np.ndarray
    converged: np.ndarray  # bool (problems,)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (records, problems)."""
        return features @ self.weights + self.intercepts


def balanced_weights(targets: np.ndarray) -> np.ndarray:
    """Weights that give positives and negatives of each label the same sum: n / (2 n_class), as scikit-learn has it.

    Args:
        targets: bool (records, labels), both values in each column.
    """
    positives = targets.sum(axis=0)
    negatives = len(targets) - positives
    return np.where(targets, len(targets) / (2.0 * positives), len(targets) / (2.0 * negatives))


def fit_logistic(
    features: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float] | np.ndarray,
    balanced: Sequence[bool] | np.ndarray,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
) -> LogisticWeights:
    """The optimum of every problem.

    Args:
        features: float (records, features).
        targets: bool (records, problems); both values must occur in every column.
        penalties: C of each problem, positive; a smaller one penalises more.
        balanced: of each problem, whether classes are weighted to count alike (`balanced_weights`).
        tolerance: largest change of a probability of a training record that may still be left.
        max_iterations: of L-BFGS; problems that need more are logged and keep what they have.

    Raises:
        ValueError: shapes disagree, a column has one class only, features are not finite, or a penalty not positive.
    """
    features, targets = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=bool)
    C, balanced = np.asarray(penalties, dtype=np.float64), np.asarray(balanced, dtype=bool)
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            f"features must be (records, features) and targets (records, problems), got {features.shape} and "
            f"{targets.shape}"
        )
    if C.shape != targets.shape[1:] or balanced.shape != C.shape or not (C > 0).all():
        raise ValueError(f"penalties and balanced must be {targets.shape[1]} values, penalties positive, got {C}")
    if not np.isfinite(features).all():
        raise ValueError(f"features must be finite, got {np.count_nonzero(~np.isfinite(features))} that are not")
    counts = targets.sum(axis=0)
    if ((counts == 0) | (counts == len(targets))).any():
        column = int(np.argmax((counts == 0) | (counts == len(targets))))
        raise ValueError(
            f"column {column} of targets has {counts[column]} positives in {len(targets)} records; a logistic "
            "regression needs both classes"
        )
    mean = features.mean(axis=0)
    rotated, singular, rotation = _rotated(features - mean)
    weights, intercepts, converged = _minimise(rotated, singular, targets, C, balanced, tolerance, max_iterations)
    if not converged.all():
        logger.warning("%d of %d logistic regressions did not converge", (~converged).sum(), len(converged))
    in_features = rotation @ weights
    return LogisticWeights(in_features, intercepts - mean @ in_features, converged)


def _rotated(centred: np.ndarray) -> tuple[Tensor, Tensor, np.ndarray]:
    """(records, rank) features in their principal axes, their singular values (rank,), and the axes (features, rank).

    By the eigenvectors of the smaller Gram matrix, which is several times faster than a decomposition of the features.
    """
    wide = centred.shape[1] > centred.shape[0]
    gram = centred @ centred.T if wide else centred.T @ centred
    eigenvalues, vectors = np.linalg.eigh(gram)
    singular = np.sqrt(np.clip(eigenvalues, 0.0, None))
    # The Gram matrix squares what is small: below the root of the rounding error nothing can be told from zero.
    kept = singular > max(SMALLEST_SINGULAR_VALUE, np.sqrt(len(gram) * np.finfo(np.float64).eps)) * singular.max()
    singular, vectors = singular[kept], vectors[:, kept]
    axes = centred.T @ vectors / singular if wide else vectors
    return torch.from_numpy(centred @ axes), torch.from_numpy(singular), axes


def _minimise(
    rotated: Tensor,
    singular: Tensor,
    targets: np.ndarray,
    C: np.ndarray,
    balanced: np.ndarray,
    tolerance: float,
    max_iterations: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    num_records, rank = rotated.shape
    problems = len(C)
    # The intercept is one more column, of ones, without penalty.
    design = torch.cat([rotated, rotated.new_ones(num_records, 1)], dim=1)
    exact, design = design, design.float()
    penalised = torch.cat([rotated.new_ones(rank), rotated.new_zeros(1)])[:, None]
    labels = torch.from_numpy(targets)
    signs = torch.where(labels, 1.0, -1.0).to(torch.float64)
    counted = np.where(balanced, balanced_weights(targets), 1.0) * C
    record_weights = torch.from_numpy(counted)

    smallest_weight = record_weights.min(dim=0).values.sqrt()
    solution = rotated.new_zeros(rank + 1, problems)
    positive = (record_weights * labels).sum(0) / record_weights.sum(0)
    solution[-1] = torch.logit(positive)
    squares = torch.cat([singular.square(), singular.new_full((1,), num_records)])[:, None]

    done = torch.zeros(problems, dtype=torch.bool)
    active = torch.arange(problems)
    x, z = solution.clone(), exact @ solution
    s, w = signs, record_weights
    gradient, curvature = _gradient(design, x, z, s, w, penalised, squares)
    value = _value(x, z, s, w, penalised)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    for iteration in range(max_iterations):
        if iteration == ROUGH_ITERATIONS:
            design, z = exact, exact @ x
            gradient, curvature = _gradient(design, x, z, s, w, penalised, squares)
            value = _value(x, z, s, w, penalised)
        # Half of decrement² is about what the objective is above its optimum, which to second order is at least
        # w p(1 - p) / 2 times the square of any record's error in the logit: so no probability is off by more than
        # decrement / (2 sqrt(w)).
        decrement = (gradient.square() / curvature).sum(0).sqrt()
        finished = decrement <= 2.0 * tolerance * smallest_weight
        if finished.any():
            solution[:, active[finished]] = x[:, finished]
            done[active[finished]] = True
            left = ~finished
            active, x, z, s, w = active[left], x[:, left], z[:, left], s[:, left], w[:, left]
            gradient, value, curvature = gradient[:, left], value[left], curvature[:, left]
            smallest_weight = smallest_weight[left]
            steps, changes = [each[:, left] for each in steps], [each[:, left] for each in changes]
            if not len(active):
                break
        direction = -_inverse_hessian(gradient, steps, changes, curvature)
        slope = (gradient * direction).sum(0)
        along = (design @ direction.to(design.dtype)).double()
        length = torch.ones_like(value)
        for _ in range(30):
            moved_value = _value(x + length * direction, z + length * along, s, w, penalised)
            short = moved_value <= value + SMALLEST_DESCENT * length * slope + 1e-14 * value.abs()
            if short.all():
                break
            length = torch.where(short, length, length / 2)
        x, z, value = x + length * direction, z + length * along, moved_value
        previous = gradient
        gradient, curvature = _gradient(design, x, z, s, w, penalised, squares)
        steps = [*steps, length * direction][-HISTORY:]
        changes = [*changes, gradient - previous][-HISTORY:]
    solution[:, active] = x
    return solution[:-1].numpy(), solution[-1].numpy(), done.numpy()


def _gradient(
    design: Tensor, x: Tensor, z: Tensor, s: Tensor, w: Tensor, penalised: Tensor, squares: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient, and an estimate of the diagonal of the Hessian: as if p(1 - p) were the same for all records.

    With that, the columns of `design` being orthogonal, the Hessian would be diagonal.
    """
    misses = torch.sigmoid(-s * z)
    weighted = w * misses
    gradient = penalised * x - (design.T @ (s * weighted).to(design.dtype)).double()
    return gradient, penalised + squares * (weighted * (1 - misses)).mean(0)


def _value(x: Tensor, z: Tensor, s: Tensor, w: Tensor, penalised: Tensor) -> Tensor:
    losses = torch.nn.functional.softplus(-s * z)
    return (w * losses).sum(0) + 0.5 * (penalised * x.square()).sum(0)


def _inverse_hessian(gradient: Tensor, steps: list[Tensor], changes: list[Tensor], curvature: Tensor) -> Tensor:
    """The two loops of L-BFGS for all problems, from `curvature` on the diagonal."""
    direction = gradient.clone()
    inverses = [_inverse_product(step, change) for step, change in zip(steps, changes, strict=True)]
    shares = []
    for step, change, inverse in zip(reversed(steps), reversed(changes), reversed(inverses), strict=True):
        share = (step * direction).sum(0) * inverse
        direction -= share * change
        shares.append(share)
    direction /= curvature
    for step, change, inverse, share in zip(steps, changes, inverses, reversed(shares), strict=True):
        direction += step * (share - (change * direction).sum(0) * inverse)
    return direction


def _inverse_product(step: Tensor, change: Tensor) -> Tensor:
    """1 / (step' change), positive as the objective is convex; 0, which skips the pair, where it is rounding.

    A step so short that the gradient did not change visibly would otherwise divide by nothing.
    """
    product = (step * change).sum(0)
    visible = product > SMALLEST_COSINE * step.norm(dim=0) * change.norm(dim=0)
    return torch.where(visible, 1.0 / product, 0.0)
