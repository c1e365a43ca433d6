"""EcgRecord: one ECG in memory, whatever file it came from.

Its fields and their structural checks live here; reading files does not, nor does anything that changes the samples.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merit_hf.leads_merit import canonical_leads, canonical_units, shape_message, to_millivolts

from .sex import canonical_sex


@dataclass(eq=False)
class EcgRecord:
    """One ECG.

    Args:
        signal: float32 samples of shape (leads, samples), NaN where missing. In millivolts once the record is made.
        sampling_rate: samples per second of every lead, in Hz.
        lead_names: one name a lead, in the order of `signal`; stored in canonical spelling ("AVR" becomes "aVR").
        units: unit of the `signal` handed in: "mV", "uV", "V", "nV", or "zscore" where voltage is gone. Voltages are
            converted, so afterwards it is "mV" or "zscore".
        record_id: name of the record, if it has one.
        report: free-text report, if there is one.
        age: in years. sex: "female" or "male", in any spelling that `canonical_sex` knows; all others become None.
        metadata: whatever else the source says. Where samples were stored as counts, "adc_gain" holds the counts per
            unit of the finished record (mV, or one z-score), one a lead, so that the counts can be had back exactly.

    Raises:
        ValueError: the shape, sampling rate, lead names or units cannot be those of an ECG.
    """

    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    units: str = "mV"
    record_id: str | None = None
    report: str | None = None
    age: float | None = None
    sex: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal)
        if signal.dtype.kind not in "fiu":
            raise ValueError(f"signal must hold real numbers, got dtype {signal.dtype}.")
        self.lead_names = canonical_leads(self.lead_names)
        if signal.ndim != 2 or signal.shape[0] != len(self.lead_names):
            raise ValueError(f"signal has {shape_message(signal.shape, len(self.lead_names))}")
        if signal.shape[1] == 0:
            raise ValueError(f"signal is empty: shape {signal.shape}, expected (leads, samples) with samples > 0.")
        if not (np.isfinite(self.sampling_rate) and self.sampling_rate > 0):
            raise ValueError(f"sampling_rate must be a positive number of Hz, got {self.sampling_rate!r}.")
        self.sampling_rate = float(self.sampling_rate)
        self.sex = canonical_sex(self.sex)
        units = canonical_units(self.units)
        self.signal = np.ascontiguousarray(to_millivolts(signal, units), dtype=np.float32)
        self.units = "zscore" if units == "zscore" else "mV"

    @property
    def num_samples(self) -> int:
        """Number of samples of each lead."""
        return int(self.signal.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate
