"""The training loop that pretraining and fine-tuning share: epochs, steps, and what happens after each of them.

What a step optimises, what a validation looks at and what the final model is belong to the kinds of training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from .arguments import LoopArguments
from .batches import Batch, TrainingBatches
from .checkpoints import Progress
from .log import TrainingLog
from .optimizer import set_learning_rate
from .processes import from_main_process
from .resume import checkpoint_to_resume
from .run_folder import RunFolder
from .running_metrics import RunningMetrics, short_text
from .schedule import CosineSchedule, warmup_length
from .throughput import Throughput


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


class TrainingLoop(ABC):
    """Trains a model in one process or as one of several that `accelerate launch` started.

    A run is a function of its arguments, the corpus, and the number of processes: initial weights, order,
    augmentation, masks and dropout follow from the seed and from counters (epoch, record, step, process). That is why
    a run that was killed and resumed has the same losses as one that was not.

    A kind of training makes, after this constructor, `processor` (what `save_pretrained` puts beside the weights),
    `model`, `progress` and `metrics`.

    Args:
        arguments: of the run.
        accelerator: of `processes.make_accelerator`.

    Raises:
        ValueError: the output folder does not fit the arguments.
    """

    processor: Any
    model: Any
    progress: Progress
    metrics: RunningMetrics

    def __init__(self, arguments: LoopArguments, accelerator: Any) -> None:
        self.arguments = arguments
        self.accelerator = accelerator
        self.run_folder = RunFolder(arguments.output_dir, arguments.save_total_limit)
        self._prepare_folder()
        # The checkpoint whose state the first stage that trains begins with.
        self._checkpoint = checkpoint_to_resume(arguments, self.run_folder)
        self.throughput = Throughput()

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

    def _set_up(self, model: Any) -> None:
        """Choices about how the model computes, which are no part of it."""
        if self.arguments.attn_implementation is not None:
            model.set_attn_implementation(self.arguments.attn_implementation)
        if self.arguments.gradient_checkpointing:
            # renamed in transformers 5.23
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()

    def _value(self, stage: int, field: str) -> Any:
        return self.arguments.stage_value(stage, field)

    # --- what a kind of training says --------------------------------------------------------------------------------

    @abstractmethod
    def _batches(self, stage: int) -> TrainingBatches:
        """The training batches of a stage."""

    @abstractmethod
    def _train_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        """This process' part of the batches of an epoch, from `first_batch` on."""

    @abstractmethod
    def _forward(self, wrapped: nn.Module, batch: Batch, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        """One forward pass: its loss, and its metrics times the pass' `share` of the step."""

    @abstractmethod
    def _validate(self, plan: StagePlan, epoch: float) -> None:
        """Writes a line of validation metrics and notes in the progress whether this is the best model so far."""

    @abstractmethod
    def _train_stage(self, plan: StagePlan) -> None:
        """Trains a stage to its end, from where the progress stands."""

    def _done(self, plan: StagePlan) -> bool:
        """Whether the stage has ended."""
        return self.progress.stage_step >= plan.num_steps

    # --- training ----------------------------------------------------------------------------------------------------

    def _train_stages(self) -> None:
        """All stages from where the run stands, with the log and the progress bar open."""
        disable_progress_bar()  # of writing weights, which would tear the bar of the run
        arguments, main = self.arguments, self.accelerator.is_main_process
        self._log: TrainingLog | None = None
        if main:
            self.run_folder.checkpoints.remove_after(self.progress.step)
            self._log = TrainingLog(self.run_folder.path, self.progress.step, arguments.report_to == "tensorboard")
        self._last: dict[str, dict[str, float]] = {"training": {}, "validation": {}}
        plans = [self._plan(stage) for stage in range(arguments.num_stages)]
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

    def _plan(self, stage: int) -> StagePlan:
        batches = self._batches(stage)
        accumulated = self._value(stage, "gradient_accumulation_steps")
        steps_per_epoch = len(batches) // accumulated
        num_steps = self._value(stage, "max_steps")
        if num_steps <= 0:
            num_steps = max(1, math.ceil(self._value(stage, "num_train_epochs") * steps_per_epoch))
        warmup = warmup_length(num_steps, self._value(stage, "warmup_steps"), self._value(stage, "warmup_ratio"))
        return StagePlan(stage, batches, accumulated, steps_per_epoch, num_steps, CosineSchedule(num_steps, warmup))

    def _train_epoch(self, plan: StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Steps to the end of the epoch, or of the stage."""
        progress, epoch = self.progress, self.progress.epoch
        batches = self._train_batches(plan, epoch, progress.batch)
        while progress.epoch == epoch and not self._done(plan):
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
        optimizer.zero_grad()
        values: dict[str, Tensor] = {}
        for micro in range(plan.accumulated):
            batch = next(batches)
            # Dropout follows from counters as masks do, so that neither a loader nor a resumed process can shift it.
            torch.manual_seed(self._dropout_seed(micro))
            # Processes exchange gradients once a step.
            with nullcontext() if micro == plan.accumulated - 1 else accelerator.no_sync(wrapped):
                loss, metrics = self._forward(wrapped, batch, 1 / plan.accumulated)
                accelerator.backward(loss / plan.accumulated)
            for name, value in metrics.items():
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

    def _write_line(self, kind: str, line: dict[str, float]) -> None:
        self._last[kind] = line
        if self._log is not None:
            self._log.write(line)

    def _sum(self, tensor: Tensor) -> Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

    # --- checkpoints -------------------------------------------------------------------------------------------------

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

    def _write_final_model(self) -> None:
        def write(folder: Path) -> None:
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

        if self.accelerator.is_main_process:
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()
