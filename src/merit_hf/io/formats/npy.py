"""NumPy's .npy: one array (leads, samples); everything else about the ECG comes as options.

Everything about this format lives here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merit_hf.io.array_record import array_record
from merit_hf.io.record import EcgRecord

NAME = "NumPy array"
EXTENSIONS = (".npy",)


def matches(path: Path, head: bytes) -> bool:
    """By the magic number of the format."""
    return head.startswith(b"\x93NUMPY")


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads an array (leads, samples); NaN means missing.

    Args:
        path: the file.
        sampling_rate: in Hz; needed.
        lead_names: one a row; needed.
        units: "mV" (if left out), "uV", "V", "nV" or "zscore"; whole numbers need it.
    """
    try:
        signal = np.array(np.load(path, mmap_mode="r", allow_pickle=False))  # mapping checks the size before reading
    except Exception as error:  # a broken header makes NumPy fail in many ways
        raise ValueError(
            f"{path} cannot be read as a NumPy array: cut off, damaged, or of Python objects. Save it again with "
            "numpy.save as an array of numbers"
        ) from error
    return array_record(
        path, signal, sampling_rate=sampling_rate, lead_names=lead_names, units=units, metadata={"format": NAME}
    )
