"""Time of reading a WFDB record, as ratios to reading its bare samples (`numpy.fromfile`) in the same run.

    python benchmarks/wfdb_reading.py --data_dir ptb-xl/1.0.3/records500

Without `--data_dir` it reads made-up records: 12 leads, 10 s, 500 Hz. The ways of reading take turns record by record,
so that a busy moment of the machine hits all alike; the median counts.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import wfdb

from merit_hf.data.row import row_from_record
from merit_hf.io import read_ecg
from merit_hf.io.wfdb.header import read_header
from merit_hf.io.wfdb.samples import read_samples
from merit_hf.leads_merit import STANDARD_12


def made_up_records(folder: Path, num_records: int) -> list[Path]:
    """Headers of records of random counts."""
    generator = np.random.default_rng(0)
    headers = []
    for number in range(num_records):
        generator.integers(-2000, 2000, (5000, 12), dtype=np.int16).tofile(folder / f"{number}.dat")
        lines = [f"{number} 12 500 5000"]
        lines += [f"{number}.dat 16 200.0(0)/mV 16 0 0 0 0 {lead}" for lead in STANDARD_12]
        headers.append(folder / f"{number}.hea")
        headers[-1].write_text("\n".join(lines) + "\n")
    return headers


def milliseconds(ways: dict[str, Callable[[Path], object]], headers: list[Path]) -> dict[str, float]:
    """Median time of each way of reading a record, in ms."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for header in [headers[0], *headers]:  # the first once more: it warms up
        for name, read in ways.items():
            start = time.perf_counter()
            read(header)
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data_dir", type=Path, help="folder with WFDB records of 16-bit samples (default: made-up ones)"
    )
    parser.add_argument("--num_records", type=int, default=100, help="records to read (default: 100)")
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file too")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        if arguments.data_dir:
            headers = sorted(arguments.data_dir.rglob("*.hea"))[: arguments.num_records]
        else:
            headers = made_up_records(Path(folder), arguments.num_records)
        if not headers:
            parser.error(f"--data_dir {arguments.data_dir} holds no .hea files")
        record = read_ecg(headers[0])
        times = milliseconds(
            {
                "fromfile": lambda header: np.fromfile(header.with_suffix(".dat"), dtype="<i2"),
                "read_samples": lambda header: read_samples(read_header(header)),
                "read_ecg": read_ecg,
                "to row": lambda header: row_from_record(record, ecg_id="1", patient_id=None),
                "wfdb.rdrecord": lambda header: wfdb.rdrecord(str(header.with_suffix(""))),
            },
            headers,
        )

    explained = {
        "fromfile": "the bare samples",
        "read_samples": "header and samples",
        "read_ecg": "the whole of it: format found, leads named, one array of millivolts",
        "to row": "a record to the row of a corpus",
        "wfdb.rdrecord": "the wfdb library",
    }
    print(f"{'way':<15}{'ms/record':>10}{'fromfiles':>11}   ({len(headers)} records)")
    for name, value in times.items():
        print(f"{name:<15}{value:>10.3f}{value / times['fromfile']:>11.1f}   {explained[name]}")
    if arguments.output:
        numbers = {
            name: {"ms_per_record": value, "fromfiles": value / times["fromfile"]} for name, value in times.items()
        }
        arguments.output.write_text(json.dumps({"num_records": len(headers), "ways": numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
