"""The one builder of the datasets library that all corpora go through: rows of any corpus → a Parquet file.

It stands in a module of its own because the library replaces `open`, `Path`, `numpy.load` and others in every module
that holds a builder. Which rows make a shard is in `shards.py`, what a corpus is, in `corpus.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.exceptions import DatasetGenerationError


class RowError(DatasetGenerationError):
    """A row that cannot be right. The library passes this type on as it is."""


@dataclass
class TablesConfig(datasets.BuilderConfig):
    """Columns, and what makes the tables to write, row group by row group."""

    features: datasets.Features | None = None
    tables: Callable[[], Iterator[pa.Table]] | None = None


class TablesBuilder(datasets.ArrowBasedBuilder):
    """Hands the tables of one shard to the library's Parquet writer."""

    BUILDER_CONFIG_CLASS = TablesConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name="shard")]

    def _generate_tables(self) -> Iterator[tuple[int, pa.Table]]:
        try:
            yield from enumerate(self.config.tables())
        except ValueError as error:
            raise RowError(str(error)) from error


def write_parquet(path: Path, features: datasets.Features, tables: Callable[[], Iterator[pa.Table]]) -> None:
    """Writes tables to one Parquet file, one row group each, as the datasets library stores a dataset.

    Args:
        path: file to make, in a folder that exists; nothing else is left there.
        features: columns.
        tables: called once.

    Raises:
        ValueError: whatever `tables` raises of that kind.
    """
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder, _no_progress_bars():
        builder = TablesBuilder(cache_dir=f"{folder}/cache", features=features)
        builder.config.tables = tables  # as an argument, all items of the shard would be pickled and hashed
        try:
            builder.download_and_prepare(f"{folder}/out", file_format="parquet", max_shard_size="1TB")
        except RowError as error:
            raise ValueError(str(error)) from error
        (written,) = Path(f"{folder}/out").glob("*.parquet")
        written.rename(path)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """A conversion has one bar of its own, over all shards."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()
