"""The ECG that comes with the package: a synthetic one, so that it may travel with it.

Only reading it lives here; it was made by the simulator of `merit_hf.data`.
"""

from importlib import resources

import numpy as np

from .record import EcgRecord

SAMPLE_FILE = "sample_record.npz"


def load_sample() -> EcgRecord:
    """A synthetic 12-lead ECG of 10 s at 500 Hz with its report; no person's recording.

    Returns:
        The record in millivolts: integer counts divided by counts per millivolt.
    """
    path = resources.files(__package__).joinpath(SAMPLE_FILE)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as sample:
        gain = np.asarray(sample["adc_gain"], dtype=np.float64).reshape(-1, 1)
        return EcgRecord(
            signal=sample["signal"].astype(np.float64) / gain,
            sampling_rate=float(sample["sampling_rate"]),
            lead_names=tuple(str(name) for name in sample["lead_names"]),
            units=str(sample["units"]),
            record_id=str(sample["record_id"]),
            report=str(sample["report"]),
            metadata={"source": "synthetic"},
        )
