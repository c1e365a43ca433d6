"""Measurements of an ECG that reports mostly leave out, as a corpus has them: what a structure probe predicts.

A simulated corpus has the true values in its column `parameters`, MIMIC-IV-ECG what the machine measured. An angle is
circular (179 and -179 degrees are neighbours), so it becomes its cosine and sine. Nothing is fitted here.
"""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np

from merit_hf.data.corpora.mimic_records import MEASUREMENTS
from merit_hf.simulation.corpus import LEAD_MEASUREMENTS, SCALAR_MEASUREMENTS

ANGLES = ("axis", "p_axis", "qrs_axis", "t_axis")
# From the marks of MIMIC's machine, which count from a zero of its own: end minus begin.
MIMIC_INTERVALS = {
    "p_duration": ("p_end", "p_onset"),
    "pr_interval": ("qrs_onset", "p_onset"),
    "qrs_duration": ("qrs_end", "qrs_onset"),
    "qt_interval": ("t_end", "qrs_onset"),
}


@dataclass(frozen=True)
class Measurement:
    """One measurement over the records of a split.

    Attributes:
        name: as in the corpus. An angle has two columns, cosine and sine; a list has one column a lead.
        values: float64 (records, columns), NaN in all columns of a record that does not have it.
        circular: whether the columns are cosine and sine.
    """

    name: str
    values: np.ndarray
    circular: bool = False

    @property
    def present(self) -> np.ndarray:
        """bool (records,): which records have it."""
        return np.isfinite(self.values).all(axis=1)


def circular_columns(degrees: np.ndarray) -> np.ndarray:
    """Cosine and sine (records, 2) of angles in degrees (records,); NaN stays NaN."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def has_measurements(dataset: datasets.Dataset) -> bool:
    """Whether `corpus_measurements` finds any in a corpus split."""
    return "parameters" in dataset.column_names or all(name in dataset.column_names for name in MEASUREMENTS)


def corpus_measurements(dataset: datasets.Dataset) -> list[Measurement]:
    """The measurements of a corpus split.

    Simulated: rate, intervals and durations, axis, number of ectopic beats, and per lead P, R, S, T amplitudes and ST
    level. MIMIC: RR interval, P duration, PR, QRS and QT by the machine's marks, and the axes of P, QRS and T.

    Raises:
        ValueError: the corpus has none, or lists of one corpus differ in length.
    """
    if "parameters" in dataset.column_names:
        return _of_simulation(dataset)
    if all(name in dataset.column_names for name in MEASUREMENTS):
        return _of_mimic(dataset)
    raise ValueError(
        f"this corpus has neither a column 'parameters' (as `merit convert synthetic` writes it) nor the machine's "
        f"measurements {list(MEASUREMENTS)} (as `merit convert mimic-iv-ecg` writes them): there is nothing to "
        "predict"
    )


def _of_simulation(dataset: datasets.Dataset) -> list[Measurement]:
    rows = dataset.select_columns(["parameters"]).with_format(None)["parameters"]
    found = []
    for name in SCALAR_MEASUREMENTS:
        values = np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        found.append(_measurement(name, values))
    for name in LEAD_MEASUREMENTS:
        lists = [row[name] for row in rows]
        lengths = {len(each) for each in lists if each}
        if len(lengths) > 1:
            raise ValueError(f"records differ in the number of leads of {name!r}: {sorted(lengths)}")
        if lengths:
            absent = [np.nan] * lengths.pop()
            found.append(Measurement(name, np.array([each or absent for each in lists], dtype=np.float64)))
    return found


def _of_mimic(dataset: datasets.Dataset) -> list[Measurement]:
    table = dataset.select_columns(list(MEASUREMENTS)).with_format("arrow")[:]
    marks = {
        name: table.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in MEASUREMENTS
    }  # null becomes NaN
    found = [_measurement("rr_interval", _positive(marks["rr_interval"]))]
    found += [
        _measurement(name, _positive(marks[end] - marks[begin])) for name, (end, begin) in MIMIC_INTERVALS.items()
    ]
    return found + [_measurement(name, marks[name]) for name in ANGLES if name in marks]


def _measurement(name: str, values: np.ndarray) -> Measurement:
    if name in ANGLES:
        return Measurement(name, circular_columns(values), circular=True)
    return Measurement(name, values[:, None])


def _positive(values: np.ndarray) -> np.ndarray:
    # A duration that is not positive is a mark in the wrong place.
    return np.where(values > 0, values, np.nan)
