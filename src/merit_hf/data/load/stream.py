"""A split of a corpus as a training loop streams it: rows in a given order, of which few row groups are in memory.

The order is decided in `row_group_order.py`, files are read in `parquet_split.py`, and what becomes of the rows is
`collator.py`'s, as it is of those that `dataset.py` reads map-style.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice, tee
from typing import Any

import numpy as np

from .dataset import COLUMNS, REPORT_COLUMNS, reports_of_table, rows_of_table
from .parquet_split import ParquetSplit
from .report_augmentation import ReportAugmentation
from .row_group_order import Stretch, first_records


class StreamedDataset:
    """Rows of one split of a corpus, ready for `MeritCollator`: those that `PretrainingDataset` gives, as they come.

    In memory are the row groups of the stretch that is being given out and as many that threads read ahead, so at
    most twice `window`, however large the corpus is.

    Args:
        corpus, split, max_records: as `ParquetSplit` has them.
        window: most row groups of a stretch.

    Raises:
        ValueError: no such corpus or split, or a column is missing.
        OSError: the footers of its files cannot be read.
    """

    def __init__(
        self, corpus: str | os.PathLike[str], split: str, *, max_records: int | None = None, window: int = 8
    ) -> None:
        self.files = ParquetSplit(corpus, split, max_records=max_records, columns=COLUMNS)
        self.window = window
        self._first_records = first_records(self.files.rows_per_group)

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, stretches: Iterable[Stretch]) -> Generator[dict[str, Any], None, None]:
        """The rows that the stretches name, each with its position in the split as `index`, and its `epoch`."""
        for_groups, for_records = tee(stretches)
        groups = (int(group) for stretch in for_groups for group in stretch.groups)
        with closing(self.files.tables(groups, COLUMNS, ahead=self.window)) as tables:
            for stretch in for_records:
                held = {int(group): rows_of_table(next(tables)) for group in stretch.groups}
                owners = np.searchsorted(self._first_records, stretch.records, side="right") - 1
                for record, group in zip(stretch.records.tolist(), owners.tolist(), strict=True):
                    row = held[group][record - int(self._first_records[group])]
                    # A copy, or a row that waits for its batch would keep its whole row group in memory.
                    arrays = {name: row[name].copy() for name in ("signal", "adc_gain")}
                    yield {**row, **arrays, "index": record, "epoch": stretch.epoch}
                held.clear()  # before the next ones are made

    def batches(self, stretches: Iterable[Stretch], batch_size: int) -> Iterator[list[dict[str, Any]]]:
        """The same rows as lists of `batch_size`; the last one may have fewer."""
        with closing(self.rows(stretches)) as rows:
            while batch := list(islice(rows, batch_size)):
                yield batch

    def reports(
        self, report_augmentation: ReportAugmentation | None = None, groups: Iterable[int] | None = None
    ) -> Iterator[str]:
        """Cleaned reports, empty where there is none or where the filter leaves it out; no signal is read.

        Args:
            report_augmentation: has the filter.
            groups: of which row groups, in this order; by default of all.
        """
        chosen = list(range(len(self.files.rows_per_group)) if groups is None else groups)
        with closing(self.files.tables(chosen, REPORT_COLUMNS, ahead=self.window)) as tables:
            for group, table in zip(chosen, tables, strict=True):
                yield from reports_of_table(table.slice(0, int(self.files.rows_per_group[group])), report_augmentation)
