"""Writing a corpus: shards, card and the list of what was left out; the folder appears only when all is complete.

A single row is in `data/row.py`, a shard in `shards.py`, the text of the card in `card.py`.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from merit_hf import __version__
from merit_hf.data.splits import SPLITS

from .builder import CorpusBuilder
from .card import dataset_card
from .leaks import DuplicateSignalsError, check_leaks, find_leaks, first_with_same
from .open import is_corpus_folder
from .shards import Shard, shard_without, write_shards
from .split_counts import SplitCounts
from .summary import CorpusSummary

logger = logging.getLogger(__name__)


SECONDS_TO_WAIT_FOR_LOCK = 5.0  # the worker processes of a killed conversion need a moment to notice


def write_corpus(
    corpus: CorpusBuilder,
    output_dir: str | os.PathLike[str],
    *,
    num_proc: int = 1,
    overwrite: bool = False,
    drop_duplicate_signals: bool = False,
) -> CorpusSummary:
    """Converts a corpus to Parquet shards, a dataset card and, where records were left out, `skipped.csv`.

    Everything is written to `<output_dir>.partial` and renamed at the very end, so a conversion that was stopped
    leaves no folder that looks complete. The next run with the same options resumes from there and makes the same
    files, byte for byte. Delete that folder to start over.

    Args:
        corpus: which corpus, with its options.
        output_dir: folder to make.
        num_proc: worker processes. The corpus is the same whatever their number.
        overwrite: replace a folder that is there.
        drop_duplicate_signals: of records with one and the same signal, keep the first in the order of the splits,
            train first, and list the others in `skipped.csv`.

    Raises:
        ValueError: `output_dir` is there and `overwrite` is off; another conversion is writing it; no record could be
            read; two records of one name; a patient or a signal in two splits that are not published ones
            (`CorpusBuilder.own_splits`). Finished shards are then deleted, except after a shared signal.
        ChildProcessError: a worker process was killed.
    """
    output = Path(output_dir).absolute()
    if num_proc < 1:
        raise ValueError(f"num_proc must be at least 1, not {num_proc}")
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not overwrite):
        raise ValueError(f"{output} is there already; choose another output_dir or pass --overwrite")
    if overwrite and output.is_dir() and any(output.iterdir()) and not is_corpus_folder(output):
        raise ValueError(f"{output} holds files but no corpus, so it is not overwritten; choose another output_dir")
    partial = output.with_name(f"{output.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(partial / "lock", timeout=SECONDS_TO_WAIT_FOR_LOCK):
            if any((partial / "shards").glob("*.parquet")):
                logger.warning("%s was left by a conversion that was stopped; going on with it", partial)
            try:
                summary = _build(corpus, partial, output, num_proc, drop_duplicate_signals)
                _put_in_place(partial / "corpus", output)
            except DuplicateSignalsError:
                raise  # the shards are right, and serve a run that drops the duplicates
            except ValueError:  # the next run would only find the same
                shutil.rmtree(partial)
                raise
            shutil.rmtree(partial)
    except Timeout:
        raise ValueError(
            f"another conversion is writing {output}; wait for it, or choose another output_dir"
        ) from None
    return summary


def _build(
    corpus: CorpusBuilder, partial: Path, output: Path, num_proc: int, drop_duplicate_signals: bool
) -> CorpusSummary:
    folder = partial / "corpus"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    shards = write_shards(corpus, partial / "shards", num_proc)
    if drop_duplicate_signals and shards:
        shards = _without_duplicates(shards, corpus.features, partial / "without_duplicates")
    skipped = sorted((SPLITS.index(shard.split), *line) for shard in shards for line in shard.skipped)
    left_out = sorted(("", skip.ecg_id, skip.reason, skip.detail) for skip in corpus.left_out())
    lines = [*((SPLITS[split], *line) for split, *line in skipped), *left_out]
    by_split = {split: [shard for shard in shards if shard.split == split and shard.num_rows] for split in SPLITS}
    if not any(by_split.values()):
        raise ValueError(f"no record could be read; {_first_skipped(lines)}")
    summary = _summarise(corpus, output, {split: found for split, found in by_split.items() if found}, lines)
    if lines:
        with open(folder / "skipped.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("split", "ecg_id", "reason", "detail"), *lines])
    card = dataset_card(corpus.card(), corpus.features, summary, _how_made(corpus, drop_duplicate_signals))
    (folder / "README.md").write_text(card, encoding="utf-8")
    for split, found in by_split.items():
        for number, shard in enumerate(found):
            shard.path.rename(folder / "data" / f"{split}-{number:05d}-of-{len(found):05d}.parquet")
    return summary


def _how_made(corpus: CorpusBuilder, drop_duplicate_signals: bool) -> str:
    """Line for the card: version, corpus, and the options that are no paths, which say nothing elsewhere."""
    options = {**corpus.__getstate__(), "drop_duplicate_signals": drop_duplicate_signals or None}
    told = [
        f"{name}={value!r}"
        for name, value in options.items()
        if value not in (None, [], {}) and not (isinstance(value, str) and (os.sep in value or Path(value).exists()))
    ]
    return f"By merit-hf {__version__}, `{type(corpus).__name__}({', '.join(told)})`."


def _without_duplicates(shards: list[Shard], features: datasets.Features, folder: Path) -> list[Shard]:
    """The shards, with copies in `folder` of those that lose rows. The shards themselves stay, for a later run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    first = first_with_same(np.concatenate([shard.signals for shard in shards]))
    again = np.flatnonzero(first != np.arange(len(first)))
    ends = np.cumsum([len(shard.signals) for shard in shards])
    shard_of = np.searchsorted(ends, [again, first[again]], side="right")  # of each record, and of the first like it
    names = {number: _ecg_ids(shards[number].path) for number in np.unique(shard_of).tolist()}
    rows: dict[int, dict[int, tuple[str, str, str]]] = {}
    starts = ends - [len(shard.signals) for shard in shards]
    for record, kept, (here, there) in zip(again.tolist(), first[again].tolist(), shard_of.T.tolist(), strict=True):
        row, name = record - starts[here], names[there][kept - starts[there]]
        rows.setdefault(here, {})[row] = (names[here][row], "duplicate signal", f"the same samples as {name}")
    return [
        shard_without(shard, rows[number], features, folder) if number in rows else shard
        for number, shard in enumerate(shards)
    ]


def _ecg_ids(path: Path) -> list[str]:
    return pq.read_table(path, columns=["ecg_id"])["ecg_id"].to_pylist()


def _summarise(
    corpus: CorpusBuilder, output: Path, shards: Mapping[str, list[Shard]], skipped: list[tuple[str, ...]]
) -> CorpusSummary:
    ecg_ids: dict[str, list[str]] = {split: [] for split in shards}
    tasks = corpus.tasks()
    counts = {split: SplitCounts(tasks) for split in shards}
    for split, shard in ((split, shard) for split, found in shards.items() for shard in found):
        table = pq.read_table(shard.path, columns=["ecg_id", *SplitCounts.columns, *tasks])
        ecg_ids[split] += table["ecg_id"].to_pylist()
        counts[split].add(table)
    if twice := [name for name, count in Counter(itertools.chain(*ecg_ids.values())).items() if count > 1]:
        raise ValueError(f"{len(twice)} ecg_id occur twice (the first: {twice[0]!r}); every record needs its own")
    signals = {split: np.concatenate([shard.signals for shard in found]) for split, found in shards.items()}
    leaks = find_leaks({split: found.patients for split, found in counts.items()}, signals)
    if corpus.own_splits:
        check_leaks(leaks, ecg_ids)
    return CorpusSummary(
        path=output,
        records={split: found.records for split, found in counts.items()},
        patients={split: len(found.patients) for split, found in counts.items()},
        reports={split: found.with_report for split, found in counts.items()},
        fingerprint=_fingerprint(shards),
        labels={task: _labels_by_split(task, universe, counts) for task, universe in tasks.items()},
        skipped=skipped,
        faults=leaks.lines(ecg_ids),
    )


def _labels_by_split(
    task: str, universe: Sequence[str], counts: Mapping[str, SplitCounts]
) -> dict[str, dict[str, int]]:
    columns = zip(*(found.records_with(task) for found in counts.values()), strict=True)
    return {label: dict(zip(counts, column, strict=True)) for label, column in zip(universe, columns, strict=True)}


def _fingerprint(shards: Mapping[str, list[Shard]]) -> str:
    digests = [(split, shard.sha256) for split, found in shards.items() for shard in found]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _first_skipped(skipped: list[tuple[str, ...]]) -> str:
    if not skipped:
        return "the source lists none"
    _, ecg_id, reason, detail = skipped[0]
    return f"{len(skipped)} were left out, the first ({ecg_id}): {reason}, {detail}"


def _put_in_place(folder: Path, output: Path) -> None:
    # On disk before the folder gets its name, or a power cut could leave empty files in it.
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    if output.is_dir() and any(output.iterdir()):
        old = Path(tempfile.mkdtemp(prefix=f"{output.name}.old-", dir=output.parent))
        output.rename(old)
        folder.rename(output)
        shutil.rmtree(old)
    else:
        folder.rename(output)
