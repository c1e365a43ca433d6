"""What a corpus is, from its Parquet files: splits, tasks, leads, rates. No signal is read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = ("train", "validation", "test")
_COLUMNS = ["patient_id", "sampling_rate", "num_samples", "lead_names", "units", "report"]


def corpus_info(path: str) -> dict[str, Any]:
    """Plain values about a corpus folder, ready for JSON.

    Raises:
        ValueError: a file is no Parquet, or lacks a column of corpora.
    """
    shards = sorted((Path(path) / "data").glob("*.parquet"))
    records: Counter[str] = Counter()
    with_report = 0
    patients: set[str] = set()
    counts: dict[str, Counter[Any]] = {name: Counter() for name in ("sampling_rate", "lead_names", "units")}
    durations: list[float] = []
    schema: pa.Schema | None = None
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
            table = file.read(_COLUMNS)
            with_report += len(table) - table["report"].null_count
        except (pa.ArrowException, KeyError) as error:
            raise ValueError(f"{shard} is no shard of a corpus: {' '.join(str(error).split())}") from error
        schema = schema or file.schema_arrow
        records[shard.name.split("-")[0]] += len(table)
        patients |= set(table["patient_id"].unique().to_pylist()) - {None}
        for name in ("sampling_rate", "units"):
            counts[name].update({each["values"]: each["counts"] for each in table[name].value_counts().to_pylist()})
        counts["lead_names"].update(map(tuple, table["lead_names"].to_pylist()))
        if len(table):
            seconds = table["num_samples"].to_numpy() / table["sampling_rate"].to_numpy()
            durations += [float(seconds.min()), float(seconds.max())]
    assert schema is not None  # a corpus has a shard
    order = [*SPLITS, *sorted(set(records) - set(SPLITS))]
    return {
        "path": path,
        "kind": "corpus",
        "title": _title(Path(path)),
        "records": {split: records[split] for split in order if split in records},
        "patients": len(patients),
        "with_report": with_report,
        "tasks": _tasks(schema),
        "leads": [{"lead_names": list(names), "records": n} for names, n in counts["lead_names"].most_common()],
        "sampling_rates": {f"{rate:g}": count for rate, count in counts["sampling_rate"].most_common()},
        "durations": [min(durations), max(durations)] if durations else None,
        "units": dict(counts["units"].most_common()),
        "bytes": sum(shard.stat().st_size for shard in shards),
    }


def corpus_lines(info: dict[str, Any]) -> dict[str, str]:
    """The same for people: what it is called, and how it is shown."""
    total = sum(info["records"].values())
    splits = ", ".join(f"{split} {count:,}" for split, count in info["records"].items())
    leads = [f"{len(each['lead_names'])} ({', '.join(each['lead_names'])})" for each in info["leads"]]
    lines = {
        "corpus": info["title"],
        "records": f"{total:,}: {splits}",
        "patients": f"{info['patients']:,}" if info["patients"] else "unknown",
        "reports": f"{info['with_report']:,} of the records have one",
        "leads": leads[0] + (f", and {len(leads) - 1} other sets" if len(leads) > 1 else "") if leads else "none",
        "sampling rate": ", ".join(f"{rate} Hz ({count:,})" for rate, count in info["sampling_rates"].items()),
        "size": f"{info['bytes'] / 1e6:,.1f} MB",
        "units": ", ".join(info["units"]),
    }
    if info["durations"]:
        shortest, longest = info["durations"]
        lines["duration"] = f"{shortest:g} s" if shortest == longest else f"{shortest:g} to {longest:g} s"
    for task, labels in info["tasks"].items():
        shown = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
        lines[f"task {task}"] = f"{len(labels)} labels: {shown}"
    return lines


def _tasks(schema: pa.Schema) -> dict[str, list[str]]:
    """Label names of each task, as the datasets library keeps them in the schema."""
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        name: feature["feature"]["names"]
        for name, feature in features.items()
        if isinstance(feature.get("feature"), dict) and feature["feature"].get("_type") == "ClassLabel"
    }


def _title(folder: Path) -> str:
    """The first heading of the card, or the folder's name."""
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line.removeprefix("# ").strip()
    return folder.name
