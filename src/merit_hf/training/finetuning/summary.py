"""How a fine-tuning ended: what it decided, and the predictions of its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from merit_hf.evaluation.predictions import Predictions


@dataclass(frozen=True)
class FinetuningSummary:
    """How a fine-tuning ended.

    steps, stopped_early: optimiser steps done, and whether patience ended them.
    best_step, best_validation_macro_auroc: of the model that was kept; None without any validation.
    held_out: whether the validation records were held out of the training split.
    validation, test: predictions of the final model, in probabilities before calibration; test is None if there was
        no test split.
    """

    output_dir: str
    steps: int
    stopped_early: bool
    best_step: int | None
    best_validation_macro_auroc: float | None
    held_out: bool
    num_train_records: int
    validation: Predictions
    test: Predictions | None

    def facts(self) -> dict[str, Any]:
        """What the run decided for itself, as plain JSON, to stand with the configuration of its results."""
        return {
            "steps": self.steps,
            "stopped_early": self.stopped_early,
            "best_step": self.best_step,
            "best_validation_macro_auroc": self.best_validation_macro_auroc,
            "validation_held_out_of_train": self.held_out,
            "num_train_records": self.num_train_records,
            "num_validation_records": len(self.validation),
        }

    def table(self) -> str:
        """A few lines for people."""
        how = "held out of the training split by patient" if self.held_out else "of the validation split"
        lines = [f"{self.num_train_records} records to learn from, {len(self.validation)} to stop by, {how}"]
        end = f"{self.steps} steps" + (", stopped early" if self.stopped_early else "")
        if self.best_step is not None:
            end += f"; highest validation macro AUROC {self.best_validation_macro_auroc:.4f} at step {self.best_step}"
        return "\n".join([*lines, end, f"model, feature extractor, log and checkpoints: {self.output_dir}"])
