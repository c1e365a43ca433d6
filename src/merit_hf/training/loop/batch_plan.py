"""Which records meet in a batch, and which part of it one process takes, from any batch of any epoch on.

`data/load/batch_sampler.py` shuffles the records of the whole run into batches. Loading them is in loader.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from torch.utils.data import Sampler

from merit_hf.data.load.batch_sampler import RecordKey, ReportLengthBatchSampler


class BatchPlan(Protocol):
    """The training batches of one stage: how many an epoch has, and this process' part of each."""

    def __len__(self) -> int: ...

    def of_epoch(self, epoch: int, first_batch: int) -> Iterable[Sequence[Any]]:
        """What a loader's dataset is asked for, batch by batch, from `first_batch` on."""


class ProcessShare(Sampler[list[RecordKey]]):
    """The equal part of each batch that belongs to one process.

    Args:
        batches: batches of all processes together, as lists of keys.
        process_index, num_processes: which part, of how many.
        first_batch: earlier batches are left out; a resumed run has trained on them.
    """

    def __init__(
        self, batches: Sampler[list[RecordKey]], process_index: int, num_processes: int, first_batch: int = 0
    ) -> None:
        self.batches = batches
        self.process_index = process_index
        self.num_processes = num_processes
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[list[RecordKey]]:
        for number, batch in enumerate(self.batches):
            if number >= self.first_batch:
                size = len(batch) // self.num_processes
                yield batch[self.process_index * size : (self.process_index + 1) * size]


class ShuffledBatchPlan:
    """Shuffled batches of the whole run, of which each process takes its part.

    Args:
        batches: of all processes together.
        process_index, num_processes: which part, of how many.
    """

    def __init__(self, batches: ReportLengthBatchSampler, process_index: int, num_processes: int) -> None:
        self.batches = batches
        self.process = (process_index, num_processes)

    def __len__(self) -> int:
        return len(self.batches)

    def of_epoch(self, epoch: int, first_batch: int) -> Iterable[Sequence[Any]]:
        """This process' part of the batches of an epoch, from `first_batch` on."""
        self.batches.set_epoch(epoch)
        return ProcessShare(self.batches, *self.process, first_batch)


class WholeBatches(Sampler[list[int]]):
    """Every `num_processes`-th batch of the records in their order, whole.

    Numbers computed batch by batch then do not depend on the number of processes.

    Args:
        num_records: records, from 0.
        batch_size: records of a batch; the last one may have fewer.
        process_index, num_processes: which batches, of how many.
    """

    def __init__(self, num_records: int, batch_size: int, process_index: int, num_processes: int) -> None:
        starts = range(0, num_records, batch_size)
        self.batches = [
            list(range(start, min(start + batch_size, num_records))) for start in starts[process_index::num_processes]
        ]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
