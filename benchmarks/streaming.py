"""What streaming costs against map-style reading, and how much memory it takes as the corpus grows.

Both forms read the same records in shuffled batches, in turn and in one process, as rows and as tensors. Time is that
of the processor in all threads, so that a busy machine changes little; the threads of a stream spend theirs beside the
training. The ratio says more than the ECGs per second of one machine: map-style reading has decoded the Parquet files
once before, which is not counted, and a stream decodes them in every epoch. Then an epoch of corpora of growing size
is streamed, each in a process of its own, and the growth of that process' peak memory is shown. Larger corpora are the
same shard under more names, so they take no space on the disk, and are read from the cache of the operating system.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import torch

from merit_hf import STANDARD_12, EcgRecord, MeritFeatureExtractor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.shards import MOST_ROWS_PER_SHARD, ROWS_PER_GROUP
from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.load.row_group_order import RowGroupOrder
from merit_hf.data.load.stream import StreamedDataset
from merit_hf.data.row import corpus_features, row_from_record, table_from_rows

README = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: data/train-*.parquet}\n---\n"


def write_shard(path: Path, sampling_rate: float) -> None:
    """A full shard of noise with reports, 12 leads of 10 s."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(MOST_ROWS_PER_SHARD):
        signal = generator.normal(0, 0.5, (12, round(10 * sampling_rate))).astype(np.float32)
        record = EcgRecord(signal, sampling_rate, STANDARD_12, report="sinus rhythm. normal ecg.")
        rows.append(row_from_record(record, ecg_id=str(index), patient_id=str(index), report_language="en"))
    pq.write_table(table_from_rows(rows, corpus_features({})), path, row_group_size=ROWS_PER_GROUP)


def corpus_of(shard: Path, folder: Path, num_records: int) -> Path:
    """A corpus of at least so many records: the shard under several names."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(README, encoding="utf-8")
    number = -(-num_records // MOST_ROWS_PER_SHARD)
    for each in range(number):
        os.link(shard, folder / "data" / f"train-{each:05d}-of-{number:05d}.parquet")
    return folder


def streamed_batches(corpus: Path, batch_size: int, window: int) -> tuple[StreamedDataset, Iterable[list]]:
    dataset = StreamedDataset(corpus, "train", window=window)
    order = RowGroupOrder(dataset.files.rows_per_group, batch_size, window=window)
    return dataset, dataset.batches(order.stretches(0), batch_size)


def seconds_per_record(batches: Iterable[list], collator: MeritCollator | None) -> float:
    start, number = time.process_time(), 0
    for batch in batches:
        number += len(batch)
        if collator is not None:
            collator(batch)
    return (time.process_time() - start) / number


def speeds(corpus: Path, batch_size: int, window: int, repeats: int) -> dict[str, dict[str, float]]:
    """Least ms a record of each form, read and collated; forms take turns."""
    map_style = PretrainingDataset(load_corpus(corpus, split="train"))
    sampler = ReportLengthBatchSampler(None, batch_size, num_records=len(map_style))
    collator = MeritCollator(MeritFeatureExtractor())
    best: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for name, how in (("rows", None), ("tensors", collator)):
            forms = {
                "map_style": (map_style.__getitems__(keys) for keys in sampler),
                "streamed": streamed_batches(corpus, batch_size, window)[1],
            }
            for form, batches in forms.items():
                found = seconds_per_record(batches, how) * 1e3
                best.setdefault(name, {}).setdefault(form, found)
                best[name][form] = min(best[name][form], found)
    return best


def _peak_kibibytes() -> int:
    """Of this process; `resource` would count what its parent had before it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def _stream(corpus: Path, batch_size: int, window: int, answer: "multiprocessing.Queue[tuple[int, int]]") -> None:
    before = _peak_kibibytes()
    dataset, batches = streamed_batches(corpus, batch_size, window)
    for _ in batches:
        pass
    answer.put((len(dataset), _peak_kibibytes() - before))


def peak_memory(corpus: Path, batch_size: int, window: int) -> tuple[int, float]:
    """Records of the corpus, and the MiB by which streaming an epoch raises the peak of a process (Linux)."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[tuple[int, int]] = context.Queue()
    process = context.Process(target=_stream, args=(corpus, batch_size, window, answer))
    process.start()
    num_records, kibibytes = answer.get()
    process.join()
    return num_records, kibibytes / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampling_rate", type=float, default=100, help="of the records, in Hz (default: 100)")
    parser.add_argument("--batch_size", type=int, default=64, help="records of a batch (default: 64)")
    parser.add_argument("--shuffle_row_groups", type=int, default=8, help="as in pretraining (default: 8)")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds; the best counts (default: 5)")
    parser.add_argument(
        "--num_records",
        type=int,
        nargs="+",
        default=[2_000, 20_000, 200_000],
        help="sizes whose memory is measured (default: 2000 20000 200000)",
    )
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    sizes = (arguments.batch_size, arguments.shuffle_row_groups)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shard(folder / "shard.parquet", arguments.sampling_rate)
        times = speeds(corpus_of(folder / "shard.parquet", folder / "speed", 1), *sizes, arguments.repeats)
        print(f"{'ms/record':<10}{'map-style':>12}{'streamed':>12}{'speed':>10}")
        for step, forms in times.items():
            ratio = forms["map_style"] / forms["streamed"]
            print(f"{step:<10}{forms['map_style']:>12.4f}{forms['streamed']:>12.4f}{ratio:>10.2f} x map-style")
        memory = []
        print(f"{'records':<10}{'peak memory':>12}")
        for wanted in arguments.num_records:
            corpus = corpus_of(folder / "shard.parquet", folder / f"memory-{wanted}", wanted)
            memory.append(dict(zip(("num_records", "peak_mib"), peak_memory(corpus, *sizes), strict=True)))
            print(f"{memory[-1]['num_records']:<10}{memory[-1]['peak_mib']:>8.0f} MiB")
    if arguments.output:
        facts = {
            "sampling_rate": arguments.sampling_rate,
            "batch_size": arguments.batch_size,
            "shuffle_row_groups": arguments.shuffle_row_groups,
            "ms_per_record": times,
            "memory": memory,
        }
        arguments.output.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
