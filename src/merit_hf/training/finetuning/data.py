"""What fine-tuning reads: the records of a task with their label matrix, in training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import Accelerator

from merit_hf.data.build.open import load_corpus
from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.splits import check_patients_disjoint, hold_out_by_patient
from merit_hf.evaluation.targets import TaskTargets, task_targets
from merit_hf.training.loop.batches import Batch, SharedBatches, TrainingBatches, make_loader, on_device

from .arguments import FinetuningArguments


@dataclass(frozen=True)
class LabelledSplit:
    """The records of a task in a corpus split: the split, and which of its rows take part with which labels."""

    corpus_split: datasets.Dataset
    chosen: TaskTargets

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


class LabelledCollator:
    """Batches of a classifier: what the extractor and the augmentation make, with the labels as 0/1 floats.

    Args:
        collator: without a tokenizer.
        targets: bool (records, labels); a row's `index` says which is its own.
    """

    def __init__(self, collator: MeritCollator, targets: np.ndarray) -> None:
        self.collator = collator
        self.targets = targets

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        batch = self.collator(rows)
        labels = torch.from_numpy(self.targets[[row["index"] for row in rows]]).float()
        return {"input_values": batch["input_values"], "padding_mask": batch["padding_mask"], "labels": labels}


class LabelledData:
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
        self.augmentation = None if arguments.augmentation is None else EcgAugmentation(**arguments.augmentation)
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
        self._rows = PretrainingDataset(self.train.records)

    def _split(self, split: str) -> LabelledSplit:
        corpus_split = load_corpus(self.arguments.corpus, split=split)
        return LabelledSplit(corpus_split, task_targets(corpus_split, self.arguments.task))

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
                raise ValueError(f"{error}; --allow_shared_patients goes on all the same") from None
        batch_size, processes = arguments.per_device_train_batch_size, self.accelerator.num_processes
        accumulated = arguments.gradient_accumulation_steps
        if len(self.train) < batch_size * processes * accumulated:
            raise ValueError(
                f"there are {len(self.train)} training records with a label of task {arguments.task!r}, fewer than "
                f"one step takes: per_device_train_batch_size={batch_size} x {processes} processes x "
                f"gradient_accumulation_steps={accumulated}"
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

    def training_batches(self) -> TrainingBatches:
        """Shuffled batches; no report is looked at."""
        accelerator = self.accelerator
        batches = ReportLengthBatchSampler(
            None,
            self.arguments.per_device_train_batch_size * accelerator.num_processes,
            num_records=len(self.train),
            seed=self.arguments.seed,
        )
        return SharedBatches(batches, accelerator.process_index, accelerator.num_processes)

    def train_batches(self, batches: TrainingBatches, epoch: int, first_batch: int) -> Iterator[Batch]:
        """This process' part of the batches of an epoch, from `first_batch` on, augmented."""
        share = batches.of_epoch(epoch, first_batch)
        collator = MeritCollator(self.feature_extractor, augmentation=self.augmentation, seed=self.arguments.seed)
        device = self.accelerator.device
        loader = make_loader(
            self._rows,
            share,
            LabelledCollator(collator, self.train.chosen.targets),
            num_workers=self.arguments.dataloader_num_workers,
            pin_memory=self.arguments.dataloader_pin_memory and device.type == "cuda",
        )
        return on_device(loader, device)


def _both_classes(targets: np.ndarray) -> np.ndarray:
    """bool (labels,): some records carry the label and some do not."""
    return np.asarray(targets.any(axis=0) & ~targets.all(axis=0))
