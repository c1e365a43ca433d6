"""describe: what is in a converted corpus, in numbers, with one row group in memory at a time.

Signals are counted in `signal_statistics.py`, leaks are found in `build/leaks.py`. A description is written as text in
`text.py` and drawn in `merit_hf.plotting.description`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.utils import tqdm

from merit_hf.data.build.leaks import find_leaks
from merit_hf.data.build.split_counts import SplitCounts
from merit_hf.data.reports import clean_report, report_hash
from merit_hf.data.row import signal_hash
from merit_hf.data.splits import SPLITS

from .signal_statistics import SignalStatistics
from .value_counts import ValueCounts

MOST_FREQUENT = 10  # reports that are shown
UNKNOWN = "unknown"


def describe(corpus: str | os.PathLike[str], *, progress: bool = False) -> dict[str, Any]:
    """Describes a converted corpus: splits, labels, reports, signals, persons, and leaks between the splits.

    Every count is exact. Amplitude percentiles are taken from 50 evenly spaced samples of each lead of a record, those
    of the range (highest minus lowest value of a lead in a record) from all samples, both in steps of 0.005 mV or
    standard deviations; durations are in steps of 0.1 s. Reports are compared as the text tower sees them
    (`clean_report`). A lead is called clipped if it rests at its own lowest or highest value for 20 ms and 3 samples
    or longer.

    Memory does not grow with the corpus, except for 16 bytes per record and the names of the patients.

    Args:
        corpus: folder of a converted corpus.
        progress: show a bar.

    Returns:
        Only numbers, texts, lists and dicts, as in `description.json`.

    Raises:
        ValueError: the folder is missing or holds no corpus.
    """
    folder = Path(corpus)
    shards = {split: sorted((folder / "data").glob(f"{split}-*.parquet")) for split in SPLITS}
    shards = {split: paths for split, paths in shards.items() if paths}
    if not shards:
        raise ValueError(f"{folder} is no corpus (README.md and data/*.parquet); make one with `merit convert`")
    tasks = _tasks(next(iter(shards.values()))[0])
    signals = SignalStatistics()
    described = {split: _DescribedSplit(tasks, signals) for split in shards}
    total = sum(pq.read_metadata(path).num_rows for paths in shards.values() for path in paths)
    with tqdm(total=total, unit="record", desc="Describing", disable=not progress) as bar:
        for split, paths in shards.items():
            for table in _tables(paths, [*_DescribedSplit.columns, *tasks]):
                described[split].add(table)
                bar.update(len(table))
    leaks = find_leaks(
        {split: counts.patients for split, counts in described.items()},
        {split: counts.hashes("signals") for split, counts in described.items()},
    )
    ecg_ids = {split: _cells(shards[split], "ecg_id", rows) for split, rows in leaks.shown_rows().items()}
    return {
        "corpus": str(corpus),
        "records": total,
        "splits": {split: counts.summary() for split, counts in described.items()},
        "tasks": {task: _task(task, names, described) for task, names in tasks.items()},
        "reports": _reports(described, shards),
        "signals": signals.description(),
        "persons": {
            "age": _merged(counts.ages for counts in described.values()),
            "sex": dict(sum((counts.sexes for counts in described.values()), Counter()).most_common()),
        },
        "leaks": {
            "patients": {" and ".join(pair): len(names) for pair, names in leaks.patients.items()},
            "signals": {" and ".join(pair): len(pairs) for pair, pairs in leaks.signals.items()},
            "repeated_signals": {split: len(pairs) for split, pairs in leaks.repeated.items()},
            "findings": leaks.lines(ecg_ids),
        },
    }


class _DescribedSplit(SplitCounts):
    """Counts of one split: labels and patients, and also persons, reports, and hashes of signals and reports."""

    columns = (
        *("patient_id", "signal", "num_samples", "sampling_rate", "lead_names", "adc_gain", "units"),
        *("report", "report_language", "age", "sex"),
    )

    def __init__(self, tasks: Mapping[str, Sequence[str]], signals: SignalStatistics) -> None:
        super().__init__(tasks)
        self.signals = signals  # of all splits together
        self.languages: Counter[str] = Counter()
        self.sexes: Counter[str] = Counter()
        self.ages, self.words = ValueCounts(step=1.0), ValueCounts(step=1.0)
        self._hashes: dict[str, list[np.ndarray]] = {"signals": [], "reports": []}

    def hashes(self, of: str) -> np.ndarray:
        """Hash of each record's signal or cleaned report (0: it has none), uint64 (records,)."""
        return np.concatenate([np.zeros(0, dtype=np.uint64), *self._hashes[of]])

    def add(self, table: pa.Table) -> None:
        super().add(table)
        self._add_signals(table)
        self._add_reports(table)
        self.sexes.update(sex or UNKNOWN for sex in table["sex"].to_pylist())
        self.ages.add(np.array(table["age"].to_pylist(), dtype=np.float64))

    def _add_signals(self, table: pa.Table) -> None:
        column = table["signal"].combine_chunks()
        flat, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
        gains, leads, units, rates = (
            table[name].to_pylist() for name in ("adc_gain", "lead_names", "units", "sampling_rate")
        )
        hashes = np.zeros(len(table), dtype=np.uint64)
        for row in range(len(table)):
            counts = flat[offsets[row] : offsets[row + 1]]
            hashes[row] = signal_hash(counts)
            samples = counts.reshape(len(leads[row]), -1)
            self.signals.add(samples, np.array(gains[row]), leads[row], units[row], rates[row])
        self._hashes["signals"].append(hashes)
        self.signals.flush()

    def _add_reports(self, table: pa.Table) -> None:
        cleaned = [clean_report(text) for text in table["report"].to_pylist()]
        hashes = [1 + report_hash(text) if text else 0 for text in cleaned]
        self._hashes["reports"].append(np.array(hashes, dtype=np.uint64))
        self.words.add(np.array([len(text.split()) for text in cleaned if text], dtype=np.float64))
        languages = table["report_language"].to_pylist()
        self.languages.update(name or UNKNOWN for name, text in zip(languages, cleaned, strict=True) if text)

    def summary(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "patients": len(self.patients),
            "without_patient": self.without_patient,
            "with_report": int(np.count_nonzero(self.hashes("reports"))),
            "without_age": self.records - ((self.ages.summary() or {}).get("count", 0)),
            "without_sex": self.sexes[UNKNOWN],
        }


def _tables(paths: Iterable[Path], columns: list[str]) -> Iterable[pa.Table]:
    """Row groups of the shards of one split, one after the other."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns, use_threads=False)


def _cells(paths: Iterable[Path], column: str, rows: Iterable[int]) -> dict[int, Any]:
    """Cells of one column of a split by row; other columns are not read."""
    wanted, start = sorted(rows), 0
    cells: dict[int, Any] = {}
    for path in paths:
        end = start + pq.read_metadata(path).num_rows
        if here := [row for row in wanted if start <= row < end]:
            values = pq.read_table(path, columns=[column])[column].take([row - start for row in here]).to_pylist()
            cells.update(zip(here, values, strict=True))
        start = end
    return cells


def _tasks(shard: Path) -> dict[str, list[str]]:
    """Label universe of each task, as the shard's own schema states it."""
    features = datasets.Features.from_arrow_schema(pq.read_schema(shard))
    return {
        name: feature.feature.names
        for name, feature in features.items()
        if isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.ClassLabel)
    }


def _task(task: str, names: Sequence[str], described: Mapping[str, _DescribedSplit]) -> dict[str, Any]:
    records: dict[str, int] = {}
    labels: dict[str, dict[str, Any]] = {name: {"positives": {}, "prevalence": {}} for name in names}
    together = np.zeros((len(names), len(names)), dtype=np.int64)
    per_record: Counter[int] = Counter()
    for split, counts in described.items():
        sizes = counts.labels_per_record[task]
        per_record.update(sizes)
        together += counts.labels[task]
        records[split] = sum(count for size, count in sizes.items() if size)
        for name, count in zip(names, counts.records_with(task), strict=True):
            labels[name]["positives"][split] = count
            labels[name]["prevalence"][split] = count / records[split] if records[split] else None
    return {
        "records": records,
        "labels": labels,
        "labels_per_record": {str(size): per_record[size] for size in sorted(per_record)},
        "co_occurrence": together.tolist(),
    }


def _reports(described: Mapping[str, _DescribedSplit], shards: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    hashes = {split: counts.hashes("reports") for split, counts in described.items()}
    splits, rows = zip(*((split, np.flatnonzero(found)) for split, found in hashes.items()), strict=True)
    everything = np.concatenate([hashes[split][there] for split, there in zip(splits, rows, strict=True)])
    _, first, counts = np.unique(everything, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))[:MOST_FREQUENT]
    ends = np.cumsum([len(there) for there in rows])
    frequent = []
    for number, count in zip(first[order].tolist(), counts[order].tolist(), strict=True):
        place = int(np.searchsorted(ends, number, side="right"))
        row = int(rows[place][number - ends[place] + len(rows[place])])
        text = clean_report(_cells(shards[splits[place]], "report", [row])[row])
        frequent.append({"text": text, "records": count})
    train = np.unique(hashes.get("train", np.zeros(0, dtype=np.uint64)))
    others = {split: found[found > 0] for split, found in hashes.items() if split != "train"}
    return {
        "records": len(everything),
        "distinct": len(counts),
        "occurring_once": int((counts == 1).sum()),
        "most_frequent": frequent,
        "also_in_train": {split: int(np.isin(found, train).sum()) for split, found in others.items()},
        "languages": dict(sum((counts.languages for counts in described.values()), Counter()).most_common()),
        "words": _merged(counts.words for counts in described.values()),
    }


def _merged(parts: Iterable[ValueCounts]) -> dict[str, Any] | None:
    """Summary of the values that were counted in several splits."""
    merged: ValueCounts | None = None
    for part in parts:
        if merged is None:
            merged = ValueCounts(part.step)
        merged.join(part)
    return None if merged is None else merged.summary()
