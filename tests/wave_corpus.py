"""A corpus whose labels a tiny classifier learns in seconds: slow and fast waves, half of which fall silent."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from merit_hf.data.card import CardFacts
from merit_hf.data.corpus import CorpusBuilder, row_from_record
from merit_hf.io import EcgRecord
from merit_hf.leads_merit import STANDARD_12

LABELS = ["FAST", "HALF", "NEVER", "SLOW"]


@dataclass
class WaveCorpus(CorpusBuilder):
    """Records of 2 s at 100 Hz, two of each patient; every tenth has no label, the last test record lasts 6 s.

    FAST or SLOW is the frequency of the wave, HALF says that its second half is noise; NEVER is in the label universe
    and nowhere else. The task "one" has the same label everywhere.
    """

    num_train: int = 48
    num_others: int = 20
    splits: tuple[str, ...] = ("train", "validation", "test")
    shared_patients: bool = False

    @property
    def own_splits(self) -> bool:
        return not self.shared_patients  # as of published ones, patients in two splits are then no error

    def tasks(self) -> dict[str, list[str]]:
        return {"waves": LABELS, "one": ["FAST", "SLOW"]}

    def work(self) -> dict[str, list[int]]:
        starts = {"train": 0, "validation": 1000, "test": 2000}
        sizes = {"train": self.num_train, "validation": self.num_others, "test": self.num_others}
        return {
            split: list(range(start, start + sizes[split])) if split in self.splits else []
            for split, start in starts.items()
        }

    def row(self, item: int) -> dict[str, Any]:
        generator = np.random.default_rng(item)
        fast, half = bool(item % 2), bool(item // 2 % 2)
        seconds = 6 if item == 2000 + self.num_others - 1 else 2
        time = np.arange(seconds * 100) / 100
        phase = generator.uniform(0, 2 * np.pi)
        signal = np.sin(2 * np.pi * (12 if fast else 2) * time + phase) + 0.1 * generator.normal(size=(12, len(time)))
        if half:
            signal[:, signal.shape[1] // 2 :] = 0.1 * generator.normal(size=(12, signal.shape[1] // 2))
        labels = ["FAST" if fast else "SLOW", *(["HALF"] if half else [])]
        return row_from_record(
            EcgRecord(signal=signal, sampling_rate=100.0, lead_names=STANDARD_12),
            ecg_id=f"ecg{item}",
            patient_id=f"p{item % 1000 // 2 if self.shared_patients else item // 2}",
            waves=[] if item % 10 == 9 else labels,
            one=["FAST"],
        )

    def card(self) -> CardFacts:
        return CardFacts(
            title="Waves",
            summary="Sine waves that last or fall silent.",
            source="https://example.org/waves",
            licence="cc0-1.0",
            citation="@misc{waves}",
            languages=("en",),
            column_notes={"waves": "drawn by the generator", "one": "the same everywhere"},
            known_faults=("Nothing here is real.",),
        )
