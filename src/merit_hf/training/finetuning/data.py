"""What fine-tuning reads: the records of a task, in training, validation and test, and batches of the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.splits import check_patients_disjoint, hold_out_by_patient
from merit_hf.training.loop.batch_plan import BatchPlan, ShuffledBatchPlan
from merit_hf.training.loop.loader import Batch, load_batches

from .arguments import FinetuningArguments
from .collator import ClassificationCollator
from .labelled_split import LabelledRows, LabelledSplit


class FinetuningData:
    """The corpus of a fine-tuning as one of its processes sees it.

    Args:
        arguments: of the run.
        feature_extractor: of the model.
        accelerator: says which process this is.

    Raises:
        ValueError: no such corpus, split or task; too few records; records of one class only; splits that share
            patients.
    """

    def __init__(self, arguments: FinetuningArguments, feature_extractor: Any, accelerator: Accelerator) -> None:
        self.arguments = arguments
        self.accelerator = accelerator
        self.feature_extractor = feature_extractor
        self.train = self._split(arguments.train_split)
        self.test = None if arguments.test_split is None else self._split(arguments.test_split)
        self.held_out = arguments.validation_split == arguments.test_split
        if self.held_out:
            patients, names = zip(*self.train.identities(), strict=True)
            share, seed = arguments.held_out_share, arguments.seed
            held_out = np.array(hold_out_by_patient(patients, names, share, seed), dtype=bool)
            self.train, self.validation = self.train.part(~held_out), self.train.part(held_out)
        else:
            self.validation = self._split(arguments.validation_split)
        self._check()
        self._rows = LabelledRows(self.train)

    def _split(self, split: str) -> LabelledSplit:
        return LabelledSplit.open(self.arguments.corpus, split, self.arguments.task)

    @property
    def label_names(self) -> list[str]:
        """Official codes of the task, one a column."""
        return self.train.chosen.label_names

    @property
    def _named_splits(self) -> dict[str, LabelledSplit]:
        splits = {"training": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def _check(self) -> None:
        arguments = self.arguments
        for name, split in self._named_splits.items():
            if split.chosen.label_names != self.label_names:
                raise ValueError(
                    f"task {arguments.task!r} has the labels {split.chosen.label_names} in the {name} records and "
                    f"{self.label_names} in the training records: convert the corpus again"
                )
            if name != "test" and not _both_classes(split.chosen.targets).any():
                raise ValueError(
                    f"no label of task {arguments.task!r} tells the {len(split)} {name} records apart: each has all "
                    "of them or none (one class only), so there is nothing to learn or to judge by; choose another "
                    "--task or split"
                )
        if not arguments.allow_shared_patients:
            patients = {
                name: [patient for patient, _ in split.identities() if patient is not None]
                for name, split in self._named_splits.items()
            }
            try:
                check_patients_disjoint(patients)
            except ValueError as error:
                raise ValueError(f"{error}; --allow_shared_patients trains all the same") from None
        batch_size, processes = arguments.per_device_train_batch_size, self.accelerator.num_processes
        accumulated = arguments.gradient_accumulation_steps
        if len(self.train) < batch_size * processes * accumulated:
            raise ValueError(
                f"there are {len(self.train)} training records with a label of task {arguments.task!r}, fewer than "
                f"one step takes: per_device_train_batch_size={batch_size} x {processes} processes x "
                f"gradient_accumulation_steps={accumulated}; lower one of them"
            )

    def pos_weight(self) -> torch.Tensor | None:
        """Weights of positives in the loss, float32 (labels,), as the arguments want them."""
        wanted, targets = self.arguments.pos_weight, self.train.chosen.targets
        if wanted is None:
            return None
        if wanted != "balanced":
            return torch.full((targets.shape[1],), float(wanted))
        positives = targets.sum(axis=0)
        weights = (len(targets) - positives) / np.maximum(positives, 1)
        # A label that all or none of the records carry teaches nothing that a weight could help.
        weights = np.where(_both_classes(targets), np.minimum(weights, self.arguments.max_pos_weight), 1.0)
        return torch.from_numpy(weights).float()

    def plan_batches(self) -> BatchPlan:
        """Shuffled batches, whatever the length of their reports."""
        accelerator = self.accelerator
        batches = ReportLengthBatchSampler(
            None,
            self.arguments.per_device_train_batch_size * accelerator.num_processes,
            num_records=len(self.train),
            seed=self.arguments.seed,
        )
        return ShuffledBatchPlan(batches, accelerator.process_index, accelerator.num_processes)

    def load_batches(self, plan: BatchPlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        """This process' part of the batches of an epoch, from `first_batch` on, augmented."""
        arguments = self.arguments
        collator = MeritCollator(self.feature_extractor, augmentation=arguments.augmentation, seed=arguments.seed)
        return load_batches(
            arguments,
            self._rows,
            plan.of_epoch(epoch, first_batch),
            ClassificationCollator(collator),
            self.accelerator.device,
        )


def _both_classes(targets: np.ndarray) -> np.ndarray:
    """bool (labels,): some records carry the label and some do not."""
    return np.asarray(targets.any(axis=0) & ~targets.all(axis=0))
