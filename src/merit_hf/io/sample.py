"""The ECG that comes with the package: a synthetic one, so that it may travel with it.

Only finding it lives here; it was made by the simulator of `merit_hf.data` and is stored as a NumPy archive.
"""

from importlib import resources

from .reading import read_ecg
from .record import EcgRecord

SAMPLE_FILE = "sample_record.npz"


def load_sample() -> EcgRecord:
    """A synthetic 12-lead ECG of 10 s at 500 Hz with its report, in millivolts; no person's recording."""
    with resources.as_file(resources.files(__package__).joinpath(SAMPLE_FILE)) as path:
        return read_ecg(path)
