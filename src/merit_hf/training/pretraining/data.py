"""What pretraining reads: the splits of its corpus, and batches of them with or without augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from accelerate import Accelerator

from merit_hf.configuration_merit import MeritConfig
from merit_hf.data.load.collator import MeritCollator
from merit_hf.processing_merit import MeritProcessor
from merit_hf.training.loop.batch_plan import BatchPlan
from merit_hf.training.loop.loader import Batch, load_batches

from .arguments import PretrainingArguments
from .record_source import RecordSource, open_source


class PretrainingData:
    """The corpus of a run as one of its processes sees it.

    Args:
        arguments: of the run.
        stage_configs: the model's configuration in each stage.
        accelerator: says which process this is.

    Raises:
        ValueError: no such corpus or split, no reports where the objective needs them, or fewer records than a step
            takes.
    """

    def __init__(
        self, arguments: PretrainingArguments, stage_configs: Sequence[MeritConfig], accelerator: Accelerator
    ) -> None:
        self.arguments = arguments
        self.accelerator = accelerator
        self.train = self._open(arguments.train_split, arguments.max_train_samples)
        self.validation: RecordSource | None = None
        if arguments.eval_strategy != "no":
            self.validation = self._open(arguments.validation_split)
        reads_reports = any(config.contrastive_weight > 0 for config in stage_configs)
        has_reports = reads_reports and self.train.has_reports()
        for stage, config in enumerate(stage_configs):
            self._check(stage, config, has_reports)

    def _open(self, split: str, max_records: int | None = None) -> RecordSource:
        process = (self.accelerator.process_index, self.accelerator.num_processes)
        return open_source(self.arguments, split, *process, max_records)

    def _check(self, stage: int, config: MeritConfig, has_reports: bool) -> None:
        arguments, where = self.arguments, f"split {self.arguments.train_split!r} of corpus {self.arguments.corpus}"
        if config.contrastive_weight > 0 and not has_reports:
            raise ValueError(
                f"{where} has no usable report, but contrastive_weight={config.contrastive_weight}: give "
                "--model.contrastive_weight 0 to train on signals alone, or check report_augmentation's "
                "report_languages and min_words"
            )
        batch_size = arguments.stage_value(stage, "per_device_train_batch_size")
        accumulated = arguments.stage_value(stage, "gradient_accumulation_steps")
        processes = self.accelerator.num_processes
        if len(self.train) < batch_size * processes * accumulated:
            raise ValueError(
                f"{where} has {len(self.train)} records, fewer than one step takes: per_device_train_batch_size="
                f"{batch_size} x {processes} processes x gradient_accumulation_steps={accumulated}; lower one of them"
            )

    def plan_batches(self, stage: int, config: MeritConfig, processor: MeritProcessor) -> BatchPlan:
        """The batches of a stage, of like report lengths where it reads reports and the corpus is not streamed."""
        return self.train.plan_batches(
            self.arguments.stage_value(stage, "per_device_train_batch_size"),
            processor.tokenizer if config.contrastive_weight > 0 else None,
            config.max_text_length,
        )

    def load_batches(
        self, plan: BatchPlan, epoch: int, first_batch: int, processor: MeritProcessor, config: MeritConfig
    ) -> Iterator[Batch]:
        """This process' part of the batches of an epoch, from `first_batch` on, augmented."""
        share = plan.of_epoch(epoch, first_batch)
        return self._load(self.train, share, self._collator(processor, config, augmented=True))

    def load_clean_batches(
        self, source: RecordSource, batch_size: int, processor: MeritProcessor, config: MeritConfig
    ) -> Iterator[Batch]:
        """All records of a split, in order and not augmented, shared among the processes by whole batches."""
        batches = source.batches_in_order(batch_size)
        return self._load(source, batches, self._collator(processor, config, augmented=False))

    def _collator(self, processor: MeritProcessor, config: MeritConfig, *, augmented: bool) -> MeritCollator:
        reports = self.arguments.report_augmentation
        if reports is not None and not augmented:
            reports = dataclasses.replace(reports, probability=0.0)  # still leaves out what is no report
        return MeritCollator(
            processor,
            max_text_length=config.max_text_length,
            augmentation=self.arguments.augmentation if augmented else None,
            report_augmentation=reports,
            seed=self.arguments.seed,
            num_mask_units=config.num_mask_units,
            num_patches=config.ecg_config.num_patches,
        )

    def _load(
        self, source: RecordSource, batches: Iterable[Sequence[Any]], collator: MeritCollator
    ) -> Iterator[Batch]:
        return load_batches(self.arguments, source.dataset, batches, collator, self.accelerator.device)
