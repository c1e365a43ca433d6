"""Statistics of the signals of a corpus: leads, sampling rates, durations, amplitudes and faults.

Records are added one by one, and only counts are kept; `describe.py` chooses the records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from merit_hf.data.row import MISSING
from merit_hf.leads_merit import STANDARD_12

from .value_counts import Histograms, ValueCounts

SAMPLED_PER_LEAD = 50  # samples of each lead of a record that go into the percentiles
AMPLITUDE_STEP, AMPLITUDE_LIMIT = 0.005, 20.0  # of a histogram, in mV or standard deviations
AMPLITUDE_SHARES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)
CLIPPED_SECONDS, CLIPPED_SAMPLES = 0.02, 3  # a lead that stays at its own extreme for so long is clipped
FAULTS = ("absent", "all missing", "some missing", "constant", "clipped")


class SignalStatistics:
    """Counts over records, added one by one. Call `flush` now and then to count and free waiting samples."""

    def __init__(self) -> None:
        self.lead_sets: Counter[tuple[str, ...]] = Counter()
        self.sampling_rates: Counter[float] = Counter()
        self.units: Counter[str] = Counter()
        self.durations = ValueCounts(step=0.1)
        self.seconds = 0.0
        self.missing_samples = self.all_samples = self.records_with_missing = 0
        self.faults: dict[str, Counter[str]] = {fault: Counter() for fault in FAULTS}
        self._amplitudes: dict[tuple[str, tuple[str, ...]], tuple[Histograms, Histograms]] = {}
        self._waiting: dict[tuple[str, tuple[str, ...]], list[tuple[np.ndarray, np.ndarray]]] = {}
        self._lengths: list[float] = []
        self._number = 0

    def add(
        self, counts: np.ndarray, adc_gain: np.ndarray, lead_names: Sequence[str], units: str, sampling_rate: float
    ) -> None:
        """Counts one record.

        Args:
            counts: int16 (leads, samples).
            adc_gain: counts per unit, one per lead.
            units: "mV" or "zscore". sampling_rate: Hz.
        """
        leads, num_samples = tuple(lead_names), counts.shape[1]
        self.lead_sets[leads] += 1
        self.sampling_rates[sampling_rate] += 1
        self.units[units] += 1
        self._lengths.append(num_samples / sampling_rate)
        self.seconds += num_samples / sampling_rate
        low, high, missing = _extent(counts)
        self.all_samples += counts.size
        self.missing_samples += int(missing.sum())
        self.records_with_missing += bool(missing.any())
        there = missing < num_samples
        found = {
            "all missing": ~there,
            "some missing": there & (missing > 0),
            "constant": there & (low == high),
            "clipped": _clipped(counts, low, high, sampling_rate) & there & (low != high),
        }
        for fault, rows in found.items():
            if rows.any():
                self.faults[fault].update(lead for lead, row in zip(leads, rows.tolist(), strict=True) if row)
        self.faults["absent"].update(lead for lead in STANDARD_12 if lead not in leads)
        stride = max(1, num_samples // SAMPLED_PER_LEAD)
        some = counts[:, self._number % stride :: stride].astype(np.float64)
        some[some == MISSING] = np.nan
        gain = np.asarray(adc_gain, dtype=np.float64)[:, None]
        spans = np.where(there, high.astype(np.float64) - low, np.nan)[:, None]
        self._waiting.setdefault((units, leads), []).append((some / gain, spans / gain))
        self._number += 1

    def flush(self) -> None:
        """Counts the waiting samples in the histograms."""
        self.durations.add(np.array(self._lengths))
        self._lengths.clear()
        for key, waiting in self._waiting.items():
            if key not in self._amplitudes:
                sizes = (len(key[1]), AMPLITUDE_STEP, AMPLITUDE_LIMIT)
                self._amplitudes[key] = (Histograms(*sizes), Histograms(*sizes))
            for histograms, values in zip(self._amplitudes[key], zip(*waiting, strict=True), strict=True):
                histograms.add(np.concatenate(values, axis=1))
        self._waiting.clear()

    def _amplitude(self) -> dict[str, Any]:
        """Unit -> lead -> percentiles of the (sampled) values, and of highest minus lowest value of each record."""
        added: dict[tuple[str, str], tuple[Histograms, Histograms]] = {}
        for (units, leads), pair in self._amplitudes.items():
            for row, lead in enumerate(leads):
                if (units, lead) not in added:
                    sizes = (1, AMPLITUDE_STEP, AMPLITUDE_LIMIT)
                    added[units, lead] = (Histograms(*sizes), Histograms(*sizes))
                for total, part in zip(added[units, lead], pair, strict=True):
                    total.counts[0] += part.counts[row]
        found: dict[str, Any] = {units: {} for units in self.units}
        for (units, lead), (values, spans) in sorted(added.items(), key=lambda item: (item[0][0], _place(item[0][1]))):
            if (of_values := values.percentiles(0, AMPLITUDE_SHARES)) is not None:
                of_spans = spans.percentiles(0, AMPLITUDE_SHARES) or []
                found[units][lead] = {
                    "values": {f"p{share:g}": value for share, value in zip(AMPLITUDE_SHARES, of_values, strict=True)},
                    "range": {f"p{share:g}": value for share, value in zip(AMPLITUDE_SHARES, of_spans, strict=True)},
                }
        return found

    def description(self) -> dict[str, Any]:
        """All counts, as numbers and texts."""
        self.flush()
        leads = sorted({lead for leads in self.lead_sets for lead in leads} | set(STANDARD_12), key=_place)
        return {
            "lead_sets": [{"leads": list(leads), "records": count} for leads, count in self.lead_sets.most_common()],
            "sampling_rates": {f"{rate:g}": count for rate, count in self.sampling_rates.most_common()},
            "units": dict(self.units.most_common()),
            "durations": self.durations.summary(),
            "hours": self.seconds / 3600,
            "amplitude": self._amplitude(),
            "missing_samples": {
                "records": self.records_with_missing,
                "share": self.missing_samples / max(1, self.all_samples),
            },
            "leads": {lead: {fault: self.faults[fault][lead] for fault in FAULTS} for lead in leads},
        }


def _place(lead: str) -> tuple[int, str]:
    return (STANDARD_12.index(lead) if lead in STANDARD_12 else len(STANDARD_12), lead)


def _extent(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each lead the lowest and highest count that is not missing, and how many are; equal where all are."""
    low, high = counts.min(axis=1), counts.max(axis=1)
    missing = np.zeros(len(counts), dtype=np.int64)
    if (low == MISSING).any():
        gone = counts == MISSING
        missing = gone.sum(axis=1)
        low = np.where(gone, high[:, None], counts).min(axis=1)
    return low, high, missing


def _clipped(counts: np.ndarray, low: np.ndarray, high: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Leads that stay at their own lowest or highest value for `CLIPPED_SECONDS` and `CLIPPED_SAMPLES` or longer."""
    length = max(CLIPPED_SAMPLES, math.ceil(CLIPPED_SECONDS * sampling_rate))
    clipped = np.zeros(len(counts), dtype=bool)
    for extreme in (low, high):
        there = counts == extreme[:, None]
        for lead in np.flatnonzero(np.count_nonzero(there, axis=1) >= length):
            edges = np.flatnonzero(np.diff(there[lead], prepend=False, append=False))
            clipped[lead] |= bool((edges[1::2] - edges[::2]).max() >= length)
    return clipped
