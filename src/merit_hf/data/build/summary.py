"""What a conversion made, in numbers. It is counted in `write.py` and put into words in `card.py`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CorpusSummary:
    """What a conversion made: where, how many records, patients and reports by split, and what was left out."""

    path: Path
    records: dict[str, int]
    patients: dict[str, int]
    reports: dict[str, int]
    fingerprint: str  # of the shards: equal for equal corpora only
    labels: dict[str, dict[str, dict[str, int]]]  # task -> label -> split -> records
    skipped: list[tuple[str, ...]] = field(default_factory=list)  # split ("" for none), ecg_id, reason, detail
    faults: list[str] = field(default_factory=list)  # leaks between splits and repeated signals, in words

    @property
    def skipped_by_reason(self) -> dict[str, int]:
        return dict(Counter(reason for _, _, reason, _ in self.skipped))
