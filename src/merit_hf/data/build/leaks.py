"""What makes a score on a test split too good: a patient, or the very same signal, in two splits of a corpus.

Signals are compared by `row.signal_hash`, eight bytes a record, so a corpus of any size can be checked. Who goes into
which split, and which patients two splits share, is found in `data/splits.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from merit_hf.data.splits import SHOWN, refuse_shared_patients, shared_patients, shared_patients_sentence


class DuplicateSignalsError(ValueError):
    """Two splits share a signal, and the caller did not ask to drop duplicates."""


@dataclass(frozen=True)
class Leaks:
    """Patients and signals that two splits share, and signals that occur more than once in one split.

    Attributes:
        patients: two splits -> names of the patients in both, sorted.
        signals: two splits -> records (row in the first, row in the second) of one signal, one pair a signal.
        repeated: split -> records (row, row of the first one with the same signal) that repeat a signal.
    """

    patients: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    signals: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    repeated: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def lines(self, ecg_ids: Mapping[str, Mapping[int, str] | Sequence[str]]) -> list[str]:
        """One sentence on each finding.

        Args:
            ecg_ids: split -> row -> ecg_id, at least of the `shown_rows`.
        """
        lines = []
        lines += [f"{shared_patients_sentence(*pair, names)}." for pair, names in self.patients.items()]
        for (first, second), pairs in self.signals.items():
            named = [f"{ecg_ids[first][one]} and {ecg_ids[second][other]}" for one, other in pairs[:SHOWN]]
            number = f"{len(pairs):,} signal is" if len(pairs) == 1 else f"{len(pairs):,} signals are"
            what = f"{number} in both {first} and {second}"
            lines.append(f"{what}, under two names ({_some(named, len(pairs))}).")
        for split, pairs in self.repeated.items():
            named = [f"{ecg_ids[split][one]} as {ecg_ids[split][other]}" for one, other in pairs[:SHOWN]]
            verb = "repeats" if len(pairs) == 1 else "repeat"
            what = f"{len(pairs):,} record{'s' * (len(pairs) > 1)} of {split} {verb} the signal of another one there"
            lines.append(f"{what} ({_some(named, len(pairs))}).")
        return lines

    def shown_rows(self) -> dict[str, set[int]]:
        """Rows of each split that `lines` names."""
        rows: dict[str, set[int]] = {}
        for splits, pairs in [
            *self.signals.items(),
            *(((split, split), some) for split, some in self.repeated.items()),
        ]:
            for pair, (split, row) in itertools.product(pairs[:SHOWN], enumerate(splits)):
                rows.setdefault(row, set()).add(pair[split])
        return rows


def find_leaks(patients: Mapping[str, set[str]], signals: Mapping[str, np.ndarray]) -> Leaks:
    """Leaks between splits.

    Args:
        patients: names of the patients in each split, without those unknown.
        signals: hash of each record's signal in each split, uint64 (records,).
    """
    leaks = Leaks(patients=shared_patients(patients))
    for first, second in itertools.combinations(signals, 2):
        _, some, others = np.intersect1d(signals[first], signals[second], return_indices=True)
        if some.size:
            leaks.signals[first, second] = sorted(zip(some.tolist(), others.tolist(), strict=True))
    for split, hashes in signals.items():
        first_rows = first_with_same(hashes)
        if (rows := np.flatnonzero(first_rows != np.arange(len(hashes)))).size:
            leaks.repeated[split] = list(zip(rows.tolist(), first_rows[rows].tolist(), strict=True))
    return leaks


def first_with_same(hashes: np.ndarray) -> np.ndarray:
    """Of each record, the number of the first record with the same hash: int64 (records,)."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return first[inverse]


def check_leaks(leaks: Leaks, ecg_ids: Mapping[str, Mapping[int, str] | Sequence[str]]) -> None:
    """Refuses splits that share patients or signals; a score on such a test split would be too good.

    Raises:
        ValueError: two splits share patients.
        DuplicateSignalsError: two splits share signals, but no patients.
    """
    refuse_shared_patients(leaks.patients)
    if leaks.signals:
        raise DuplicateSignalsError(
            f"{' '.join(Leaks(signals=leaks.signals).lines(ecg_ids))[:-1]}; run the same command again with "
            "--drop_duplicate_signals, which keeps the first of each (what is converted stays), or correct the source"
        )


def _some(names: Sequence[str], total: int) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if total <= SHOWN else f"the first: {shown}"
