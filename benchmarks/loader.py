"""What one training record costs to fetch, to make into tensors, to augment and to tokenize, in CPU ms.

"loader and collator" is what the target is stated for: rows read from the disk by `PretrainingDataset.__getitems__`
and made into normalised tensors by `MeritCollator` with the feature extractor, without augmentation, text and noise of
masks, which are listed apart. "copy" is a plain NumPy copy of the record's float32 tensor out of memory that no cache
holds: it says how far from memory bandwidth a step is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
from stopwatch import time_steps, write_json

from merit_hf import STANDARD_12, EcgRecord, MeritFeatureExtractor, MeritProcessor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset, report_lengths
from merit_hf.data.load.report_augmentation import ReportAugmentation
from merit_hf.data.randomness import record_generator
from merit_hf.data.row import corpus_features, row_from_record
from merit_hf.training.pretraining.text_tower import train_tokenizer

TARGETS = {"loader and collator": 0.06}
EXPLAINED = {
    "copy": "NumPy copy of a record's tensor",
    "fetch": "rows from the disk",
    "tensors": "rows to tensors by the feature extractor",
    "loader and collator": "both: rows from the disk to tensors",
    "augmentation": "augmentation of the tensors",
    "text": "reports cleaned, shown in part and tokenized",
    "everything": "rows from the disk to a training batch, with augmentation, text and noise of masks",
}
FINDINGS = (
    "sinus rhythm",
    "left axis deviation",
    "possible old inferior infarct",
    "atrial fibrillation",
    "low voltage",
)


def random_corpus(folder: Path, num_records: int, sampling_rate: float) -> datasets.Dataset:
    """Records of noise with reports, read from the disk as a corpus is."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(num_records):
        signal = generator.normal(0, 0.5, (12, round(10 * sampling_rate))).astype(np.float32)
        report = ". ".join(generator.permutation(FINDINGS)[: index % len(FINDINGS) + 1])
        record = EcgRecord(signal, sampling_rate, STANDARD_12, report=report)
        row = row_from_record(record, ecg_id=str(index), patient_id=str(index), report_language="en")
        rows.append({**row, "signal": row["signal"].ravel()})
    datasets.Dataset.from_list(rows, features=corpus_features({})).save_to_disk(folder)
    return datasets.load_from_disk(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--corpus", help="folder of a converted corpus; its training split is read (default: made-up records)"
    )
    parser.add_argument(
        "--sampling_rate", type=float, default=100, help="of the made-up records, in Hz (default: 100)"
    )
    parser.add_argument("--num_records", type=int, default=1000, help="number of made-up records (default: 1000)")
    parser.add_argument("--batch_size", type=int, default=64, help="records of a batch (default: 64)")
    parser.add_argument("--repeats", type=int, default=20, help="measured rounds; the best counts (default: 20)")
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()

    with tempfile.TemporaryDirectory() as folder:
        if arguments.corpus:
            split = load_corpus(arguments.corpus, split="train")
        else:
            split = random_corpus(Path(folder), arguments.num_records, arguments.sampling_rate)
        dataset = PretrainingDataset(split)
        reports = dataset.reports()
        extractor = MeritFeatureExtractor()
        processor = MeritProcessor(extractor, train_tokenizer(reports, vocab_size=2048))
        batches = list(
            ReportLengthBatchSampler(report_lengths(reports, processor.tokenizer, 128), arguments.batch_size)
        )
        everything = MeritCollator(
            processor,
            max_text_length=128,
            augmentation=EcgAugmentation(),
            report_augmentation=ReportAugmentation(),
            num_mask_units=240,
            num_patches=240,
        )
        plain = MeritCollator(extractor)
        rows = dataset.__getitems__(batches[0])
        features = plain(rows)
        signals = features["input_values"], features["padding_mask"]
        source = np.ones((64 * 1024 * 1024 // 4), dtype=np.float32)  # 64 MiB: larger than the caches
        values = features["input_values"].numel()
        places = len(source) // values

        def copy(repeat: int) -> np.ndarray:
            start = repeat % places * values
            return source[start : start + values].copy()

        def augment(repeat: int) -> object:
            generators = [record_generator(0, repeat, row["index"], "augmentation") for row in rows]
            return EcgAugmentation()(*signals, generators, extractor.sampling_rate)

        def fetch(repeat: int) -> list[dict[str, object]]:
            return dataset.__getitems__(batches[repeat % len(batches)])

        steps: dict[str, Callable[[int], object]] = {
            "copy": copy,
            "fetch": fetch,
            "tensors": lambda _: plain(rows),
            "loader and collator": lambda repeat: plain(fetch(repeat)),
            "augmentation": augment,
            "text": lambda _: everything._text(rows),
            "everything": lambda repeat: everything(fetch(repeat)),
        }
        timings = time_steps(steps, arguments.batch_size, arguments.repeats)

    targets = TARGETS if extractor.sampling_rate == arguments.sampling_rate and not arguments.corpus else {}
    timings.show(targets, EXPLAINED)
    write_json(arguments.output, timings.facts(targets, batch_size=arguments.batch_size), sys.argv)


if __name__ == "__main__":
    main()
