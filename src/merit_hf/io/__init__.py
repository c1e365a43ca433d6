"""Reading ECGs: `read_ecg(path)`, `load_sample()` and the `EcgRecord` both return.

Only names live here. One file of `formats/` is one file format; how they are found stands in `reading.py`.
"""

from .reading import known_formats, read_ecg, register_format
from .record import EcgRecord
from .sample import load_sample

__all__ = ["EcgRecord", "known_formats", "load_sample", "read_ecg", "register_format"]
