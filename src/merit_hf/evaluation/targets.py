"""Targets of a task: which records of a corpus split take part, and their label matrix.

Labels come from the corpus' task column alone; no mapping between corpora and no metric lives here.
"""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np


@dataclass(frozen=True)
class TaskTargets:
    """One task of a corpus split.

    records: int64 (records,), rows of the split that take part; those with an empty label list do not.
    targets: bool (records, labels).
    label_names: official codes, one a column.
    """

    records: np.ndarray
    targets: np.ndarray
    label_names: list[str]


def corpus_tasks(dataset: datasets.Dataset) -> list[str]:
    """Names of the task columns: lists of class labels."""
    return [
        name
        for name, feature in dataset.features.items()
        if isinstance(getattr(feature, "feature", None), datasets.ClassLabel)
    ]


def label_names_of(dataset: datasets.Dataset, task: str) -> list[str]:
    """Official codes of the labels of a task.

    Raises:
        ValueError: the corpus has no such task.
    """
    tasks = corpus_tasks(dataset)
    if task not in tasks:
        raise ValueError(f"task {task!r} is not in this corpus, which has {tasks or 'no tasks'}")
    return list(dataset.features[task].feature.names)


def task_targets(dataset: datasets.Dataset, task: str) -> TaskTargets:
    """The records and labels of `task` in a corpus split.

    Raises:
        ValueError: the corpus has no such task, or no record of the split takes part in it.
    """
    label_names = label_names_of(dataset, task)
    column = dataset.select_columns([task]).with_format("arrow")[:].column(task).combine_chunks()
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    records = np.flatnonzero(lengths)
    if len(records) == 0:
        raise ValueError(f"none of the {len(dataset)} records of this split has a label of task {task!r}")
    targets = np.zeros((len(dataset), len(label_names)), dtype=bool)
    targets[np.repeat(np.arange(len(dataset)), lengths), column.flatten().to_numpy(zero_copy_only=False)] = True
    return TaskTargets(records, targets[records], label_names)
