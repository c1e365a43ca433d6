"""A folder of the shape of MIMIC-IV-ECG, made of random numbers, and its zip archive as PhysioNet has it."""

import csv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
MEASUREMENTS = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")
COLUMNS = (
    *("subject_id", "study_id", "cart_id", "ecg_time"),
    *(f"report_{number}" for number in range(18)),
    *("bandwidth", "filtering"),
    *MEASUREMENTS,
)
FOLDER_IN_ZIP = "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0"


def study(number: int) -> int:
    """Studies are not in the order of the tables, as their names are drawn at random."""
    return 40_000_000 + number * 7_919 % 9_999_991


def subject(number: int) -> int:
    return 10_000_000 + number // 3  # three studies each


def record_path(number: int) -> str:
    patient = f"p{subject(number)}"
    return f"files/{patient[:5]}/{patient}/s{study(number)}/{study(number)}"


def counts_of(number: int, num_samples: int) -> np.ndarray:
    """int16 (samples, leads)."""
    return np.random.default_rng(number).integers(-900, 900, (num_samples, 12)).astype("<i2")


def reports_of(number: int) -> list[str]:
    """Three statements for most, none for some, with the blanks and full stops that machines put there."""
    lines = ["Sinus rhythm", f"Possible finding {number % 50}.", " Abnormal ECG "]
    return [] if number % 10 == 9 else lines[: 1 + number % 3]


def write_record(
    stem: Path, counts: np.ndarray, header: str = "{name} 12 500 {num_samples} 16:31:00 24/04/2143"
) -> None:
    """A WFDB record of 16-bit samples at 200 a millivolt."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    counts.tofile(stem.with_name(f"{stem.name}.dat"))
    lines = [header.format(name=stem.name, num_samples=len(counts))]
    lines += [f"{stem.name}.dat 16 200.0(0)/mV 16 0 {counts[0, row]} 0 0 {lead}" for row, lead in enumerate(LEADS)]
    stem.with_name(f"{stem.name}.hea").write_text("\n".join(lines) + "\n")


def write_tree(
    folder: Path, num_records: int, num_samples: int = 100, faults: Mapping[int, str] | None = None
) -> Path:
    """The folder; `faults` says of some records what is wrong with them."""
    folder.mkdir(parents=True)
    faults = faults or {}
    measured = []
    with open(folder / "record_list.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["subject_id", "study_id", "file_name", "ecg_time", "path"])
        for number in range(num_records):
            path = record_path(number)
            table.writerow([subject(number), study(number), study(number), f"2180-07-23 08:{number % 60:02}:00", path])
            counts = counts_of(number, num_samples)
            fault = faults.get(number)
            if fault == "all zero":
                counts[:] = 0
            elif fault == "some missing":
                counts[3:5, 7] = -32768
            elif fault == "all missing":
                counts[:] = -32768
            elif fault == "cut off":
                counts = counts[:-1]
            write_record(folder / path, counts)
            if fault == "cut off":
                header = folder / f"{path}.hea"
                header.write_text(header.read_text().replace(f" 500 {num_samples - 1} ", f" 500 {num_samples} "))
            elif fault in ("no .hea", "no .dat"):
                (folder / f"{path}{fault.removeprefix('no ')}").unlink()
            if fault != "no measurements":
                measured.append(measurements_of(number))
    with open(folder / "machine_measurements.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, COLUMNS, restval="")
        lines.writeheader()
        lines.writerows(reversed(measured))  # another order than that of the list
    return folder


def measurements_of(number: int) -> dict[str, Any]:
    values = {name: 100 * place + number % 90 for place, name in enumerate(MEASUREMENTS, 1)}
    if number % 4 == 0:
        values |= {"p_onset": 29999, "p_end": 29999, "p_axis": 32767}
    reports = {f"report_{place}": text for place, text in enumerate(reports_of(number))}
    return {
        "subject_id": subject(number),
        "study_id": study(number),
        "cart_id": 6848296,
        "ecg_time": "2180-07-23 08:44:00",
        "bandwidth": "0.005-150 Hz",
        "filtering": "60 Hz notch Baseline filter" if number % 2 else "",
        **reports,
        **values,
    }


def zip_tree(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, f"{FOLDER_IN_ZIP}/{path.relative_to(folder)}")
    return archive
