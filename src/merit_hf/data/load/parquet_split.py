"""A split of a corpus as its Parquet files: where they lie, how many rows their row groups have, and reading these.

Files may lie in a folder, on the Hub or behind any other URL that fsspec opens. Nothing here knows an order, an epoch
or what the columns mean.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from merit_hf.data.build.open import HUB_URL, check_corpus_folder
from merit_hf.hub_names import is_hub_name

from .row_group_order import first_records

logger = logging.getLogger(__name__)

SECONDS_BEFORE_RETRY = (0.5, 2.0, 8.0)  # after each failure but the last
_MOST_THREADS = 4  # each decodes a row group meanwhile, in memory of its own
_MOST_FOOTERS_AT_ONCE = 16
_ROWS_DECODED_AT_ONCE = 16
_HUB_REVISION = re.compile(rf"{HUB_URL}(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/?")
T = TypeVar("T")


class _RowGroup(NamedTuple):
    shard: int
    number: int  # in the shard


class ParquetSplit:
    """The row groups of one split, in the order of its records.

    Opening it reads the footers of all shards and no data; some dozen bytes a row group are kept of them. Rows are
    read when they are asked for, and files are open only meanwhile.

    Args:
        corpus: folder of a converted corpus, its name on the Hub (`owner/name`), or a URL (`hf://datasets/owner/name`,
            `https://...` of a server that lists its folders, or what else fsspec has a file system for). On the Hub,
            what is read is the revision that is the newest now, even if another follows, or the one of
            `hf://datasets/owner/name@revision`.
        split: "train", "validation" or "test".
        max_records: leave out what follows after so many records.
        columns: that have to be there.

    Raises:
        ValueError: no such corpus or split, or a column is missing.
        OSError: the files cannot be read, after several attempts.
    """

    def __init__(
        self,
        corpus: str | os.PathLike[str],
        split: str,
        *,
        max_records: int | None = None,
        columns: Sequence[str] = (),
    ) -> None:
        self.corpus, self.split = str(corpus), split
        self._filesystem, root = _open_corpus(corpus, split)
        self._is_local = isinstance(self._filesystem, fsspec.get_filesystem_class("file"))
        self.shards = _retried(f"the list of files of {corpus}", lambda: self._find_shards(root))
        digest = hashlib.sha256()
        row_groups: list[_RowGroup] = []
        rows: list[int] = []
        with ThreadPoolExecutor(_MOST_FOOTERS_AT_ONCE) as pool:
            for shard, footer in enumerate(pool.map(self._footer, self.shards)):
                missing = [name for name in columns if name not in footer.schema.to_arrow_schema().names]
                if missing:
                    raise ValueError(f"{self.shards[shard]} lacks the columns {missing}; convert the corpus again.")
                for number in range(footer.num_row_groups):
                    group = footer.row_group(number)
                    if group.num_rows == 0:
                        continue
                    row_groups.append(_RowGroup(shard, number))
                    rows.append(group.num_rows)
                    digest.update(f"{shard} {group.num_rows} {group.total_byte_size};".encode())
        self._row_groups = np.array(row_groups, dtype=np.int32).reshape(-1, 2)
        self._whole_rows = np.array(rows, dtype=np.int64)
        places = first_records(self._whole_rows)
        if max_records is not None:
            places = np.minimum(places, max_records)
        rows_left = np.diff(places)
        self.rows_per_group = rows_left[rows_left > 0]  # the last one perhaps without its end
        self.layout = digest.hexdigest()[:16]  # equal for equal row groups, by their rows and bytes

    def __len__(self) -> int:
        return int(self.rows_per_group.sum())

    def read(self, group: int, columns: Sequence[str], stopped: threading.Event | None = None) -> pa.Table:
        """The columns of one row group, all its rows. A failure is tried again a few times.

        Args:
            group: its number in the split.
            columns: their names.
            stopped: once set, nothing is tried again.

        Raises:
            OSError: it could not be read; the message names the shard and the row group.
            ValueError: it has another number of rows than when the split was opened.
        """
        shard, number = self._row_groups[group]
        what = f"row group {number} of {self.shards[shard]}"

        def attempt() -> pa.Table:
            with self._opened(self.shards[shard]) as file:
                # Few rows at a time, since decoding takes several times the memory of what it makes; one thread, since
                # several row groups are read at once.
                return pa.Table.from_batches(
                    file.iter_batches(_ROWS_DECODED_AT_ONCE, [int(number)], list(columns), use_threads=False)
                )

        table = _retried(what, attempt, stopped)
        if table.num_rows != self._whole_rows[group]:
            raise ValueError(
                f"{what} has {table.num_rows} rows, but had {self._whole_rows[group]} when the run began: the corpus "
                "has changed meanwhile; resume with the one it began with"
            )
        return table

    def tables(self, groups: Iterable[int], columns: Sequence[str], ahead: int) -> Generator[pa.Table, None, None]:
        """The row groups one after the other, while threads read the next `ahead` of them.

        A fault is raised when its row group is due. Closing the iterator ends the threads.
        """
        waiting, pending, stopped = iter(groups), deque[Future[pa.Table]](), threading.Event()
        pool = ThreadPoolExecutor(min(ahead, _MOST_THREADS), thread_name_prefix="row-groups")
        try:
            pending.extend(pool.submit(self.read, group, columns, stopped) for group in islice(waiting, ahead))
            while pending:
                table = pending.popleft().result()
                pending.extend(pool.submit(self.read, group, columns, stopped) for group in islice(waiting, 1))
                yield table
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _find_shards(self, root: str) -> list[str]:
        found: list[str] = sorted(self._filesystem.glob(f"{root}/data/{self.split}-*.parquet"))
        if not found:
            every = self._filesystem.glob(f"{root}/data/*.parquet")
            there = ", ".join(sorted({path.rsplit("/", 1)[1].split("-")[0] for path in every}))
            raise ValueError(
                f"corpus {self.corpus} has no split {self.split!r}; it has {there or 'no files data/*.parquet'}"
            )
        return found

    def _footer(self, shard: str) -> pq.FileMetaData:
        def attempt() -> pq.FileMetaData:
            with self._opened(shard) as file:
                return file.metadata

        return _retried(f"the footer of {shard}", attempt)

    @contextmanager
    def _opened(self, shard: str) -> Iterator[pq.ParquetFile]:
        if self._is_local:
            with pq.ParquetFile(shard) as parquet:
                yield parquet
        else:
            # Arrow asks for the columns of a row group in few large pieces; a cache would only fetch more than those.
            with self._filesystem.open(shard, "rb", cache_type="none") as file:
                yield pq.ParquetFile(file, pre_buffer=True)


def _open_corpus(corpus: str | os.PathLike[str], split: str) -> tuple[Any, str]:
    """The file system of a corpus, and its folder there."""
    name = str(corpus)
    if "://" not in name:
        if not is_hub_name(name):
            check_corpus_folder(corpus, split)
            return fsspec.filesystem("file"), str(Path(corpus).absolute())
        name = f"{HUB_URL}{name}"
    if name.startswith(HUB_URL):
        name = _retried(f"the newest revision of {corpus}", lambda: _pinned(name))
    try:
        filesystem, root = fsspec.core.url_to_fs(name.rstrip("/"))
    except (ImportError, ValueError) as error:
        raise ValueError(f"corpus {corpus} is a URL that cannot be opened: {error}") from error
    return filesystem, root


def _pinned(url: str) -> str:
    """The URL of a corpus on the Hub by the commit it has now, so that a push cannot change it under a run."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    named = _HUB_REVISION.fullmatch(url)
    if named is None:
        raise ValueError(f"corpus {url} should be {HUB_URL}owner/name or {HUB_URL}owner/name@revision")
    try:
        commit = HfApi().dataset_info(named["name"], revision=named["revision"]).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(
            f"the Hub has no data set {url}, or it needs a login: {' '.join(str(error).split())}"
        ) from error
    logger.info("reading %s at revision %s", named["name"], commit)
    return f"{HUB_URL}{named['name']}@{commit}"


def _retried(what: str, attempt: Callable[[], T], stopped: threading.Event | None = None) -> T:
    stopped = stopped or threading.Event()
    for number in range(len(SECONDS_BEFORE_RETRY) + 1):
        try:
            return attempt()
        except ValueError as error:  # but Arrow's of a damaged file is one too, and half an answer looks like that
            if not isinstance(error, pa.ArrowException):
                raise
            fault: Exception = error
        except Exception as error:  # noqa: BLE001 - every file system raises what its HTTP library happens to
            # a file that is not there too: so does fsspec call a server that does not answer
            fault = error
        if number == len(SECONDS_BEFORE_RETRY) or stopped.wait(SECONDS_BEFORE_RETRY[number]):
            break
        logger.warning("%s could not be read (%s); trying again", what, fault)
    reason = " ".join(str(fault).split()) or type(fault).__name__
    raise OSError(
        f"{what} could not be read after {number + 1} attempts ({reason}); no record was left out: resume from the "
        "last checkpoint once it can be reached"
    ) from fault
