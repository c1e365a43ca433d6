"""The optimiser of a stage: which parameters decay, and with which learning rate each group goes."""

from __future__ import annotations

import re
from collections.abc import Callable

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

    def peak(name: str) -> float:
        text = name.startswith("text_model.") and text_learning_rate is not None
        return text_learning_rate if text and text_learning_rate is not None else learning_rate

    return _groups(model, peak, weight_decay)


def layerwise_parameter_groups(
    model: nn.Module, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, object]]:
    """As `parameter_groups`, with a peak that shrinks with the distance from the head (Clark et al. 2020, ELECTRA).

    The head and the norms after the last layer have `learning_rate`; of L layers, the one at position i (from 0) has
    learning_rate * layer_decay ** (L - i), and the patch embedding learning_rate * layer_decay ** (L + 1). The first
    group is one with the highest peak.

    Args:
        model: with the encoder as `ecg_model`, its layers as `ecg_model.layers`.
        learning_rate: peak of the head.
        layer_decay: factor from one layer to the one below it; 1 gives all the same.
        weight_decay: as in `parameter_groups`.
    """
    num_layers = len(model.get_submodule("ecg_model.layers"))  # type: ignore[arg-type]

    def peak(name: str) -> float:
        layer = re.match(r"ecg_model\.layers\.(\d+)\.", name)
        below = num_layers - int(layer.group(1)) if layer else 0
        if name.startswith("ecg_model.embeddings."):
            below = num_layers + 1
        return learning_rate * layer_decay**below

    return sorted(_groups(model, peak, weight_decay), key=lambda group: -group["peak_lr"])  # type: ignore[operator]


def _groups(model: nn.Module, peak: Callable[[str], float], weight_decay: float) -> list[dict[str, object]]:
    """One group for each pair of peak and decay, in the order in which the parameters have them."""
    decaying = {
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, _DECAYING)
    }
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if name in decaying else 0.0
            members.setdefault((peak(name), decay), []).append(parameter)
    if not members:
        raise ValueError("no parameter of the model is trainable")
    return [
        {"params": parameters, "peak_lr": rate, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in members.items()
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
