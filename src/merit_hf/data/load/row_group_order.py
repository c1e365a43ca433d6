"""In which order the records of a streamed split are read: by row groups, each process its own piece of an epoch.

Numbers only: what a row group is and how it is fetched is in `parquet_split.py`, what becomes of it in
`stream.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from merit_hf.data.randomness import record_generator


class Stretch(NamedTuple):
    """Row groups that are in memory together, and the records given out meanwhile.

    `groups` int64 (at most the window,): row groups to read. `records` int64 (records,): positions in the split, in
    the order in which they are given out; all lie in these groups, and no other stretch of the process has them.
    """

    groups: np.ndarray
    records: np.ndarray
    epoch: int


class RowGroupOrder:
    """Batches of training from a split that is read row group by row group.

    An epoch is one sequence of all records: the row groups in an order drawn from (seed, epoch), so those of all
    shards mix, the rows of each permuted by (seed, epoch, row group). Every process takes an equal piece of this
    sequence, cut to whole batches; a row group that lies across a cut is read by both neighbours, and each gives out
    its own rows of it. Inside a piece, `window` row groups at a time are mixed by a second permutation, since rows of
    one group alone are neighbours of one another in the corpus.

    So each record is met once an epoch whatever the number of processes, all processes make the same number of
    batches, and the records that do not fill one (the end of the sequence) are others in each epoch. All of it is a
    function of the arguments and the epoch: a run can resume at any batch and reads no row group that lies before it.

    Args:
        rows_per_group: rows of each row group, in the order of the split.
        batch_size: records of a batch of one process.
        process_index, num_processes: which piece, of how many.
        seed: seed of the run.
        window: row groups mixed with one another.

    Raises:
        ValueError: if a size is below 1, or if the records do not fill a batch of every process.
    """

    def __init__(
        self,
        rows_per_group: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        process_index: int = 0,
        num_processes: int = 1,
        seed: int = 0,
        window: int = 8,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_processes", num_processes), ("window", window)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or greater, but is {value}.")
        if not 0 <= process_index < num_processes:
            raise ValueError(f"process_index is {process_index}, but there are {num_processes} processes.")
        self.rows_per_group = np.asarray(rows_per_group, dtype=np.int64)
        self.num_records = int(self.rows_per_group.sum())
        if self.num_records < batch_size * num_processes:
            raise ValueError(
                f"{self.num_records} records do not fill one batch of {batch_size} on {num_processes} processes: "
                "choose a smaller batch size."
            )
        self.batch_size = batch_size
        self.process_index = process_index
        self.num_processes = num_processes
        self.seed = seed
        self.window = window
        self._first_records = first_records(self.rows_per_group)

    def __len__(self) -> int:
        return self.num_records // (self.batch_size * self.num_processes)

    def stretches(self, epoch: int, first_batch: int = 0) -> Iterator[Stretch]:
        """What this process reads and gives out in an epoch, from `first_batch` on."""
        groups = record_generator(self.seed, epoch, 0, "row groups").permutation(len(self.rows_per_group))
        places = first_records(self.rows_per_group[groups])  # of each group in the sequence of the epoch
        piece = len(self) * self.batch_size
        start, stop = self.process_index * piece, (self.process_index + 1) * piece
        wanted = start + first_batch * self.batch_size
        first, last = _groups_between(places, start, stop)
        for begin in range(first, last, self.window):
            end = min(begin + self.window, last)
            low, high = max(start, int(places[begin])), min(stop, int(places[end]))
            if high <= wanted:
                continue
            records = np.concatenate([self._rows(epoch, group) for group in groups[begin:end]])
            records = records[low - places[begin] : high - places[begin]]
            records = record_generator(self.seed, epoch, low, "row group window").permutation(records)
            records = records[max(0, wanted - low) :]
            needed = np.unique(np.searchsorted(self._first_records, records, side="right") - 1)
            yield Stretch(needed, records, epoch)

    def _rows(self, epoch: int, group: int) -> np.ndarray:
        rows = record_generator(self.seed, epoch, int(group), "rows").permutation(self.rows_per_group[group])
        return self._first_records[group] + rows


def stretches_in_order(
    rows_per_group: Sequence[int] | np.ndarray, start: int, stop: int, window: int = 8
) -> Iterator[Stretch]:
    """The records from `start` to `stop` in the order of the split, `window` row groups at a time, as epoch 0."""
    places = first_records(rows_per_group)
    first, last = _groups_between(places, start, stop)
    for begin in range(first, last, window):
        end = min(begin + window, last)
        records = np.arange(max(start, places[begin]), min(stop, places[end]))
        yield Stretch(np.arange(begin, end), records, epoch=0)


def first_records(rows_per_group: Sequence[int] | np.ndarray) -> np.ndarray:
    """Position of the first row of each row group, and behind them the number of rows: int64 (groups + 1,)."""
    return np.concatenate([[0], np.cumsum(rows_per_group, dtype=np.int64)])


def _groups_between(places: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """The groups, as a range, that hold the records from `start` to `stop`."""
    if start >= stop:
        return 0, 0
    return int(np.searchsorted(places, start, side="right")) - 1, int(np.searchsorted(places, stop, side="left"))
