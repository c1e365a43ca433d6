"""The CPU threads of a training process: how many, and how they wait for each other. Importing this loads no torch."""

from __future__ import annotations

import os
from typing import Literal

SPINS = "10000"  # some microseconds: docs/training.md has what other numbers cost


def wait_without_spinning() -> None:
    """Lets OpenMP threads sleep soon while they wait, unless OMP_WAIT_POLICY is set; only before torch is loaded.

    By default they spin. On a machine whose cores other jobs use too, a thread that spins takes the core from the one
    it waits for, and training becomes many times slower than with a single thread. A thread that sleeps at once costs
    a quarter of the speed on free cores, so it spins for a moment first, where the OpenMP is GCC's, as torch's is.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def set_num_threads(wanted: int | Literal["auto"]) -> None:
    """Sets the CPU threads that torch uses in this process.

    `accelerate launch` and `torchrun` set OMP_NUM_THREADS to 1 unless it is set. One thread leaves the other cores
    idle, so `"auto"` replaces that 1 by an equal share of the cores. It leaves every other value of OMP_NUM_THREADS as
    it is, and a process that was started without a launcher too.
    """
    import psutil
    import torch

    if wanted != "auto":
        torch.set_num_threads(wanted)
        return
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_WORLD_SIZE" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS", "1") == "1":
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        cores = min(allowed, psutil.cpu_count(logical=False) or allowed)  # hyper-threads share the units that multiply
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
