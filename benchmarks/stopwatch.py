"""Time of steps in CPU milliseconds, beside the rate at which this machine multiplies matrices in the same minute.

The benchmarks' targets are stated for a core that multiplies float32 matrices at `REFERENCE_RATE`. A slower core gets
proportionally more time. CPU time of one thread counts, the least of several rounds: other work on the machine cannot
add to it but by crowding the caches.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

REFERENCE_RATE = 160.0  # GFLOP/s of the float32 product of two matrices on one core
MATRIX_SIZE = 1024
LIBRARIES = ("numpy", "scipy", "torch", "pyarrow", "datasets")


@dataclass(frozen=True)
class Timings:
    """CPU ms a record of each step, and this machine's rate in GFLOP/s."""

    milliseconds: dict[str, float]
    matmul_rate: float

    def target_here(self, target: float) -> float:
        """What a target in ms for the reference core means on this one."""
        return target * REFERENCE_RATE / self.matmul_rate

    def facts(self, targets: Mapping[str, float], **others: Any) -> dict[str, Any]:
        """For a JSON file: each step, its target where it has one, and what it was measured with."""
        steps = {}
        for name, value in self.milliseconds.items():
            steps[name] = {"cpu_ms_per_record": round(value, 5)}
            if name in targets:
                here = self.target_here(targets[name])
                steps[name] |= {
                    "target_at_160_gflops": targets[name],
                    "target_here": round(here, 5),
                    "share_of_target": round(value / here, 3),
                }
        return {"machine": machine(self.matmul_rate), **others, "steps": steps}

    def show(self, targets: Mapping[str, float], explained: Mapping[str, str]) -> None:
        """Prints a line for each step that is explained."""
        print(f"float32 matmul {self.matmul_rate:.0f} GFLOP/s; targets are for {REFERENCE_RATE:.0f}, here scaled")
        width = max(map(len, explained))
        print(f"{'step':<{width}}{'CPU ms/record':>15}{'target':>9}")
        for name, words in explained.items():
            target = f"{self.target_here(targets[name]):9.3f}" if name in targets else " " * 9
            print(f"{name:<{width}}{self.milliseconds[name]:>15.4f}{target}   {words}")


def time_steps(steps: Mapping[str, Callable[[int], object]], num_records: int, repeats: int) -> Timings:
    """Times steps in turn, so that a busy moment of the machine hits all alike; each twice in a row, as work in a loop
    finds its code in the cache and its memory at hand.

    Args:
        steps: each is called with the number of the round.
        num_records: records that one call of a step works on.
        repeats: measured rounds, after one that warms up; the least time of each step counts.
    """
    torch.set_num_threads(1)
    left, right = torch.randn(MATRIX_SIZE, MATRIX_SIZE), torch.randn(MATRIX_SIZE, MATRIX_SIZE)
    seconds = dict.fromkeys(steps, float("inf"))
    product = float("inf")
    for number in range(repeats + 1):
        for _ in range(3):
            product = min(product, cpu_seconds(lambda: left @ right))
        for name, step in steps.items():
            taken = min(cpu_seconds(partial(step, number)) for _ in range(2))
            if number:
                seconds[name] = min(seconds[name], taken)
    milliseconds = {name: value / num_records * 1e3 for name, value in seconds.items()}
    return Timings(milliseconds, 2 * MATRIX_SIZE**3 / product / 1e9)


def cpu_seconds(step: Callable[[], object]) -> float:
    """CPU time of one call, all threads of the process together."""
    start = time.process_time()
    step()
    return time.process_time() - start


def machine(matmul_rate: float) -> dict[str, Any]:
    """What a figure was measured on."""
    return {
        "processor": _processor(),
        "matmul_gflop_per_second": round(matmul_rate, 1),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def write_json(path: Path | None, facts: Mapping[str, Any], command: Sequence[str]) -> None:
    """Writes facts with the command that made them; nothing if no path was given."""
    if path is not None:
        made_by = " ".join(["python", f"benchmarks/{Path(command[0]).name}", *command[1:]])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"command": made_by, **facts}, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
