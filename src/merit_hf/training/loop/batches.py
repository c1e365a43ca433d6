"""Loaders of one process: its share of every batch of the run, from any batch of any epoch on.

`data/load/batch_sampler.py` decides which records meet in a batch of the run; here each process takes its part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from merit_hf.data.load.batch_sampler import RecordKey, ReportLengthBatchSampler
from merit_hf.data.load.collator import prepare_worker

Batch = dict[str, Tensor]
Collator = Callable[[list[dict[str, Any]]], Batch]


class TrainingBatches(Protocol):
    """The training batches of one stage: how many an epoch has, and this process' part of them."""

    def __len__(self) -> int: ...

    def of_epoch(self, epoch: int, first_batch: int) -> Iterable[Sequence[Any]]:
        """What a loader's dataset is asked for, batch by batch, from `first_batch` on."""


class ProcessShare(Sampler[list[RecordKey]]):
    """The equal part of each batch that belongs to one process.

    Args:
        batches: batches of all processes together, as lists of keys.
        process_index, num_processes: which part, of how many.
        first_batch: batches before this one are left out; a resumed run has trained on them.
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


class SharedBatches:
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


class GivenRows(Dataset[dict[str, Any]]):
    """The dataset of a loader whose batches are not keys but the rows themselves; workers only collate them."""

    def __getitem__(self, row: dict[str, Any]) -> dict[str, Any]:
        return row

    def __getitems__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows


def make_loader(
    dataset: Dataset[Any],
    batches: Iterable[Sequence[Any]],
    collator: Collator,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """A loader of the given batches. It draws nothing from the global random state that a result depends on."""
    return DataLoader(
        dataset,
        batch_sampler=cast(Any, batches),  # torch asks for no more than that it can be iterated
        collate_fn=collator,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=prepare_worker,
    )


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches with their tensors on the device."""
    for batch in batches:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
