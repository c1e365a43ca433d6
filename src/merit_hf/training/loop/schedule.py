"""The learning rate as a function of the step; without state, so that a resumed run needs none.

Only schedules live here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up from near 0 to 1, then half a cosine to 0 (Loshchilov & Hutter 2017, without restarts).

    Args:
        num_steps: optimiser steps of the stage.
        warmup_steps: steps of the rise, at most `num_steps`.
    """

    num_steps: int
    warmup_steps: int

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps} must be at least 1")
        if not 0 <= self.warmup_steps <= self.num_steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} must be between 0 and num_steps={self.num_steps}")

    def __call__(self, step: int) -> float:
        """The factor of the peak learning rate for optimiser step `step`, counted from 0; never 0 before the end."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        # The step after the last would be exactly 0, so that no step is spent with a learning rate of 0.
        done = (step - self.warmup_steps) / max(self.num_steps - self.warmup_steps, 1)
        return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def warmup_length(num_steps: int, warmup_steps: int, warmup_ratio: float) -> int:
    """Steps of warm-up: `warmup_steps` if positive, else the share `warmup_ratio`, rounded up; at most `num_steps`."""
    return min(num_steps, warmup_steps if warmup_steps > 0 else math.ceil(num_steps * warmup_ratio))
