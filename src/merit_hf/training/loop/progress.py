"""Where a run stands, as JSON beside the tensors of a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

PROGRESS_FILE = "progress.json"


@dataclass
class Progress:
    """Where a run stands, as JSON: everything a resumed run must know that is not a tensor.

    Args:
        step: optimiser steps done in all stages.
        stage, stage_step: the current stage, from 0, and the optimiser steps done in it.
        epoch: passes over the training split finished or begun in all stages; also keys augmentation and masks.
        batch: global batches of the current epoch already trained on.
        best_step, best_validation_loss: of the current stage, which alone has comparable losses.
        interval_sums, interval_count: metrics since the last line of the log.
        run: what must be equal for a continuation to be exact (processes, records of the corpus).
    """

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    epoch: int = 0
    batch: int = 0
    best_step: int | None = None
    best_validation_loss: float | None = None
    interval_sums: dict[str, float] = field(default_factory=dict)
    interval_count: int = 0
    run: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """As `progress.json` in `folder`."""
        (folder / PROGRESS_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises ValueError if `folder`'s progress is not what this version writes."""
        try:
            values = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{folder / PROGRESS_FILE} is damaged ({error}); resume from another checkpoint"
            ) from None
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or set(values) != known:
            raise ValueError(
                f"{folder / PROGRESS_FILE} was written by another version: expected fields {sorted(known)}"
            )
        return cls(**values)
