"""The optimiser of a stage: which parameters decay, and with which learning rate each group goes."""

from __future__ import annotations

import torch
from torch import nn

# Matrices and filters multiply signals, and shrinking them regularises. Biases, norms, embeddings, learned tokens and
# the temperature set levels: pulling those to 0 means pulling the model to something arbitrary.
_DECAYING = (nn.Linear, nn.Conv1d, nn.Conv2d)


def parameter_groups(
    model: nn.Module, learning_rate: float, text_learning_rate: float | None, weight_decay: float
) -> list[dict[str, object]]:
    """Groups for AdamW of the trainable parameters; each has `peak_lr`, which the schedule multiplies.

    Args:
        model: with the text tower as `text_model`.
        learning_rate, text_learning_rate: peak values; None gives the text tower the first.
        weight_decay: of the weights of linear and convolutional layers; all others have 0.

    Raises:
        ValueError: nothing is trainable.
    """
    decaying = {
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, _DECAYING)
    }
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            text = name.startswith("text_model.") and text_learning_rate is not None
            peak = text_learning_rate if text and text_learning_rate is not None else learning_rate
            decay = weight_decay if name in decaying else 0.0
            members.setdefault((peak, decay), []).append(parameter)
    if not members:
        raise ValueError("no parameter of the model is trainable")
    return [
        {"params": parameters, "peak_lr": peak, "lr": peak, "weight_decay": decay}
        for (peak, decay), parameters in members.items()
    ]


def build_optimizer(
    groups: list[dict[str, object]], betas: tuple[float, float], epsilon: float
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) as one fused kernel, which every device of the tested torch versions has."""
    return torch.optim.AdamW(groups, betas=betas, eps=epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group to `factor` of its peak. Returns the first group's learning rate, which the log shows."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])
