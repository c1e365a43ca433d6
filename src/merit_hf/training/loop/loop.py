"""The training loop that pretraining and fine-tuning share: start, stages, epochs, steps, and what follows each step.

A kind of training says what it starts from, what a step optimises, how it validates and what the final model is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from transformers.utils.logging import disable_progress_bar

from merit_hf.command_line import write_yaml
from merit_hf.progress_bar import progress_bar

from .arguments import LoopArguments
from .batch_plan import BatchPlan
from .loader import Batch
from .log import TrainingLog
from .optimizer import build_optimizer, set_learning_rate
from .processes import from_main_process, load_weights
from .progress import Progress
from .resume import checkpoint_to_resume, progress_of_checkpoint
from .run_folder import ARGUMENTS_FILE, RunFolder
from .running_metrics import RunningMetrics, short_text
from .schedule import CosineSchedule, warmup_length
from .throughput import Throughput


@dataclass(frozen=True)
class StagePlan:
    """A stage with all its numbers resolved: `steps_per_epoch` and `num_steps` count optimiser steps.

    `accumulated` batches make a step; batches at the end of an epoch that do not fill one are left out.
    """

    stage: int
    batches: BatchPlan
    accumulated: int
    steps_per_epoch: int
    num_steps: int
    schedule: CosineSchedule


class TrainingLoop(ABC):
    """Trains a model in one process or as one of several that `accelerate launch` started.

    A run is a function of its arguments, the corpus, and the number of processes: initial weights, order,
    augmentation, masks and dropout follow from the seed and from counters (epoch, record, step, process). That is why
    a run that was killed and resumed has the same losses as one that was not.

    A kind of training sets what its hooks need (its data) before it calls this constructor.

    Args:
        arguments: of the run.
        accelerator: of `processes.make_accelerator`.

    Raises:
        ValueError: the output folder or the checkpoint does not fit the arguments.
    """

    processor_class: ClassVar[Any]
    model_class: ClassVar[Any]
    progress_class: ClassVar[type[Progress]] = Progress

    def __init__(self, arguments: LoopArguments, accelerator: Any) -> None:
        self.arguments = arguments
        self.accelerator = accelerator
        self.run_folder = RunFolder(arguments.output_dir, arguments.save_total_limit)
        self._prepare_folder()
        # The checkpoint whose state the first stage that trains begins with.
        self._checkpoint = checkpoint_to_resume(arguments, self.run_folder)
        self.processor: Any = self._processor()
        self.model: Any = self._model()
        self.progress: Any = self._progress()
        self.metrics = RunningMetrics(self.progress)
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
        # The other processes must stop too if the folder was refused.
        problem = from_main_process(self.accelerator, problem)
        if problem:
            raise ValueError(problem)

    def _processor(self) -> Any:
        """The run's processor: made and written once, by one process, and read by all, now and on resume."""

        def write(folder: Path) -> None:
            self._starting_processor().save_pretrained(folder)
            write_yaml(self.arguments, folder / ARGUMENTS_FILE)

        if self.accelerator.is_main_process and not self.run_folder.arguments_file.is_file():
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()
        return self.processor_class.from_pretrained(self.run_folder.path)

    def _model(self) -> Any:
        set_seed(self.arguments.seed)
        if self._checkpoint is None:
            model = self._starting_model()
        else:  # its weights follow with the state
            model = self.model_class(self.model_class.config_class.from_pretrained(self._checkpoint))
        if self.arguments.attn_implementation is not None:
            model.set_attn_implementation(self.arguments.attn_implementation)
        if self.arguments.gradient_checkpointing:
            # renamed in transformers 5.23
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        return model.to(self.accelerator.device)

    def _progress(self) -> Progress:
        identity = {
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            **self._data_identity(),
        }
        if self._checkpoint is None:
            return self.progress_class(run=identity)
        return progress_of_checkpoint(self._checkpoint, identity, self.progress_class)

    def _value(self, stage: int, field: str) -> Any:
        return self.arguments.stage_value(stage, field)

    # --- what a kind of training says --------------------------------------------------------------------------------

    @abstractmethod
    def _starting_processor(self) -> Any:
        """What `save_pretrained` puts beside the weights, made of the arguments."""

    @abstractmethod
    def _starting_model(self) -> Any:
        """The model before its first step; torch's random state decides what is random."""

    @abstractmethod
    def _data_identity(self) -> dict[str, Any]:
        """What of the data decides the losses of a run; it must be equal for a run to be continued."""

    @abstractmethod
    def _plan_batches(self, stage: int) -> BatchPlan:
        """Which records meet in the training batches of a stage."""

    @abstractmethod
    def _load_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        """This process' part of the batches of an epoch, from `first_batch` on, as tensors on the device."""

    @abstractmethod
    def _enter_stage(self, stage: int) -> list[dict[str, object]]:
        """Sets the model up for a stage; returns the parameters that train in it, for AdamW, with their `peak_lr`."""

    def _train_mode(self) -> None:
        """Puts the model into training mode."""
        self.model.train()

    @abstractmethod
    def _forward(self, wrapped: nn.Module, batch: Batch, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        """One forward pass: its loss, and its metrics times the pass' `share` of the step."""

    @abstractmethod
    def _validate(self, plan: StagePlan, epoch: float) -> None:
        """Writes a line of validation metrics and notes in the progress whether this is the best model so far."""

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
        self._bar = progress_bar(
            total=sum(plan.num_steps for plan in plans),
            initial=self.progress.step,
            unit="step",
            disable=arguments.disable_tqdm or not main,
        )
        try:
            for plan in plans[self.progress.stage :]:
                self._train_stage(plan)
        finally:
            self._bar.close()
            if self._log is not None:
                self._log.close()

    def _plan(self, stage: int) -> StagePlan:
        batches = self._plan_batches(stage)
        accumulated = self._value(stage, "gradient_accumulation_steps")
        steps_per_epoch = len(batches) // accumulated
        num_steps = self._value(stage, "max_steps")
        if num_steps <= 0:
            num_steps = max(1, math.ceil(self._value(stage, "num_train_epochs") * steps_per_epoch))
        warmup = warmup_length(num_steps, self._value(stage, "warmup_steps"), self._value(stage, "warmup_ratio"))
        return StagePlan(stage, batches, accumulated, steps_per_epoch, num_steps, CosineSchedule(num_steps, warmup))

    def _train_stage(self, plan: StagePlan) -> None:
        """Trains a stage to its end, from where the progress stands, with an optimiser of its own."""
        progress, accelerator, arguments = self.progress, self.accelerator, self.arguments
        if plan.stage != progress.stage:
            progress.stage, progress.stage_step = plan.stage, 0
            progress.best_step = progress.best_validation_loss = None
            if progress.batch:  # the stage before stopped inside an epoch; this one starts its own
                progress.epoch, progress.batch = progress.epoch + 1, 0
        groups, betas = self._enter_stage(plan.stage), (arguments.adam_beta1, arguments.adam_beta2)
        wrapped, optimizer = accelerator.prepare(self.model, build_optimizer(groups, betas, arguments.adam_epsilon))
        if self._checkpoint is not None:
            accelerator.load_state(str(self._checkpoint))
            self._checkpoint = None
        self._train_mode()
        self.throughput.read()
        while not self._done(plan):
            self._train_epoch(plan, wrapped, optimizer)
        self.model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()

    def _train_epoch(self, plan: StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Steps to the end of the epoch, or of the stage."""
        progress, epoch = self.progress, self.progress.epoch
        batches = self._load_batches(plan, epoch, progress.batch)
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

    def _load_best_model(self) -> None:
        """Loads the weights of the best validation, if the arguments ask for them and there was one."""
        best = self.progress.best_step
        if self.arguments.load_best_model_at_end and best is not None:
            load_weights(self.model, self.run_folder.checkpoints.path(best))

    def _write_final_model(self) -> None:
        def write(folder: Path) -> None:
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

        if self.accelerator.is_main_process:
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()
