"""Peak memory of building a corpus and of one pass of the loader over it, at several sizes of the corpus.

Each step runs in a process of its own. Records are short (12 leads, 1 s at 100 Hz), so that even many are made soon:
what counts is whether memory grows with their number. `anonymous` is what the process alone holds; the peak of the
resident set has the mapped files of the corpus too, which the system takes back when it needs the room.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
from stopwatch import write_json

from merit_hf import STANDARD_12, EcgRecord, MeritFeatureExtractor
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.row import row_from_record

STEPS = ("build", "load")
NUM_SIGNALS = 64
BATCH_SIZE = 64


@dataclass
class ShortRecords(CorpusBuilder):
    """Noise; two records a patient."""

    num_records: int

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        signals = generator.integers(-900, 900, (NUM_SIGNALS, 12, 100)).astype(np.float32) / np.float32(1000)
        self._signals = list(signals)

    def tasks(self) -> dict[str, list[str]]:
        return {"labels": ["NORM"]}

    def work(self) -> dict[str, range]:
        num_validation = self.num_records // 50 * 2
        return {"train": range(num_validation, self.num_records), "validation": range(num_validation)}

    def row(self, item: int) -> dict[str, Any]:
        record = EcgRecord(self._signals[item % NUM_SIGNALS], 100.0, STANDARD_12, report="sinus rhythm.")
        record.metadata["adc_gain"] = [1000.0] * 12
        patient = f"p{item // 2:08d}"
        return row_from_record(record, ecg_id=f"{item:08d}", patient_id=patient, report_language="en", labels=["NORM"])

    def card(self) -> CardFacts:
        return CardFacts(
            title="Short records of a benchmark",
            summary="Noise.",
            source="https://example.org",
            licence="other",
            citation="@misc{benchmark}",
            languages=("en",),
            column_notes={"labels": "the same for all"},
            known_faults=("None of it means anything.",),
        )


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """MB held at the most while the block runs: `anonymous` (by looking every 20 ms; Linux alone) and `resident`."""
    peak: dict[str, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            now = int(status.split("RssAnon:")[1].split()[0]) / 1024
            peak["anonymous"] = max(peak.get("anonymous", 0.0), now)

    watch = threading.Thread(target=look, daemon=True)
    if sys.platform == "linux":
        watch.start()
    yield peak
    ended.set()
    scale = 1024**2 if sys.platform == "darwin" else 1024
    peak["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def build(folder: Path, num_records: int) -> None:
    write_corpus(ShortRecords(num_records), folder)


def load(folder: Path) -> None:
    """One shuffled pass: rows from the disk, tensors, nothing kept."""
    dataset = PretrainingDataset(load_corpus(folder, split="train"))
    collator = MeritCollator(MeritFeatureExtractor(duration=1.0))
    for keys in ReportLengthBatchSampler(None, BATCH_SIZE, num_records=len(dataset)):
        collator(dataset.__getitems__(keys))


def measured_in_a_process(step: str, folder: Path, num_records: int) -> dict[str, float]:
    """Peak MB and CPU seconds of one step."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--num_records", str(num_records)]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder.parent / "cache")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--num_records", type=int, nargs="+", default=[2000, 20_000], help="sizes (default: 2000 20000)"
    )
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        datasets.disable_progress_bars()
        with peak_memory() as peak:
            if arguments.step == "build":
                build(arguments.folder, arguments.num_records[0])
            else:
                load(arguments.folder)
        print(json.dumps({**peak, "cpu_seconds": time.process_time()}))
        return

    print(f"{'records':>9}  {'step':<7}{'anonymous MB':>13}{'resident MB':>13}{'CPU s':>8}")
    found = []
    for num_records in arguments.num_records:
        with tempfile.TemporaryDirectory() as folder:
            for step in STEPS:
                facts = measured_in_a_process(step, Path(folder, "corpus"), num_records)
                found.append(
                    {"num_records": num_records, "step": step, **{name: round(value) for name, value in facts.items()}}
                )
                print(
                    f"{num_records:>9}  {step:<7}{facts.get('anonymous', float('nan')):>13.0f}"
                    f"{facts['resident']:>13.0f}{facts['cpu_seconds']:>8.0f}",
                    flush=True,
                )
    write_json(arguments.output, {"unit": "MB, peak", "measured": found}, sys.argv)


if __name__ == "__main__":
    main()
