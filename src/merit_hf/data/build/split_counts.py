"""Counts over one split of a corpus: records, patients, reports and labels, from its tables.

The card of a new corpus (`write.py`) and the description of one that is there (`data/description/`) both count so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa


class SplitCounts:
    """What is counted in one split. Tables are added one by one; only counts and names of patients are kept.

    Args:
        tasks: label universe of each task.

    Attributes:
        records: number of records.
        without_patient: records whose patient is not known.
        patients: names of the patients.
        with_report: records that have a report.
        labels: task -> int64 (labels, labels), records that have both labels; on the diagonal, records with a label.
        labels_per_record: task -> number of labels -> records that have so many.
    """

    columns: tuple[str, ...] = ("patient_id", "report")  # that a table needs beside those of the tasks

    def __init__(self, tasks: Mapping[str, Sequence[str]]) -> None:
        self.records = self.without_patient = self.with_report = 0
        self.patients: set[str] = set()
        self.labels = {task: np.zeros((len(names), len(names)), dtype=np.int64) for task, names in tasks.items()}
        self.labels_per_record: dict[str, Counter[int]] = {task: Counter() for task in tasks}

    def add(self, table: pa.Table) -> None:
        """Counts the rows of a table with `columns` and the columns of the tasks."""
        self.records += len(table)
        patients = table["patient_id"]
        self.without_patient += patients.null_count
        self.patients.update(patients.drop_null().unique().to_pylist())
        self.with_report += len(table) - table["report"].null_count
        for task, together in self.labels.items():
            column = table[task].combine_chunks()
            sizes = np.diff(column.offsets.to_numpy())
            chosen = np.zeros((len(table), len(together)), dtype=np.float32)  # exact up to 2**24 records per table
            chosen[np.repeat(np.arange(len(table)), sizes), column.flatten().to_numpy(zero_copy_only=False)] = 1
            together += (chosen.T @ chosen).astype(np.int64)
            self.labels_per_record[task].update(sizes.tolist())

    def records_with(self, task: str) -> list[int]:
        """Number of records with each label of a task, in the order of its universe."""
        return np.diag(self.labels[task]).tolist()
