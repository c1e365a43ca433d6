"""The metrics of training steps on their way to the log: collected on the device, averaged over the steps of a line.

loop.py decides which steps make a line; log.py writes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .progress import Progress

_SHORT = {
    "reconstruction_loss": "rec",
    "contrastive_loss": "con",
    "semantic_information": "I_sem",
    "structure_information": "I_str",
}


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


def short_text(means: dict[str, float]) -> str:
    """Both losses and both read-outs for the progress bar."""
    return " ".join(f"{short}={means[name]:.3f}" for name, short in _SHORT.items() if name in means)
