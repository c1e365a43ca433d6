"""What the feature extractor costs a record in batches of records, in CPU ms: 12 leads, 10 s.

At its own rate (100 Hz records for the usual extractor, 500 Hz records for one of 500 Hz), with the change of rate
from 500 to 100 Hz, and with a band-pass of 0.5 to 40 Hz before it. The records are simulated ECGs in memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from stopwatch import time_steps, write_json

from merit_hf import EcgRecord, MeritFeatureExtractor
from merit_hf.simulation.corpus import SyntheticCorpus

TARGETS = {"native 100 Hz": 0.1, "resampled": 0.8, "resampled, band-pass": 1.2}
EXPLAINED = {
    "native 100 Hz": "100 Hz records, extractor of 100 Hz",
    "native 500 Hz": "500 Hz records, extractor of 500 Hz: five times the samples",
    "resampled": "500 Hz records, extractor of 100 Hz",
    "resampled, band-pass": "the same, through 0.5 to 40 Hz as well; the target allows 0.4 ms for it",
    "native 100 Hz, band-pass": "100 Hz records through 0.5 to 40 Hz",
    "single": "one 100 Hz record a call",
}


def simulated(num_records: int, sampling_rate: int) -> list[EcgRecord]:
    """Different ECGs, the same at either rate."""
    corpus = SyntheticCorpus(num_records=num_records, sampling_rate=sampling_rate)
    items = [item for split in corpus.work().values() for item in split][:num_records]
    return [corpus.record(item)[0] for item in items]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=64, help="records of a call (default: 64)")
    parser.add_argument("--repeats", type=int, default=20, help="measured rounds; the best counts (default: 20)")
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    arguments = parser.parse_args()

    slow, fast = (simulated(arguments.batch_size, rate) for rate in (100, 500))
    usual, filtering = MeritFeatureExtractor(), MeritFeatureExtractor(bandpass=(0.5, 40.0))
    fine = MeritFeatureExtractor(sampling_rate=500)
    steps: dict[str, Callable[[int], object]] = {
        "native 100 Hz": lambda _: usual(slow, return_tensors="pt"),
        "native 500 Hz": lambda _: fine(fast, return_tensors="pt"),
        "resampled": lambda _: usual(fast, return_tensors="pt"),
        "resampled, band-pass": lambda _: filtering(fast, return_tensors="pt"),
        "native 100 Hz, band-pass": lambda _: filtering(slow, return_tensors="pt"),
        "single": lambda _: [usual(record, return_tensors="pt") for record in slow],
    }
    timings = time_steps(steps, arguments.batch_size, arguments.repeats)
    timings.show(TARGETS, EXPLAINED)
    write_json(arguments.output, timings.facts(TARGETS, batch_size=arguments.batch_size), sys.argv)


if __name__ == "__main__":
    main()
