"""The one builder of the datasets library that all corpora go through: rows of any corpus → Parquet shards.

It stands in a module of its own because the library replaces `open`, `Path`, `numpy.load` and others in every module
that holds a builder. What a corpus is, and where its shards go, is in `corpus.py`.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.exceptions import DatasetGenerationError

from .row import MISSING, SkipRecord, table_from_rows
from .splits import SPLITS

if TYPE_CHECKING:
    from .corpus import CorpusBuilder

# Also the size of a Parquet row group, which is what a streaming reader loads at once: 15 MB of 12 leads at 500 Hz.
ROWS_PER_TABLE = 128
MAX_SHARD_SIZE = "500MB"


class RecordError(DatasetGenerationError):
    """A row that cannot be right. The library passes this type on as it is, also out of a worker process."""


@dataclass
class RowsConfig(datasets.BuilderConfig):
    """The corpus to write, and the folder in which worker processes note the records they leave out."""

    corpus: Any = None
    skipped_folder: str | None = None


class RowsBuilder(datasets.ArrowBasedBuilder):
    """Asks a corpus for its rows and hands them to the library as Arrow tables."""

    BUILDER_CONFIG_CLASS = RowsConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.corpus.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        work = self.config.corpus.work()
        if unknown := work.keys() - set(SPLITS):
            raise RecordError(f"splits {sorted(unknown)} are not among {SPLITS}")
        generators = []
        for split in SPLITS:
            if work.get(split):
                generator = datasets.SplitGenerator(name=split, gen_kwargs={"items": work[split], "split": split})
                generator.split_info.num_examples = len(work[split])  # the total of the progress bar
                generators.append(generator)
        return generators

    def _generate_tables(self, items: Sequence[Any], split: str) -> Iterator[tuple[int, pa.Table]]:
        skipped: list[SkipRecord] = []
        for start in range(0, len(items), ROWS_PER_TABLE):
            rows = []
            try:
                for item in items[start : start + ROWS_PER_TABLE]:
                    try:
                        rows.append(self._checked_row(item))
                    except SkipRecord as skip:
                        skipped.append(skip)
                if rows:
                    yield start, table_from_rows(rows, self.info.features)
            except ValueError as error:
                raise RecordError(f"{split}: {error}") from error
        if skipped and self.config.skipped_folder is not None:
            path = f"{self.config.skipped_folder}/{uuid.uuid4().hex}.csv"
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows((split, skip.ecg_id, skip.reason, skip.detail) for skip in skipped)

    def _checked_row(self, item: Any) -> dict[str, Any]:
        row = self.config.corpus.row(item)
        if not np.any((row["signal"] != MISSING) & (row["signal"] != 0)):
            raise SkipRecord(row["ecg_id"], "empty signal", "every sample is missing or zero")
        return row


def prepare_parquet(corpus: CorpusBuilder, output: Path, skipped_folder: Path, cache_dir: Path, num_proc: int) -> None:
    """Writes all rows of a corpus as Parquet shards into `output`, and what was left out into `skipped_folder`.

    Raises:
        ValueError: a row that cannot be right.
    """
    builder = RowsBuilder(cache_dir=str(cache_dir), corpus=corpus, skipped_folder=str(skipped_folder))
    try:
        builder.download_and_prepare(
            str(output), file_format="parquet", num_proc=num_proc, max_shard_size=MAX_SHARD_SIZE
        )
    except RecordError as error:
        raise ValueError(str(error)) from error
