"""The pretraining loop: stages, epochs, steps, and what happens between and after them.

The parts it is built of stand beside it, one a file; what a step optimises is the model's matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from ..command_line import write_yaml
from ..configuration_merit import MeritConfig
from ..modeling_merit import MeritForPreTraining
from ..objective_merit import gather_with_gradient
from ..processing_merit import MeritProcessor
from .arguments import STAGE_MODEL_FIELDS, PretrainingArguments
from .batches import Batch
from .checkpointing import Progress
from .continuation import checkpoint_to_resume, read_progress
from .embedding_means import fill_embedding_means
from .optimizer import build_optimizer, parameter_groups, set_learning_rate
from .processes import from_main_process, load_weights, make_accelerator
from .record_source import TrainingBatches
from .run_data import RunData
from .run_folder import ARGUMENTS_FILE, RunFolder
from .running_metrics import RunningMetrics, TrainingSummary, metrics_of_pass, short_text
from .schedule import CosineSchedule, warmup_length
from .starting_point import starting_config, starting_model, starting_processor
from .throughput import Throughput
from .training_log import TrainingLog
from .validation import validate


class Pretrainer:
    """Pretrains a MERIT model on a corpus, in one process or as one of several that `accelerate launch` started.

    A run is a function of its arguments, the corpus, and the number of processes: initial weights, order,
    augmentation, masks and dropout follow from the seed and from counters (epoch, record, step, process). That is why
    a run that was killed and resumed has the same losses as one that was not.

    Args:
        arguments: of the run.

    Raises:
        ValueError: arguments, corpus and output folder do not fit each other.
    """

    def __init__(self, arguments: PretrainingArguments) -> None:
        self.arguments = arguments
        self.stage_configs = [starting_config(arguments, stage) for stage in range(len(arguments.stages))]
        self.accelerator = make_accelerator(arguments, self.stage_configs)
        self.data = RunData(arguments, self.stage_configs, self.accelerator)
        self.run_folder = RunFolder(arguments.output_dir, arguments.save_total_limit)
        self._prepare_folder()
        # The checkpoint whose state the first stage that trains begins with.
        self._checkpoint = checkpoint_to_resume(arguments, self.run_folder)
        self.processor = self._processor()
        self.model = self._model()
        self.progress = Progress(run=self._identity())
        if self._checkpoint is not None:
            self.progress = read_progress(self._checkpoint, self._identity())
        self.metrics = RunningMetrics(self.progress)
        self.throughput = Throughput()

    # --- what a run starts from --------------------------------------------------------------------------------------

    def _prepare_folder(self) -> None:
        problem = ""
        if self.accelerator.is_main_process:
            try:
                self.run_folder.prepare(
                    overwrite=self.arguments.overwrite, resume=self.arguments.resume_from_checkpoint is not None
                )
            except ValueError as error:
                problem = str(error)
        # The other processes must not walk on into a folder that was refused.
        problem = from_main_process(self.accelerator, problem)
        if problem:
            raise ValueError(problem)

    def _processor(self) -> MeritProcessor:
        """The run's processor: made and written once, by one process, and read by all, now and on resume."""

        def write(folder: Path) -> None:
            starting_processor(self.arguments, self.data.train.reports_for_tokenizer()).save_pretrained(folder)
            write_yaml(self.arguments, folder / ARGUMENTS_FILE)

        if self.accelerator.is_main_process and not self.run_folder.arguments_file.is_file():
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()
        return MeritProcessor.from_pretrained(self.run_folder.path)

    def _model(self) -> MeritForPreTraining:
        set_seed(self.arguments.seed)
        if self._checkpoint is None:
            model = starting_model(self.arguments, self.processor.tokenizer)
        else:
            model = MeritForPreTraining(MeritConfig.from_pretrained(self._checkpoint))  # weights follow with the state
        if self.arguments.attn_implementation is not None:
            model.set_attn_implementation(self.arguments.attn_implementation)
        if self.arguments.gradient_checkpointing:
            # renamed in transformers 5.23
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        return model

    def _identity(self) -> dict[str, Any]:
        """What, beside the arguments, decides the losses of a run."""
        return {
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            **self.data.train.identity(),
        }

    def _value(self, stage: int, field: str) -> Any:
        return self.arguments.stage_value(stage, field)

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> TrainingSummary:
        """Trains all stages from where the run stands, fills the embedding means, and writes the final model."""
        disable_progress_bar()  # of writing weights, which would tear the bar of the run
        arguments, main = self.arguments, self.accelerator.is_main_process
        self._log: TrainingLog | None = None
        if main:
            self.run_folder.checkpoints.remove_after(self.progress.step)
            self._log = TrainingLog(self.run_folder.path, self.progress.step, arguments.report_to == "tensorboard")
        self._last: dict[str, dict[str, float]] = {"training": {}, "validation": {}}
        plans = [self._plan(stage) for stage in range(len(arguments.stages))]
        self._bar = tqdm(
            total=sum(plan.num_steps for plan in plans),
            initial=self.progress.step,
            unit="step",
            disable=arguments.disable_tqdm or not main,
            dynamic_ncols=True,
        )
        try:
            for plan in plans[self.progress.stage :]:
                self._train_stage(plan)
        finally:
            self._bar.close()
            if self._log is not None:
                self._log.close()
        self._finish()
        return TrainingSummary(
            output_dir=str(self.run_folder.path),
            steps=self.progress.step,
            training=self._last["training"],
            validation=self._last["validation"],
            best_step=self.progress.best_step,
            best_validation_loss=self.progress.best_validation_loss,
        )

    def _plan(self, stage: int) -> StagePlan:
        batches = self.data.training_batches(stage, self.stage_configs[stage], self.processor)
        accumulated = self._value(stage, "gradient_accumulation_steps")
        steps_per_epoch = len(batches) // accumulated
        num_steps = self._value(stage, "max_steps")
        if num_steps <= 0:
            num_steps = max(1, math.ceil(self._value(stage, "num_train_epochs") * steps_per_epoch))
        warmup = warmup_length(num_steps, self._value(stage, "warmup_steps"), self._value(stage, "warmup_ratio"))
        return StagePlan(stage, batches, accumulated, steps_per_epoch, num_steps, CosineSchedule(num_steps, warmup))

    def _train_stage(self, plan: StagePlan) -> None:
        progress, accelerator, arguments = self.progress, self.accelerator, self.arguments
        if plan.stage != progress.stage:
            progress.stage, progress.stage_step = plan.stage, 0
            progress.best_step = progress.best_validation_loss = None
            if progress.batch:  # a stage that stopped inside an epoch; the next one starts its own
                progress.epoch, progress.batch = progress.epoch + 1, 0
        for name in STAGE_MODEL_FIELDS:
            setattr(self.model.config, name, getattr(self.stage_configs[plan.stage], name))
        self.model.freeze_text_tower()
        groups = parameter_groups(
            self.model,
            self._value(plan.stage, "learning_rate"),
            self._value(plan.stage, "text_learning_rate"),
            self._value(plan.stage, "weight_decay"),
        )
        optimizer = build_optimizer(groups, (arguments.adam_beta1, arguments.adam_beta2), arguments.adam_epsilon)
        wrapped, optimizer = accelerator.prepare(self.model, optimizer)
        if self._checkpoint is not None:
            accelerator.load_state(str(self._checkpoint))
            self._checkpoint = None
        self.model.train()
        self.throughput.read()
        while progress.stage_step < plan.num_steps:
            self._train_epoch(plan, wrapped, optimizer)
        self.model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()

    def _train_epoch(self, plan: StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Steps to the end of the epoch, or of the stage."""
        progress, epoch = self.progress, self.progress.epoch
        batches = self.data.train_batches(plan.batches, epoch, progress.batch, self.processor, self.model.config)
        while progress.epoch == epoch and progress.stage_step < plan.num_steps:
            learning_rate = set_learning_rate(optimizer, plan.schedule(progress.stage_step))
            self._step(plan, wrapped, optimizer, batches)
            progress.step += 1
            progress.stage_step += 1
            progress.batch += plan.accumulated
            self._after_step(plan, learning_rate)

    def _step(
        self, plan: StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch]
    ) -> None:
        accelerator = self.accelerator
        gather = gather_with_gradient if accelerator.num_processes > 1 else None
        optimizer.zero_grad()
        values: dict[str, Tensor] = {}
        for micro in range(plan.accumulated):
            batch = next(batches)
            # Dropout follows from counters as masks do, so that neither a loader nor a resumed process can shift it.
            torch.manual_seed(self._dropout_seed(micro))
            # Processes exchange gradients once a step.
            with nullcontext() if micro == plan.accumulated - 1 else accelerator.no_sync(wrapped):
                outputs = wrapped(**batch, gather=gather)
                accelerator.backward(outputs.loss / plan.accumulated)
            for name, value in metrics_of_pass(outputs, 1 / plan.accumulated).items():
                values[name] = values[name] + value if name in values else value
            self.throughput.add(len(batch["input_values"]) * accelerator.num_processes)
        limit = self._value(plan.stage, "max_grad_norm")
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), limit if limit > 0 else math.inf)
        optimizer.step()
        # Loss scaling skips a step whose gradient overflowed; without it such a step has ruined the weights.
        overflow = norm.new_zeros(()) if accelerator.scaler is not None else ~torch.isfinite(norm)
        self.metrics.add(self.progress.step + 1, values, overflow)

    def _dropout_seed(self, micro: int) -> int:
        """Differs by seed, step, forward pass and process: 63 bits, each counter mixed in by a multiplication."""
        mixed = self.arguments.seed
        for counter in (self.progress.step, micro, self.accelerator.process_index):
            mixed = ((mixed ^ counter) * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) % 2**64
            mixed ^= mixed >> 31
        return mixed >> 1

    def _after_step(self, plan: StagePlan, learning_rate: float) -> None:
        """Log, validate and save where due, in this order, so that a checkpoint comes after its own lines."""
        arguments, progress = self.arguments, self.progress
        epoch = progress.epoch + progress.batch / (plan.steps_per_epoch * plan.accumulated)
        stage_ends = progress.stage_step == plan.num_steps
        epoch_ends = progress.batch >= plan.steps_per_epoch * plan.accumulated
        if epoch_ends:
            progress.epoch, progress.batch = progress.epoch + 1, 0

        def due(strategy: str, steps: int) -> bool:
            now = epoch_ends if strategy == "epoch" else progress.step % steps == 0
            return strategy != "no" and (now or stage_ends)

        logs = due("steps", arguments.logging_steps) or epoch_ends
        saves = due(arguments.save_strategy, arguments.save_steps)
        if logs or saves:
            self.metrics.collect()  # looks at the losses: nothing is kept of a run that has diverged
        if logs:
            self._write_training_line(epoch, learning_rate)
        with self.throughput.paused():
            if due(arguments.eval_strategy, arguments.eval_steps):
                self._validate(plan, epoch)
            if saves:
                self._save()
        self._bar.update(1)

    def _write_training_line(self, epoch: float, learning_rate: float) -> None:
        means = self.metrics.take_means()
        line = {
            "step": self.progress.step,
            "epoch": round(epoch, 6),
            **means,
            "learning_rate": learning_rate,
            "ecgs_per_second": round(self.throughput.read(), 2),
        }
        self._bar.set_postfix_str(short_text(means), refresh=False)
        self._write_line("training", line)

    def _validate(self, plan: StagePlan, epoch: float) -> None:
        progress, source = self.progress, self.data.validation
        if source is None:
            return
        batch_size = self.arguments.per_device_eval_batch_size
        batch_size = batch_size or self._value(plan.stage, "per_device_train_batch_size")
        batches = self.data.clean_batches(source, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            metrics = validate(self.model, batches, self._sum)
        if progress.best_validation_loss is None or metrics["validation_loss"] < progress.best_validation_loss:
            progress.best_step, progress.best_validation_loss = progress.step, metrics["validation_loss"]
        self._write_line("validation", {"step": progress.step, "epoch": round(epoch, 6), **metrics})

    def _write_line(self, kind: str, line: dict[str, float]) -> None:
        self._last[kind] = line
        if self._log is not None:
            self._log.write(line)

    def _sum(self, tensor: Tensor) -> Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

    # --- checkpoints and the end -------------------------------------------------------------------------------------

    def _save(self) -> None:
        def write(folder: Path) -> None:
            self.accelerator.save_state(str(folder))
            if self.accelerator.is_main_process:
                self.processor.save_pretrained(folder)
                self.progress.write(folder)

        self.run_folder.checkpoints.save(
            self.progress.step,
            write,
            is_main_process=self.accelerator.is_main_process,
            wait=self.accelerator.wait_for_everyone,
            keep=self.progress.best_step,
        )

    def _finish(self) -> None:
        best = self.progress.best_step
        if self.arguments.load_best_model_at_end and best is not None:
            load_weights(self.model, self.run_folder.checkpoints.path(best))
        batch_size = self._value(len(self.arguments.stages) - 1, "per_device_train_batch_size")
        batches = self.data.clean_batches(self.data.train, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            fill_embedding_means(self.model, batches, self._sum)

        def write(folder: Path) -> None:
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

        if self.accelerator.is_main_process:
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()


@dataclass(frozen=True)
class StagePlan:
    """A stage with all its numbers resolved: `steps_per_epoch` and `num_steps` count optimiser steps.

    `accumulated` batches make a step; those of an epoch that do not fill one are left out.
    """

    stage: int
    batches: TrainingBatches
    accumulated: int
    steps_per_epoch: int
    num_steps: int
    schedule: CosineSchedule
