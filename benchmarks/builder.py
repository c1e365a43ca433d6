"""What one record costs on its way from a WFDB file into a Parquet corpus, in CPU ms, as a whole and step by step.

The records are simulated ECGs of 12 leads, 10 s at 500 Hz that the script writes first; `--data_dir` takes a folder
with others. The whole is `write_corpus` in one process: files read, rows checked, shards written and hashed, card
made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
from stopwatch import time_steps, write_json

from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.build.parquet_file import write_parquet
from merit_hf.data.build.shards import ROWS_PER_GROUP
from merit_hf.data.build.write import write_corpus
from merit_hf.data.row import read_record, row_from_record, table_from_rows
from merit_hf.leads_merit import STANDARD_12
from merit_hf.simulation.simulator import draw_anatomy, draw_parameters, simulate_ecg

TARGETS = {"build": 1.5}
EXPLAINED = {
    "read": "WFDB file to record",
    "row": "record to row",
    "table": "rows to an Arrow table",
    "parquet": "table to a Parquet file",
    "build": "all of it by write_corpus, with hashes and the card",
}


@dataclass
class WfdbFolder(CorpusBuilder):
    """Every WFDB record below a folder."""

    folder: str
    num_records: int

    def tasks(self) -> dict[str, list[str]]:
        return {"labels": ["AFIB", "NORM"]}

    def work(self) -> dict[str, list[str]]:
        headers = sorted(Path(self.folder).rglob("*.hea"))[: self.num_records]
        return {"train": [str(header) for header in headers]}

    def row(self, item: str) -> dict[str, Any]:
        ecg_id = Path(item).stem
        record = read_record(item, ecg_id)
        record.report = "sinus rhythm. normal ecg."
        return row_from_record(record, ecg_id=ecg_id, patient_id=ecg_id, report_language="en", labels=["NORM"])

    def card(self) -> CardFacts:
        return CardFacts(
            title="Records of a benchmark",
            summary="WFDB records as they are.",
            source="https://example.org",
            licence="other",
            citation="@misc{benchmark}",
            languages=("en",),
            column_notes={"labels": "the same for all"},
            known_faults=("None of it means anything.",),
        )


def write_simulated(folder: Path, num_records: int, sampling_rate: int = 500, duration: float = 10.0) -> None:
    """Simulated ECGs as WFDB records of 16-bit samples, 1,000 counts a millivolt."""
    generator = np.random.default_rng(0)
    for number in range(num_records):
        ecg = simulate_ecg(
            draw_parameters(generator),
            draw_anatomy(generator),
            generator,
            duration=duration,
            sampling_rate=sampling_rate,
        )
        counts = np.rint(ecg.signal.T * 1000).astype("<i2")
        counts.tofile(folder / f"{number:05d}.dat")
        lines = [f"{number:05d} 12 {sampling_rate} {len(counts)}"]
        lines += [
            f"{number:05d}.dat 16 1000.0(0)/mV 16 0 {counts[0, row]} 0 0 {STANDARD_12[row]}" for row in range(12)
        ]
        (folder / f"{number:05d}.hea").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="folder with WFDB records (default: simulated ones)")
    parser.add_argument("--num_records", type=int, default=512, help="records to convert (default: 512)")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds; the best counts (default: 5)")
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()

    with tempfile.TemporaryDirectory() as folder:
        source = arguments.data_dir or Path(folder, "wfdb")
        if arguments.data_dir is None:
            source.mkdir()
            write_simulated(source, arguments.num_records)
        corpus = WfdbFolder(str(source), arguments.num_records)
        items = corpus.work()["train"]
        if not items:
            parser.error(f"--data_dir {source} holds no .hea files")
        records = [read_record(item, Path(item).stem) for item in items]
        rows = [corpus.row(item) for item in items]
        groups = [rows[start : start + ROWS_PER_GROUP] for start in range(0, len(rows), ROWS_PER_GROUP)]
        tables = [table_from_rows(group, corpus.features) for group in groups]
        output = Path(folder, "corpus")

        def build(_: int) -> None:
            shutil.rmtree(output, ignore_errors=True)
            write_corpus(corpus, output)

        steps: dict[str, Callable[[int], object]] = {
            "read": lambda _: [read_record(item, "") for item in items],
            "row": lambda _: [row_from_record(record, ecg_id="", patient_id=None) for record in records],
            "table": lambda _: [table_from_rows(group, corpus.features) for group in groups],
            "parquet": lambda _: write_parquet(Path(folder, "shard.parquet"), corpus.features, iter(tables)),
            "build": build,
        }
        timings = time_steps(steps, len(items), arguments.repeats)
        size = sum(path.stat().st_size for path in (output / "data").iterdir())

    timings.show(TARGETS, EXPLAINED)
    per_record = round(size / len(items))
    print(f"{per_record:,} bytes a record in Parquet, {rows[0]['signal'].nbytes:,} as bare counts")
    facts = timings.facts(TARGETS, num_records=len(items), parquet_bytes_per_record=per_record)
    write_json(arguments.output, facts, sys.argv)


if __name__ == "__main__":
    main()
