"""From the work items of a corpus to Parquet shards, in one process or several; a shard is complete or absent.

Corpora are defined in `builder.py` and rows in `data/row.py`; `write.py` makes a folder of finished shards.

Shards are the same bytes in every run: where one begins depends only on the number of items in its split. So a
conversion that was stopped resumes with the missing shards, and the result is the same as without the stop.

The writing itself is in `parquet_file.py`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.utils import tqdm

from merit_hf import __version__
from merit_hf.data.row import MISSING, SkipRecord, signal_hash, table_from_rows
from merit_hf.data.splits import SPLITS

from .builder import CorpusBuilder
from .parquet_file import write_parquet

# A row group is what a streaming reader loads at once: at most 128 rows, which are 15 MB of 12 leads x 10 s at 500 Hz.
ROWS_PER_GROUP = 128
SAMPLES_PER_GROUP = 2**25  # fewer rows if they are long: 64 MB
SHARDS_PER_SPLIT = 16  # enough for the workers of a loader; of larger splits, shards grow no further
MOST_ROWS_PER_SHARD = 2048


@dataclass(frozen=True)
class Shard:
    """A finished shard: its file, its SHA-256, the records left out of it, and hashes of its signals."""

    path: Path
    split: str
    sha256: str
    num_rows: int
    skipped: list[tuple[str, str, str]]  # ecg_id, reason, detail
    signals: np.ndarray  # hash of each row's signal, uint64


@dataclass(frozen=True)
class _Task:
    path: Path
    split: str
    items: Sequence[Any]


def write_shards(corpus: CorpusBuilder, folder: Path, num_proc: int) -> list[Shard]:
    """Writes all rows of a corpus as Parquet shards into `folder`, except shards that are there from an earlier run.

    A shard of an earlier run counts only if it was made from the same items, with the same options and by the same
    version of this library; files of recordings are taken to be unchanged.

    Returns:
        The shards in the order of their rows.

    Raises:
        ValueError: a row that cannot be right.
        ChildProcessError: a worker process was killed; the finished shards stay.
    """
    work = corpus.work()
    if unknown := work.keys() - set(SPLITS):
        raise ValueError(f"splits {sorted(unknown)} are not among {SPLITS}")
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.unfinished*"):
        # Workers of a conversion that was killed just now may still be writing there, for a moment.
        shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    tasks = _tasks(corpus, work, folder)
    finished: dict[Path, Shard] = {}
    with tqdm(total=sum(len(items) for items in work.values()), unit="record", desc="Converting") as progress:
        for shard in _run(corpus, _unfinished(tasks, finished, progress), num_proc):
            finished[shard.path] = shard
            progress.update(shard.num_rows + len(shard.skipped))
    return [finished[path] for path in sorted(finished, key=lambda path: (SPLITS.index(finished[path].split), path))]


def _tasks(corpus: CorpusBuilder, work: Mapping[str, Sequence[Any]], folder: Path) -> Iterator[_Task]:
    options = _options_digest(corpus)
    for split in SPLITS:
        items = work.get(split, [])
        size = _rows_per_shard(len(items))
        for number, start in enumerate(range(0, len(items), size)):
            part = items[start : start + size]
            digest = hashlib.sha256(f"{options}{split}{part!r}".encode()).hexdigest()[:16]
            yield _Task(folder / f"{split}-{number:05d}-{digest}.parquet", split, part)


def _rows_per_shard(num_items: int) -> int:
    groups = -(-num_items // (SHARDS_PER_SPLIT * ROWS_PER_GROUP))
    return min(max(groups, 1) * ROWS_PER_GROUP, MOST_ROWS_PER_SHARD)


def _options_digest(corpus: CorpusBuilder) -> str:
    """Hash of everything that determines the rows of a corpus, except its items."""
    options = corpus.__getstate__()
    paths = [Path(value) for value in options.values() if isinstance(value, (str, Path)) and value]
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]
    kind = f"{type(corpus).__module__}.{type(corpus).__qualname__}"
    facts = (__version__, kind, sorted(options.items()), files, corpus.features)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _unfinished(tasks: Iterator[_Task], finished: dict[Path, Shard], progress: Any) -> Iterator[_Task]:
    for task in tasks:
        if task.path.exists() and (shard := _read_note(task.path, task.split)) is not None:
            finished[task.path] = shard
            progress.update(shard.num_rows + len(shard.skipped))
        else:
            yield task


# --- processes -------------------------------------------------------------------------------------------------------

_corpus_of_worker: CorpusBuilder


def _run(corpus: CorpusBuilder, tasks: Iterator[_Task], num_proc: int) -> Iterator[Shard]:
    if num_proc == 1:
        for task in tasks:
            yield _write_shard(corpus, task)
        return
    with ProcessPoolExecutor(num_proc, initializer=_start_worker, initargs=(corpus,)) as pool:
        running: set[Future[Shard]] = set()
        try:
            for task in tasks:
                running.add(pool.submit(_write_in_worker, task))
                if len(running) > num_proc:  # one waits, so that no worker does; more would only take memory
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker process was killed, perhaps because memory ran out; run the same command again with a "
                "smaller num_proc: what is finished is kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(corpus: CorpusBuilder) -> None:
    global _corpus_of_worker
    _corpus_of_worker = corpus
    # Progress bars share one lock between processes: a worker that is killed while it holds it would stop all others.
    tqdm.set_lock(threading.RLock())
    # If its parent is killed, a worker would wait for work forever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_in_worker(task: _Task) -> Shard:
    return _write_shard(_corpus_of_worker, task)


# --- one shard -------------------------------------------------------------------------------------------------------


def _write_shard(corpus: CorpusBuilder, task: _Task) -> Shard:
    unfinished = task.path.with_name(f"{task.path.name}.unfinished-{os.getpid()}")
    skipped: list[tuple[str, str, str]] = []
    signals: list[int] = []
    features = corpus.features

    def tables() -> Iterator[pa.Table]:
        for rows in _groups(corpus, task.items, skipped):
            signals.extend(signal_hash(row["signal"]) for row in rows)
            yield table_from_rows(rows, features)

    try:
        write_parquet(unfinished, features, tables())
    except ValueError as error:
        raise ValueError(f"{task.split}: {error}") from error
    hashes = np.array(signals, dtype=np.uint64)
    shard = Shard(task.path, task.split, _digest_on_disk(unfinished), len(hashes), skipped, hashes)
    _write_note(shard)
    unfinished.rename(task.path)
    return shard


def _digest_on_disk(path: Path) -> str:
    """SHA-256 of a file; afterwards its content is on the disk."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**24):
            digest.update(block)
        os.fsync(file.fileno())
    return digest.hexdigest()


def shard_without(
    shard: Shard, rows: Mapping[int, tuple[str, str, str]], features: datasets.Features, folder: Path
) -> Shard:
    """A copy of a shard in `folder` from which some rows are left out; the shard itself stays as it is.

    Args:
        rows: number of each row to leave out -> its ecg_id, the reason, the detail.
    """

    def tables() -> Iterator[pa.Table]:
        file, start = pq.ParquetFile(shard.path), 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            kept = [row for row in range(len(table)) if start + row not in rows]
            start += len(table)
            if kept:
                yield table.take(kept).combine_chunks().cast(features.arrow_schema)

    path = folder / shard.path.name
    write_parquet(path, features, tables())
    signals = np.delete(shard.signals, list(rows))
    return Shard(path, shard.split, _digest_on_disk(path), len(signals), [*shard.skipped, *rows.values()], signals)


def _groups(
    corpus: CorpusBuilder, items: Sequence[Any], skipped: list[tuple[str, str, str]]
) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    num_samples = 0
    for item in items:
        try:
            row = _checked_row(corpus, item)
        except SkipRecord as skip:
            skipped.append((skip.ecg_id, skip.reason, skip.detail))
            continue
        if rows and (len(rows) == ROWS_PER_GROUP or num_samples + row["signal"].size > SAMPLES_PER_GROUP):
            yield rows
            rows, num_samples = [], 0
        rows.append(row)
        num_samples += row["signal"].size
    if rows:
        yield rows


def _checked_row(corpus: CorpusBuilder, item: Any) -> dict[str, Any]:
    row = corpus.row(item)
    if not np.any((row["signal"] != MISSING) & (row["signal"] != 0)):
        raise SkipRecord(row["ecg_id"], "empty signal", "every sample is missing or zero")
    return row


# --- notes: what is known about a finished shard ---------------------------------------------------------------------


def _note_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _write_note(shard: Shard) -> None:
    unfinished = _note_of(shard.path).with_suffix(f".unfinished-{os.getpid()}")
    facts = {name: value for name, value in vars(shard).items() if name not in ("path", "split")}
    facts["signals"] = shard.signals.tolist()
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(_note_of(shard.path))


def _read_note(path: Path, split: str) -> Shard | None:
    if not _note_of(path).is_file():
        return None
    facts = json.loads(_note_of(path).read_text(encoding="utf-8"))
    skipped = [(ecg_id, reason, detail) for ecg_id, reason, detail in facts["skipped"]]
    signals = np.array(facts["signals"], dtype=np.uint64)
    return Shard(path, split, facts["sha256"], facts["num_rows"], skipped, signals)
