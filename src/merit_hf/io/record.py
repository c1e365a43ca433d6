"""EcgRecord: one ECG in memory, whatever file it came from.

Its fields and the checks that they pass live here. Reading files does not, nor does anything that filters samples.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merit_hf.leads_merit import (
    canonical_leads,
    canonical_units,
    shape_message,
    to_millivolts,
    with_missing_counts,
)
from merit_hf.limits_merit import check_limits

from .sex import canonical_sex


@dataclass(eq=False)
class EcgRecord:
    """One ECG.

    Args:
        signal: samples of shape (leads, samples), NaN where missing; masked samples of a NumPy masked array are
            missing. Stored as float32 in millivolts.
        sampling_rate: samples per second of every lead, in Hz.
        lead_names: one name a lead, in the order of `signal`; stored in canonical spelling ("AVR" becomes "aVR").
        units: unit of the `signal` handed in: "mV" (if left out), "uV", "V", "nV", or "zscore" where voltage is gone.
            Arrays of an integer type need it. Voltages are converted, so afterwards it is "mV" or "zscore".
        record_id: name of the record, if it has one.
        report: free-text report, if there is one.
        age: in years, None or NaN where unknown.
        sex: "female" or "male", in any spelling that `canonical_sex` knows; all others become None.
        metadata: whatever else the source says. Where samples were stored as counts, "adc_gain" holds the counts per
            unit of the finished record (mV, or one z-score), one a lead, so that the counts can be had back exactly.

    Raises:
        ValueError: the shape, lead names or units cannot be those of an ECG, or a number is beyond the limits of
            `limits_merit`.
    """

    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    units: str | None = None
    record_id: str | None = None
    report: str | None = None
    age: float | None = None
    sex: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signal = unmasked(self.signal)
        if signal.dtype.kind not in "fiu":
            raise ValueError(f"signal must hold real numbers, got dtype {signal.dtype}")
        self.lead_names = canonical_leads(self.lead_names)
        if signal.ndim != 2 or signal.shape[0] != len(self.lead_names):
            raise ValueError(f"signal has {shape_message(signal.shape, len(self.lead_names))}")
        if signal.shape[1] == 0:
            raise ValueError(f"signal is empty: shape {signal.shape}, expected (leads, samples) with samples > 0")
        if signal.dtype.kind in "iu":
            if self.units is None:
                raise ValueError(
                    f"signal holds whole numbers ({signal.dtype}) without their unit: pass units=, or divide counts "
                    "by their gain in counts per mV first"
                )
            signal = with_missing_counts(signal)
        self.sex = canonical_sex(self.sex)
        units = canonical_units("mV" if self.units is None else self.units)
        self.units = "zscore" if units == "zscore" else "mV"
        with np.errstate(over="ignore"):  # what is too large for float32 is refused below
            self.signal = np.ascontiguousarray(to_millivolts(signal, units), dtype=np.float32)
        check_limits(
            self.signal,
            self.sampling_rate,
            lead_names=self.lead_names,
            units=self.units,
            adc_gain=self.metadata.get("adc_gain"),
            age=self.age,
        )
        self.sampling_rate = float(self.sampling_rate)
        if self.age is not None and math.isnan(self.age):
            self.age = None

    @property
    def num_samples(self) -> int:
        """Number of samples of each lead."""
        return int(self.signal.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate


def unmasked(values: Any) -> np.ndarray:
    """Plain array of what may be a masked one: masked values become NaN, and whole numbers then float64."""
    if not np.ma.isMaskedArray(values) or not np.ma.getmaskarray(values).any():
        try:
            return np.asarray(values)
        except (TypeError, ValueError) as error:  # a bfloat16 tensor, one on a GPU, or lists of unequal length
            raise ValueError(
                f"signal is a {type(values).__name__} that is no NumPy array, expected (leads, samples); pass tensors "
                "as .float().cpu().numpy()"
            ) from error
    dtype = values.dtype if values.dtype.kind == "f" else np.float64
    return np.asarray(np.ma.filled(values.astype(dtype), np.nan))
