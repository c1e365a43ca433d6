"""What can be drawn as an ECG: a path, a record, a row of a corpus or an array becomes a record here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from merit_hf.io import EcgRecord, read_ecg
from merit_hf.leads_merit import STANDARD_12


class DrawableEcg(Protocol):
    """An `EcgRecord` or anything with these attributes."""

    @property
    def signal(self) -> np.ndarray: ...

    @property
    def sampling_rate(self) -> float: ...

    @property
    def lead_names(self) -> Sequence[str]: ...


def as_record(
    ecg: Any,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> DrawableEcg:
    """The record that a path, a record, a row of a corpus or an array (leads, samples) stands for.

    Args:
        ecg: what to draw.
        sampling_rate: of an array, in Hz. lead_names: one a row. units: "mV" if None. Paths take all three too, where
            the file does not state them.

    Raises:
        ValueError: something else, an array without its sampling rate or lead names, or a record with any of these.
    """
    given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(ecg, (str, os.PathLike)):
        return read_ecg(ecg, **given)
    is_row = isinstance(ecg, Mapping) and "adc_gain" in ecg
    if is_row or hasattr(ecg, "signal"):
        if given:
            raise ValueError(f"a record brings its own {', '.join(given)}: leave out the argument")
        if is_row:
            from merit_hf.data.row import record_from_row

            return record_from_row(ecg)
        drawable: DrawableEcg = ecg
        return drawable
    if hasattr(ecg, "detach"):  # a tensor, wherever it is
        ecg = ecg.detach().cpu()
    if isinstance(ecg, Mapping) or not hasattr(ecg, "__array__"):
        raise ValueError(
            f"cannot draw a {type(ecg).__name__}: expected a path, a record, a row of a corpus, or an array "
            "(leads, samples) with sampling_rate="
        )
    signal = np.asarray(ecg)
    if sampling_rate is None:
        raise ValueError("an array needs its sampling rate in Hz: pass sampling_rate=, e.g. sampling_rate=500")
    if lead_names is None:
        if signal.ndim != 2 or len(signal) != len(STANDARD_12):
            raise ValueError(
                f"an array of shape {signal.shape} needs lead_names=, one a row; only twelve rows are taken for "
                f"{', '.join(STANDARD_12)}"
            )
        lead_names = STANDARD_12
    return EcgRecord(signal, sampling_rate, tuple(lead_names), units or "mV")
