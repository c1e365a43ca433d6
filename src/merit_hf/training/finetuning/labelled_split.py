"""The records of a task in one split of a corpus, with their label matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from merit_hf.data.build.open import load_corpus
from merit_hf.data.load.batch_sampler import RecordKey
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.evaluation.targets import TaskTargets, task_targets


@dataclass(frozen=True)
class LabelledSplit:
    """The records of a task in a corpus split: the split, and which of its rows take part with which labels."""

    corpus_split: datasets.Dataset
    chosen: TaskTargets

    @classmethod
    def open(cls, corpus: str, split: str, task: str) -> LabelledSplit:
        """The records of a split that have a label of the task.

        Raises:
            ValueError: no such corpus, split or task.
        """
        corpus_split = load_corpus(corpus, split=split)
        return cls(corpus_split, task_targets(corpus_split, task))

    def __len__(self) -> int:
        return len(self.chosen.records)

    @property
    def records(self) -> datasets.Dataset:
        """The records that take part, in the order of the rows of `chosen.targets`."""
        return self.corpus_split.select(self.chosen.records)

    def identities(self) -> list[tuple[str | None, str]]:
        """(patient, name) of each record."""
        ids = self.corpus_split.select_columns(["patient_id", "ecg_id"]).with_format(None)[self.chosen.records]
        return list(zip(ids["patient_id"], map(str, ids["ecg_id"]), strict=True))

    def part(self, rows: np.ndarray) -> LabelledSplit:
        """Those records for which `rows`, bool (records,), is true."""
        chosen = self.chosen
        return LabelledSplit(
            self.corpus_split, TaskTargets(chosen.records[rows], chosen.targets[rows], chosen.label_names)
        )


class LabelledRows(PretrainingDataset):
    """The records of a labelled split as a training loop reads them: rows of the corpus with their `labels`.

    Args:
        split: the records; `labels` is the row of its targets, bool (labels,).
    """

    def __init__(self, split: LabelledSplit) -> None:
        super().__init__(split.records)
        self.targets = split.chosen.targets

    def __getitems__(self, keys: Sequence[int | RecordKey]) -> list[dict[str, Any]]:
        """Rows of several records in one read, in the order asked for."""
        rows = super().__getitems__(keys)
        for row in rows:
            row["labels"] = self.targets[row["index"]]
        return rows
