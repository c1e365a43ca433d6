"""What one training record costs to fetch, to make into tensors and to augment, in ms and in copies of its tensor.

The unit of the last column is a plain NumPy copy of the record's float32 tensor out of a batch that no cache holds,
measured in turn with the rest: it says how far from memory bandwidth a step is, on any machine. One thread.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import torch

from merit_hf import STANDARD_12, EcgRecord, MeritFeatureExtractor, MeritProcessor
from merit_hf.data.augmentation import EcgAugmentation
from merit_hf.data.batching import ReportLengthBatchSampler
from merit_hf.data.collator import MeritCollator
from merit_hf.data.corpus import corpus_features, load_corpus, row_from_record
from merit_hf.data.pretraining_dataset import PretrainingDataset, report_lengths
from merit_hf.data.randomness import record_generator
from merit_hf.data.report_augmentation import ReportAugmentation
from merit_hf.training.text_tower import train_tokenizer

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


def milliseconds(steps: dict[str, Callable[[int], object]], batch_size: int, repeats: int) -> dict[str, float]:
    """Least ms a record of each step; steps take turns, so that a busy moment of the machine hits all alike."""
    best = dict.fromkeys(steps, float("inf"))
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step(repeat)
            if repeat:  # the first round warms up
                best[name] = min(best[name], (time.perf_counter() - start) / batch_size * 1e3)
    return best


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
    torch.set_num_threads(1)
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

        steps: dict[str, Callable[[int], object]] = {
            "copy": copy,
            "fetch": lambda repeat: dataset.__getitems__(batches[repeat % len(batches)]),
            "tensors": lambda repeat: plain(rows),
            "augmentation": augment,
            "everything": lambda repeat: everything(dataset.__getitems__(batches[repeat % len(batches)])),
        }
        times = milliseconds(steps, arguments.batch_size, arguments.repeats)

    explained = {
        "copy": "NumPy copy of a record's tensor",
        "fetch": "rows from the disk",
        "tensors": "rows to tensors by the feature extractor",
        "augmentation": "augmentation of the tensors",
        "everything": "rows from the disk to a training batch, with text and noise",
    }
    print(f"{'step':<14}{'ms/record':>10}{'copies':>9}")
    for name, value in times.items():
        print(f"{name:<14}{value:>10.4f}{value / times['copy']:>9.1f}   {explained[name]}")
    if arguments.output:
        numbers = {name: {"ms_per_record": value, "copies": value / times["copy"]} for name, value in times.items()}
        arguments.output.write_text(
            json.dumps({"batch_size": arguments.batch_size, "steps": numbers}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
