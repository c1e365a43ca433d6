"""The pretraining loop: stages, steps, validation, checkpoints, and the end of a run.

The parts it is built of stand beside it, one a file; what a step optimises is the model's and `objective_merit`'s matter.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, set_seed
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from ..command_line import as_plain, parse_arguments, write_yaml
from ..configuration_merit import MeritConfig
from ..data.augmentation import EcgAugmentation
from ..data.batching import ReportLengthBatchSampler
from ..data.collator import MeritCollator
from ..data.corpus import load_corpus
from ..data.pretraining_dataset import PretrainingDataset, report_lengths
from ..data.report_augmentation import ReportAugmentation
from ..modeling_merit import MeritForPreTraining
from ..objective_merit import gather_with_gradient
from ..processing_merit import MeritProcessor
from .arguments import STAGE_MODEL_FIELDS, PretrainingArguments
from .batches import Batch, ProcessShare, WholeBatches, make_loader
from .checkpointing import Progress, find_checkpoint
from .embedding_means import fill_embedding_means
from .optimizer import build_optimizer, parameter_groups, set_learning_rate
from .run_folder import RunFolder
from .schedule import CosineSchedule, warmup_length
from .starting_point import starting_config, starting_model, starting_processor
from .throughput import Throughput
from .training_log import TrainingLog
from .validation import validate

METRICS = ("loss", "reconstruction_loss", "contrastive_loss", "semantic_information", "structure_information")

# What may differ when a run is continued: none of it changes a loss.
_MAY_DIFFER = {
    "corpus",
    "output_dir",
    "overwrite",
    "resume_from_checkpoint",
    "text_model",
    "report_to",
    "disable_tqdm",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "load_best_model_at_end",
    "dataloader_num_workers",
    "dataloader_pin_memory",
}


@dataclass
class TrainingSummary:
    """How a run ended: `steps` done, the last line of training and of validation metrics, the best validation."""

    output_dir: str
    steps: int
    training: dict[str, float]
    validation: dict[str, float]
    best_step: int | None
    best_validation_loss: float | None

    def table(self) -> str:
        """A few lines for people: metrics of training and validation side by side, and where the run is."""
        rows = [f"{'':24}{'training':>12}{'validation':>12}"]
        for name in METRICS:
            values = (self.training.get(name), self.validation.get(f"validation_{name}"))
            rows.append(f"{name:24}" + "".join(f"{'-' if value is None else format(value, '.4f'):>12}" for value in values))
        best = "" if self.best_step is None else f"; lowest validation loss {self.best_validation_loss:.4f} at {self.best_step}"
        return "\n".join([*rows, f"{self.steps} steps{best}", f"model, processor, log and checkpoints: {self.output_dir}"])


class Pretrainer:
    """Pretrains a MERIT model on a corpus, in one process or as one of several that `accelerate launch` started.

    A run is a function of its arguments, the corpus, and the number of processes: initial weights, order, augmentation,
    masks and dropout follow from the seed and from counters (epoch, record, step, process). That is why a run that was
    killed and resumed has the same losses as one that was not.

    Args:
        arguments: of the run.

    Raises:
        ValueError: arguments, corpus, and output folder do not fit each other; nothing has been written then.
    """

    def __init__(self, arguments: PretrainingArguments) -> None:
        self.arguments = arguments
        self.stage_configs = [starting_config(arguments, stage) for stage in range(len(arguments.stages))]
        self.accelerator = _make_accelerator(arguments, self.stage_configs)
        self.run_folder = RunFolder(arguments.output_dir, arguments.save_total_limit)
        self.report_augmentation = _build(ReportAugmentation, arguments.report_augmentation)
        self.ecg_augmentation = _build(EcgAugmentation, arguments.augmentation)
        self._open_corpus()
        checkpoint = self._prepare_folder()
        self.processor = self._processor()
        self.progress = Progress(run=self._identity())
        self.model = self._model(checkpoint)
        self._checkpoint = checkpoint
        if checkpoint is not None:
            self.progress = self._read_progress(checkpoint)
        self.throughput = Throughput()
        self._pending: list[Tensor] = []

    # --- what a run is made of ---------------------------------------------------------------------------------------

    def _open_corpus(self) -> None:
        arguments = self.arguments
        split = load_corpus(arguments.corpus, split=arguments.train_split)
        if arguments.max_train_samples is not None:
            split = split.select(range(min(arguments.max_train_samples, len(split))))
        self.train_dataset = PretrainingDataset(split)
        self.train_reports = self.train_dataset.reports(self.report_augmentation)
        self.validation_dataset = None
        if arguments.eval_strategy != "no":
            self.validation_dataset = PretrainingDataset(load_corpus(arguments.corpus, split=arguments.validation_split))
        needing = [number for number, config in enumerate(self.stage_configs) if config.contrastive_weight > 0]
        if needing and not any(self.train_reports):
            raise ValueError(
                f"corpus {arguments.corpus} has no usable report in split {arguments.train_split!r}, but "
                f"contrastive_weight={self.stage_configs[needing[0]].contrastive_weight}: give --model.contrastive_weight 0 "
                "to train on signals alone, or check report_augmentation's report_languages and min_words"
            )
        for stage in range(len(arguments.stages)):
            batch_size, accumulated = self._global_batch_size(stage), self._value(stage, "gradient_accumulation_steps")
            if len(self.train_dataset) < batch_size * accumulated:
                raise ValueError(
                    f"split {arguments.train_split!r} of {arguments.corpus} has {len(self.train_dataset)} records, fewer "
                    f"than one step takes: per_device_train_batch_size={self._value(stage, 'per_device_train_batch_size')} x "
                    f"{self.accelerator.num_processes} processes x gradient_accumulation_steps={accumulated}"
                )

    def _prepare_folder(self) -> Path | None:
        """Makes the output folder ready in one process; returns the checkpoint to resume from."""
        arguments, problem = self.arguments, ""
        if self.accelerator.is_main_process:
            try:
                self.run_folder.prepare(
                    overwrite=arguments.overwrite, resume=arguments.resume_from_checkpoint is not None
                )
            except ValueError as error:
                problem = str(error)
        # The other processes must not walk on into a folder that was refused.
        problem = _from_main_process(self.accelerator, problem)
        if problem:
            raise ValueError(problem)
        if arguments.resume_from_checkpoint is None:
            return None
        self._check_same_arguments()
        checkpoint = find_checkpoint(arguments.resume_from_checkpoint, self.run_folder.checkpoints)
        if checkpoint is not None and checkpoint.resolve().parent != self.run_folder.checkpoints.folder.resolve():
            raise ValueError(
                f"--resume_from_checkpoint {checkpoint} is no checkpoint of the run in --output_dir {arguments.output_dir}"
            )
        return checkpoint

    def _check_same_arguments(self) -> None:
        file = str(self.run_folder.arguments_file)
        earlier = as_plain(parse_arguments(PretrainingArguments, [file]))
        now = as_plain(self.arguments)
        for name in now:
            if name not in _MAY_DIFFER and now[name] != earlier[name]:
                raise ValueError(
                    f"the run was started with {name}: {json.dumps(earlier[name])}, not {json.dumps(now[name])}; an exact "
                    f"continuation needs the same arguments, which {file} holds: give that file"
                )

    def _processor(self) -> MeritProcessor:
        """The run's processor: made and written once, by one process, and read by all, now and on resume."""
        path = self.run_folder.path
        if self.accelerator.is_main_process and not self.run_folder.arguments_file.is_file():
            self.run_folder.put_final(starting_processor(self.arguments, self.train_reports).save_pretrained)
            write_yaml(self.arguments, self.run_folder.arguments_file)
        self.accelerator.wait_for_everyone()
        return MeritProcessor.from_pretrained(path)

    def _model(self, checkpoint: Path | None) -> MeritForPreTraining:
        set_seed(self.arguments.seed)
        if checkpoint is None:
            model = starting_model(self.arguments, self.processor.tokenizer)
        else:
            model = MeritForPreTraining(MeritConfig.from_pretrained(checkpoint))  # weights follow with the state
        if self.arguments.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        return model

    def _identity(self) -> dict[str, Any]:
        """What, beside the arguments, decides the losses of a run."""
        return {
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            "train_records": len(self.train_dataset),
            "reports": sum(map(bool, self.train_reports)),
        }

    def _read_progress(self, checkpoint: Path) -> Progress:
        progress, now = Progress.read(checkpoint), self._identity()
        for name, value in now.items():
            if progress.run.get(name) != value:
                raise ValueError(
                    f"checkpoint {checkpoint} was made with {name}={progress.run.get(name)}, this run has {value}: an exact "
                    "continuation is not possible"
                )
        return progress

    def _value(self, stage: int, field: str) -> Any:
        return self.arguments.stage_value(stage, field)

    def _global_batch_size(self, stage: int) -> int:
        return self._value(stage, "per_device_train_batch_size") * self.accelerator.num_processes

    # --- data --------------------------------------------------------------------------------------------------------

    def _collator(self, *, augmented: bool) -> MeritCollator:
        config, reports = self.model.config, self.report_augmentation
        if reports is not None and not augmented:
            reports = dataclasses.replace(reports, probability=0.0)  # still leaves out what is no report
        return MeritCollator(
            self.processor,
            max_text_length=config.max_text_length,
            augmentation=self.ecg_augmentation if augmented else None,
            report_augmentation=reports,
            seed=self.arguments.seed,
            num_mask_units=config.num_mask_units,
            num_patches=config.ecg_config.num_patches,
        )

    def _train_batches(self, batches: ReportLengthBatchSampler) -> Iterator[Batch]:
        """Batches of this process from where the progress stands to the end of the epoch."""
        batches.set_epoch(self.progress.epoch)
        share = ProcessShare(
            batches, self.accelerator.process_index, self.accelerator.num_processes, self.progress.batch
        )
        return self._loaded(self.train_dataset, share, augmented=True)

    def _whole_batches(self, dataset: PretrainingDataset, batch_size: int) -> Iterator[Batch]:
        """All records of a split in order and as they are, divided among the processes by batches."""
        batches = WholeBatches(
            len(dataset), batch_size, self.accelerator.process_index, self.accelerator.num_processes
        )
        return self._loaded(dataset, batches, augmented=False)

    def _loaded(self, dataset: PretrainingDataset, batches: Any, *, augmented: bool) -> Iterator[Batch]:
        loader = make_loader(
            dataset,
            batches,
            self._collator(augmented=augmented),
            num_workers=self.arguments.dataloader_num_workers,
            pin_memory=self.arguments.dataloader_pin_memory and self.accelerator.device.type == "cuda",
        )
        for batch in loader:
            yield {name: tensor.to(self.accelerator.device, non_blocking=True) for name, tensor in batch.items()}

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

    def _plan(self, stage: int) -> _StagePlan:
        lengths = None
        if self.stage_configs[stage].contrastive_weight > 0:
            lengths = report_lengths(
                self.train_reports, self.processor.tokenizer, self.stage_configs[stage].max_text_length
            )
        batches = ReportLengthBatchSampler(
            lengths,
            self._global_batch_size(stage),
            num_records=len(self.train_dataset),
            seed=self.arguments.seed,
        )
        accumulated = self._value(stage, "gradient_accumulation_steps")
        steps_per_epoch = len(batches) // accumulated
        num_steps = self._value(stage, "max_steps")
        if num_steps <= 0:
            num_steps = max(1, math.ceil(self._value(stage, "num_train_epochs") * steps_per_epoch))
        warmup = warmup_length(num_steps, self._value(stage, "warmup_steps"), self._value(stage, "warmup_ratio"))
        return _StagePlan(stage, batches, accumulated, steps_per_epoch, num_steps, CosineSchedule(num_steps, warmup))

    def _train_stage(self, plan: _StagePlan) -> None:
        progress, accelerator = self.progress, self.accelerator
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
        arguments = self.arguments
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

    def _train_epoch(self, plan: _StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Steps to the end of the epoch, or of the stage."""
        progress, epoch = self.progress, self.progress.epoch
        batches = self._train_batches(plan.batches)
        while progress.epoch == epoch and progress.stage_step < plan.num_steps:
            factor = plan.schedule(progress.stage_step)
            learning_rate = set_learning_rate(optimizer, factor)
            self._step(plan, wrapped, optimizer, batches)
            progress.step += 1
            progress.stage_step += 1
            progress.batch += plan.accumulated
            self._after_step(plan, learning_rate)

    def _step(
        self, plan: _StagePlan, wrapped: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch]
    ) -> None:
        accelerator = self.accelerator
        gather = gather_with_gradient if accelerator.num_processes > 1 else None
        optimizer.zero_grad()
        values = torch.zeros(len(METRICS), device=accelerator.device)
        for micro in range(plan.accumulated):
            batch = next(batches)
            # Dropout follows from counters as masks do, so that neither a loader nor a resumed process can shift it.
            torch.manual_seed(self._dropout_seed(micro))
            last = micro == plan.accumulated - 1
            with nullcontext() if last else accelerator.no_sync(wrapped):
                outputs = wrapped(**batch, gather=gather)
                accelerator.backward(outputs.loss / plan.accumulated)
            values += _metric_values(outputs, accelerator.device) / plan.accumulated
            self.throughput.add(len(batch["input_values"]) * accelerator.num_processes)
        limit = self._value(plan.stage, "max_grad_norm")
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), limit if limit > 0 else math.inf)
        optimizer.step()
        # Loss scaling skips a step whose gradients overflowed; without it such a step would have ruined the weights.
        overflow = torch.zeros((), device=accelerator.device)
        if accelerator.scaler is None:
            overflow = (~torch.isfinite(norm)).float().to(accelerator.device)
        self._pending.append(torch.cat([values, overflow[None]]))

    def _dropout_seed(self, micro: int) -> int:
        """Differs by seed, step, forward pass and process; 63 bits, mixed by a multiplier as in SplitMix64."""
        mixed = self.arguments.seed
        for counter in (self.progress.step, micro, self.accelerator.process_index):
            mixed = ((mixed ^ counter) * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) % 2**64
            mixed ^= mixed >> 31
        return mixed >> 1

    def _after_step(self, plan: _StagePlan, learning_rate: float) -> None:
        """Log, validate and save where it is time to, in this order, so that a checkpoint comes after its own lines."""
        arguments, progress = self.arguments, self.progress
        epoch = progress.epoch + progress.batch / (plan.steps_per_epoch * plan.accumulated)
        stage_ends = progress.stage_step == plan.num_steps
        epoch_ends = progress.batch >= plan.steps_per_epoch * plan.accumulated
        if epoch_ends:
            progress.epoch, progress.batch = progress.epoch + 1, 0
        due = {"no": False, "epoch": epoch_ends or stage_ends}
        validates = {**due, "steps": progress.step % arguments.eval_steps == 0 or stage_ends}[arguments.eval_strategy]
        saves = {**due, "steps": progress.step % arguments.save_steps == 0 or stage_ends}[arguments.save_strategy]
        logs = progress.step % arguments.logging_steps == 0 or epoch_ends or stage_ends
        if logs or saves:
            self._collect()
        if logs:
            self._write_training_line(epoch, learning_rate)
        with self.throughput.paused():
            if validates:
                self._validate(plan, epoch)
            if saves:
                self._save()
        self._bar.update(1)

    def _collect(self) -> None:
        """Moves the metrics of the last steps from the device into the progress, which a checkpoint keeps.

        Raises:
            ValueError: a loss or gradient is not finite.
        """
        progress = self.progress
        first = progress.step - len(self._pending) + 1
        for step, values in enumerate(torch.stack(self._pending).double().tolist() if self._pending else [], start=first):
            named = dict(zip(METRICS, values))
            bad = {name: value for name, value in named.items() if math.isinf(value) or value != value and self._runs(name)}
            if bad or values[-1]:
                what = ", ".join(f"{name}={value}" for name, value in bad.items()) or "the gradient is not finite"
                raise ValueError(
                    f"training diverged at step {step} ({what}): lower learning_rate, raise warmup_ratio, or use bf16 or "
                    "float32 instead of fp16; the last checkpoint was made before it"
                )
            for name, value in named.items():
                if value == value:
                    progress.interval_sums[name] = progress.interval_sums.get(name, 0.0) + value
            progress.interval_count += 1
        self._pending.clear()

    def _runs(self, metric: str) -> bool:
        """Whether the branch that a metric speaks of is on; the metrics of the other are NaN on purpose."""
        config = self.model.config
        if metric in ("reconstruction_loss", "structure_information"):
            return config.reconstruction_weight > 0
        if metric in ("contrastive_loss", "semantic_information"):
            return config.contrastive_weight > 0
        return True

    def _write_training_line(self, epoch: float, learning_rate: float) -> None:
        progress = self.progress
        means = {name: total / progress.interval_count for name, total in progress.interval_sums.items()}
        progress.interval_sums, progress.interval_count = {}, 0
        line = {
            "step": progress.step,
            "epoch": round(epoch, 6),
            **means,
            "learning_rate": learning_rate,
            "ecgs_per_second": round(self.throughput.read(), 2),
        }
        self._last["training"] = line
        self._bar.set_postfix_str(_short(means), refresh=False)
        if self._log is not None:
            self._log.write(line)

    def _validate(self, plan: _StagePlan, epoch: float) -> None:
        if self.validation_dataset is None:
            return
        progress, arguments = self.progress, self.arguments
        batch_size = arguments.per_device_eval_batch_size or self._value(plan.stage, "per_device_train_batch_size")
        batches = self._whole_batches(self.validation_dataset, batch_size)
        with self.accelerator.autocast():
            metrics = validate(self.model, batches, self._sum)
        if progress.best_validation_loss is None or metrics["validation_loss"] < progress.best_validation_loss:
            progress.best_step, progress.best_validation_loss = progress.step, metrics["validation_loss"]
        line = {"step": progress.step, "epoch": round(epoch, 6), **metrics}
        self._last["validation"] = line
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
        self.model.to(self.accelerator.device)
        batch_size = self._value(len(self.arguments.stages) - 1, "per_device_train_batch_size")
        with self.accelerator.autocast():
            fill_embedding_means(self.model, self._whole_batches(self.train_dataset, batch_size), self._sum)
        self.model.eval()

        def write(folder: Path) -> None:
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

        if self.accelerator.is_main_process:
            self.run_folder.put_final(write)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()


@dataclass(frozen=True)
class _StagePlan:
    """A stage with all its numbers resolved: `steps_per_epoch` and `num_steps` count optimiser steps."""

    stage: int
    batches: ReportLengthBatchSampler
    accumulated: int
    steps_per_epoch: int
    num_steps: int
    schedule: CosineSchedule


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware. Without it, bfloat16 is slower than float32."""
    if torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("1", "true", "yes"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Loads `model.safetensors` of a checkpoint into the model.

    Raises:
        ValueError: names that the model has and the file lacks, or the other way round.
    """
    state = load_file(str(checkpoint / "model.safetensors"))
    missing, unexpected = model.load_state_dict(state, strict=False)
    own = model.state_dict(keep_vars=True)
    given = {own[name].data_ptr() for name in state if name in own}
    # A tensor that two names share is stored once.
    missing = [name for name in missing if own[name].data_ptr() not in given]
    if missing or unexpected:
        raise ValueError(
            f"checkpoint {checkpoint} does not fit the model: missing {missing[:3]}, unexpected {list(unexpected)[:3]}"
        )


def _make_accelerator(arguments: PretrainingArguments, configs: list[MeritConfig]) -> Accelerator:
    # Searching for unused parameters costs a walk through the graph every step; only a branch of weight 0 has some.
    unused = any(config.reconstruction_weight == 0 or config.contrastive_weight == 0 for config in configs)
    bf16 = fast_bfloat16() if arguments.bf16 == "auto" and not arguments.fp16 else arguments.bf16 is True
    precision = "bf16" if bf16 else "fp16" if arguments.fp16 else None
    accelerator = Accelerator(
        mixed_precision=precision, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused)]
    )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("fp16 needs a GPU: use --bf16 or neither on this machine")
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise ValueError(
            f"{accelerator.distributed_type.value} is not supported: checkpoints of this command hold whole weights; launch "
            "with plain data parallelism (accelerate launch --multi_gpu)"
        )

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        # As from_pretrained opens it, and without the prefix that wrapping for several processes puts before names.
        model = accelerator.unwrap_model(models[0])
        if accelerator.is_main_process:
            model.save_pretrained(folder, max_shard_size="1000GB")
        weights.clear()

    def load(models: list[nn.Module], folder: str) -> None:
        load_weights(accelerator.unwrap_model(models.pop()), Path(folder))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
    return accelerator


def _build(kind: type, fields: dict[str, Any] | None) -> Any:
    return None if fields is None else kind(**fields)


def _from_main_process(accelerator: Accelerator, text: str) -> str:
    """The main process' text, in every process."""
    if accelerator.num_processes == 1:
        return text
    holder = [text]
    torch.distributed.broadcast_object_list(holder, src=0)
    return holder[0]


def _metric_values(outputs: Any, device: torch.device) -> Tensor:
    """The metrics of one forward pass as one tensor, NaN for a branch that did not run; no wait for the device."""
    missing = torch.full((), math.nan, device=device)
    found = (getattr(outputs, name) for name in METRICS)
    return torch.stack([missing if value is None else value.detach().float() for value in found])


def _short(means: dict[str, float]) -> str:
    names = {
        "reconstruction_loss": "rec",
        "contrastive_loss": "con",
        "semantic_information": "I_sem",
        "structure_information": "I_str",
    }
    return " ".join(f"{short}={means[name]:.3f}" for name, short in names.items() if name in means)
