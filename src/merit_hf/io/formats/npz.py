"""NumPy's .npz: an array `signal` (leads, samples) and, beside it, what is known about the ECG.

Everything about this format lives here; the ECG that comes with the package is stored in it.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.array_record import agreed, agreed_leads, array_record
from merit_hf.io.record import EcgRecord

NAME = "NumPy archive"
EXTENSIONS = (".npz",)


def matches(path: Path, head: bytes) -> bool:
    """A zip archive that holds nothing but arrays."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads the entry `signal` and what else is there.

    That may be `sampling_rate`, `lead_names`, `units`, `adc_gain` (then `signal` holds counts), `record_id`, `report`,
    `age`, `sex`.

    Args:
        path: the file.
        sampling_rate: in Hz, where the file has none.
        lead_names: one a row, where the file has none.
        units: where the file has none; "mV" if left out, but whole numbers need it or the entry `adc_gain`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            entries: dict[str, Any] = {name: archive[name] for name in archive.files}
    except Exception as error:  # a broken archive makes NumPy fail in many ways
        raise ValueError(
            f"{path} cannot be read as a NumPy archive: cut off, damaged, or with Python objects. Save it again with "
            "numpy.savez as arrays of numbers and text"
        ) from error
    if "signal" not in entries:
        raise ValueError(
            f"{path} has no entry 'signal' but {', '.join(entries) or 'none'}; save signal=(leads, samples)"
        )

    def number(name: str) -> float | None:
        if name not in entries:
            return None
        if entries[name].size != 1 or entries[name].dtype.kind not in "fiu":
            raise ValueError(f"{path}: its entry {name!r} is {str(entries[name])[:40]}, expected one number")
        return float(entries[name].item())

    def text(name: str) -> str | None:
        if name in entries and entries[name].size != 1:
            raise ValueError(f"{path}: its entry {name!r} has shape {entries[name].shape}, expected one text")
        return str(entries[name].item()) if name in entries else None

    names = [str(name) for name in entries["lead_names"].reshape(-1)] if "lead_names" in entries else None
    return array_record(
        path,
        entries["signal"],
        sampling_rate=agreed(path, "sampling_rate", sampling_rate, number("sampling_rate")),
        lead_names=agreed_leads(path, lead_names, names),
        units=agreed(path, "units", units, text("units")),
        adc_gain=entries.get("adc_gain"),
        record_id=text("record_id"),
        report=text("report"),
        age=number("age"),
        sex=text("sex"),
        metadata={"format": NAME},
    )
