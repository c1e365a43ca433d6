"""From planned batches to tensors on the device. Which records meet in a batch is decided in batch_plan.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from merit_hf.data.load.collator import prepare_worker

from .arguments import LoopArguments

Batch = dict[str, Tensor]
Collator = Callable[[list[dict[str, Any]]], Batch]


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
        batch_sampler=cast(Any, batches),  # torch only iterates over it
        collate_fn=collator,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=prepare_worker,
    )


def load_batches(
    arguments: LoopArguments,
    dataset: Dataset[Any],
    batches: Iterable[Sequence[Any]],
    collator: Collator,
    device: torch.device,
) -> Iterator[Batch]:
    """Loads batches as the arguments of a run want it.

    Args:
        arguments: of the run; they say how many workers load and whether memory is pinned.
        dataset: is asked for the keys of each batch.
        batches: keys of `dataset`, batch by batch.
        collator: makes tensors of the rows of a batch.
        device: where the tensors are put.
    """
    loader = make_loader(
        dataset,
        batches,
        collator,
        num_workers=arguments.dataloader_num_workers,
        pin_memory=arguments.dataloader_pin_memory and device.type == "cuda",
    )
    for batch in loader:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
