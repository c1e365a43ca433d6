"""The metrics of pretraining: those of a forward pass, and the table at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

METRICS = ("loss", "reconstruction_loss", "contrastive_loss", "semantic_information", "structure_information")


@dataclass
class PretrainingSummary:
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


def metrics_of_pass(outputs: Any, share: float) -> dict[str, Tensor]:
    """The metrics of one forward pass, times its share of the step; a branch that did not run has none."""
    found = {name: getattr(outputs, name) for name in METRICS}
    return {name: value.detach().float() * share for name, value in found.items() if value is not None}
