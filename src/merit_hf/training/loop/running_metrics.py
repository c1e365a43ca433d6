"""The metrics of training steps on their way to the log: collected on the device, averaged over the steps of a line.

Which steps make a line is the loop's decision; how a line is written is `training_log`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .checkpoints import Progress

METRICS = ("loss", "reconstruction_loss", "contrastive_loss", "semantic_information", "structure_information")
_SHORT = {
    "reconstruction_loss": "rec",
    "contrastive_loss": "con",
    "semantic_information": "I_sem",
    "structure_information": "I_str",
}


@dataclass
class TrainingSummary:
    """How a run ended: steps done, the last lines of training and validation metrics, the best validation."""

    output_dir: str
    steps: int
    training: dict[str, float]
    validation: dict[str, float]
    best_step: int | None
    best_validation_loss: float | None

    def table(self) -> str:
        """A few lines for people: metrics of training and validation side by side, and where the run is."""
        rows = [f"{'':24}{'training':>12}{'validation':>12}"]
        for name in METRICS:
            values = (self.training.get(name), self.validation.get(f"validation_{name}"))
            rows.append(f"{name:24}" + "".join(f"{'-' if value is None else f'{value:.4f}':>12}" for value in values))
        end = f"{self.steps} steps"
        if self.best_step is not None:
            end += f"; lowest validation loss {self.best_validation_loss:.4f} at step {self.best_step}"
        return "\n".join([*rows, end, f"model, processor, log and checkpoints: {self.output_dir}"])


class RunningMetrics:
    """Sums of metrics since the last line of the log, kept in the progress, so that a resumed run has them too.

    Args:
        progress: of the run; its `interval_sums` and `interval_count` are changed.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._pending: list[tuple[int, list[str], Tensor]] = []

    def add(self, step: int, values: dict[str, Tensor], overflow: Tensor) -> None:
        """Takes the metrics of one step without waiting for the device.

        Args:
            step: its number, for messages.
            values: scalars.
            overflow: scalar, not 0 if the step has ruined the weights.
        """
        self._pending.append((step, list(values), torch.stack([*values.values(), overflow.to(torch.float32)])))

    def collect(self) -> None:
        """Moves what was added into the progress.

        Raises:
            ValueError: a loss or a gradient was not finite.
        """
        for step, names, tensor in self._pending:
            *values, overflow = tensor.double().tolist()
            bad = {name: value for name, value in zip(names, values, strict=True) if not math.isfinite(value)}
            if bad or overflow:
                what = ", ".join(f"{name}={value}" for name, value in bad.items()) or "the gradient is not finite"
                raise ValueError(
                    f"training diverged at step {step} ({what}): lower learning_rate, raise warmup_ratio, or use bf16 "
                    "or float32 instead of fp16; checkpoints were made before it"
                )
            sums = self.progress.interval_sums
            for name, value in zip(names, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value
            self.progress.interval_count += 1
        self._pending.clear()

    def take_means(self) -> dict[str, float]:
        """The means of what was collected since the last call."""
        means = {name: total / self.progress.interval_count for name, total in self.progress.interval_sums.items()}
        self.progress.interval_sums, self.progress.interval_count = {}, 0
        return means


def metrics_of_pass(outputs: Any, share: float) -> dict[str, Tensor]:
    """The metrics of one forward pass, times its share of the step; a branch that did not run has none."""
    found = {name: getattr(outputs, name) for name in METRICS}
    return {name: value.detach().float() * share for name, value in found.items() if value is not None}


def short_text(means: dict[str, float]) -> str:
    """Both losses and both read-outs for the progress bar."""
    return " ".join(f"{short}={means[name]:.3f}" for name, short in _SHORT.items() if name in means)
