"""How many ECGs a second training handles, counting training time only. Nothing else is measured here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Throughput:
    """ECGs a second since the last reading; validation and checkpoints inside `paused()` do not count.

    Args:
        clock: returns seconds; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._records = 0
        self._start = clock()

    def add(self, num_records: int) -> None:
        """Counts ECGs that were trained on (of all processes)."""
        self._records += num_records

    def read(self) -> float:
        """ECGs a second since the last `read`, and starts anew."""
        now = self._clock()
        rate = self._records / max(now - self._start, 1e-9)
        self._records, self._start = 0, now
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside the `with` block is left out."""
        began = self._clock()
        try:
            yield
        finally:
            self._start += self._clock() - began
