"""The record of a run: `metrics.jsonl`, one JSON object a line, and the same numbers for TensorBoard.

Here is what is written and how it is cut back on resume; what the numbers mean is said where they are computed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TrainingLog:
    """Appends metrics to `folder/metrics.jsonl` and, if asked, to `folder/tensorboard`.

    Args:
        folder: of the run.
        resume_step: lines after this step are removed, as the run is about to write them again. 0 starts an empty log.
        tensorboard: whether to write TensorBoard events too.
    """

    def __init__(self, folder: str | os.PathLike[str], resume_step: int = 0, tensorboard: bool = False) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        cut_back(self.path, resume_step)
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=resume_step + 1)

    def write(self, metrics: Mapping[str, float | int]) -> None:
        """Adds one line; `metrics` holds `step`. It is on its way to the disk when this returns.

        Raises:
            ValueError: a value that is not finite, which JSON cannot hold.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name}={value} at step {metrics.get('step')} is not finite")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(metrics)) + "\n")
        if self._writer is not None:
            for name, value in metrics.items():
                if name != "step":
                    self._writer.add_scalar(name, value, metrics["step"])

    def close(self) -> None:
        """Ends the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`. A last line that a kill cut short is left out.

    Raises:
        ValueError: a damaged line before the last.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    metrics = []
    for number, line in enumerate(lines, start=1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ValueError(f"line {number} of {path} is not JSON: {line[:80]!r}") from None
    return metrics


def cut_back(path: Path, step: int) -> None:
    """Keeps the lines up to and including `step`, in one atomic exchange; makes the file if there is none."""
    kept = [line for line in read_metrics(path) if line["step"] <= step] if step > 0 and path.is_file() else []
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)
