"""The split of a corpus as a training loop reads it: rows in batches, signals as NumPy, each with its index and epoch.

Which rows are read when is decided in batch_sampler.py, what becomes of them in collator.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from .batch_sampler import RecordKey
from .report_augmentation import ReportAugmentation, usable_report

# What training reads; labels and simulator parameters are left on the disk.
COLUMNS = (
    "ecg_id",
    "signal",
    "num_samples",
    "sampling_rate",
    "lead_names",
    "adc_gain",
    "units",
    "report",
    "report_language",
    "age",
    "sex",
)
REPORT_COLUMNS = ("report", "report_language")
_READ_AT_ONCE = 10_000


class PretrainingDataset(Dataset[dict[str, Any]]):
    """Rows of one split of a corpus, ready for `MeritCollator`.

    A row is a dict of the corpus' columns (`signal` as a flat int16 array, `adc_gain` as a float32 array) with
    `index`, its position in the split, and `epoch`. Rows are asked for by `RecordKey`, which names the epoch, or
    by a plain index, which takes the one of `set_epoch`.

    Args:
        corpus_split: map-style `datasets.Dataset` with the corpus' columns; it is read from the disk as needed,
            not kept in memory.
        epoch: epoch of rows asked for by a plain index.

    Raises:
        ValueError: if `corpus_split` is a dictionary of splits, is streamed, or lacks a column.
    """

    def __init__(self, corpus_split: datasets.Dataset, epoch: int = 0) -> None:
        if not isinstance(corpus_split, datasets.Dataset):
            raise ValueError(
                f"corpus_split must be one split as a datasets.Dataset, but is a {type(corpus_split).__name__}: "
                "load_corpus(path, split='train') gives one."
            )
        missing = [name for name in COLUMNS if name not in corpus_split.column_names]
        if missing:
            raise ValueError(f"corpus_split lacks the columns {missing}; convert the corpus again.")
        self._table = corpus_split.select_columns(list(COLUMNS)).with_format("arrow")
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of rows that are asked for by a plain index."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, key: int | RecordKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | RecordKey]) -> list[dict[str, Any]]:
        """Rows of several records in one read, in the order asked for."""
        pairs = [key if isinstance(key, tuple) else RecordKey(range(len(self))[key], self.epoch) for key in keys]
        table: pa.Table = self._table[[index for index, _ in pairs]]
        rows = rows_of_table(table)
        for row, (index, epoch) in zip(rows, pairs, strict=True):
            row["index"], row["epoch"] = index, epoch
        return rows

    def reports(self, report_augmentation: ReportAugmentation | None = None) -> list[str]:
        """The cleaned report of every record, empty where there is none or where the filter leaves it out."""
        reports = []
        for start in range(0, len(self), _READ_AT_ONCE):
            # only the columns that are needed, or every signal would be read too
            table = self._table.select_columns(list(REPORT_COLUMNS))[start : start + _READ_AT_ONCE]
            reports += reports_of_table(table, report_augmentation)
        return reports


def rows_of_table(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table with `COLUMNS`; their arrays are views of its memory."""
    columns: list[list[Any]] = []
    for name in COLUMNS:
        column = table.column(name).combine_chunks()
        columns.append(_arrays(column) if name in ("signal", "adc_gain") else column.to_pylist())
    return [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]


def reports_of_table(table: pa.Table, report_augmentation: ReportAugmentation | None = None) -> list[str]:
    """The cleaned reports of a table with `REPORT_COLUMNS`, empty where there is none or the filter leaves it out."""
    languages = table.column("report_language").to_pylist()
    return [
        usable_report(text, language, report_augmentation)
        for text, language in zip(table.column("report").to_pylist(), languages, strict=True)
    ]


def report_lengths(reports: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_text_length: int) -> np.ndarray:
    """Tokens of each report as the collator pads them, special tokens included: int64 (reports,)."""
    distinct, inverse = np.unique(np.asarray(reports, dtype=object), return_inverse=True)
    lengths = np.empty(len(distinct), dtype=np.int64)
    for start in range(0, len(distinct), _READ_AT_ONCE):
        texts = list(distinct[start : start + _READ_AT_ONCE])
        tokens = tokenizer(texts, truncation=True, max_length=max_text_length)["input_ids"]
        lengths[start : start + len(texts)] = [len(ids) for ids in tokens]
    return lengths[inverse]


def _arrays(column: pa.ListArray) -> list[np.ndarray]:
    """Each list of the column as a view of one array, without a copy."""
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy(zero_copy_only=False)
    return [values[start:end] for start, end in pairwise(offsets)]
