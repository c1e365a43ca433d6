"""Pretraining: its stages, what its steps optimise, and how the final model is made.

The loop is in loop.py and the parts it is built of stand beside it; what a step optimises is the model's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from torch import Tensor, nn

from merit_hf.command_line import write_yaml
from merit_hf.configuration_merit import MeritConfig
from merit_hf.modeling_merit import MeritForPreTraining
from merit_hf.objective_merit import gather_with_gradient
from merit_hf.processing_merit import MeritProcessor
from merit_hf.training.loop.batches import Batch, TrainingBatches
from merit_hf.training.loop.checkpoints import Progress
from merit_hf.training.loop.loop import StagePlan, TrainingLoop
from merit_hf.training.loop.optimizer import build_optimizer, parameter_groups
from merit_hf.training.loop.processes import load_weights, make_accelerator
from merit_hf.training.loop.resume import read_progress
from merit_hf.training.loop.run_folder import ARGUMENTS_FILE
from merit_hf.training.loop.running_metrics import RunningMetrics, TrainingSummary, metrics_of_pass

from .arguments import STAGE_MODEL_FIELDS, PretrainingArguments
from .data import RunData
from .embedding_means import fill_embedding_means
from .frozen_text import FrozenTextFeatures
from .start import starting_config, starting_model, starting_processor
from .validation import validate


class Pretrainer(TrainingLoop):
    """Pretrains a MERIT model on a corpus.

    Args:
        arguments: of the run.

    Raises:
        ValueError: arguments, corpus and output folder do not fit each other.
    """

    arguments: PretrainingArguments

    def __init__(self, arguments: PretrainingArguments) -> None:
        self.stage_configs = [starting_config(arguments, stage) for stage in range(arguments.num_stages)]
        accelerator = make_accelerator(arguments, self.stage_configs)
        self.data = RunData(arguments, self.stage_configs, accelerator)
        super().__init__(arguments, accelerator)
        self.processor = self._processor()
        self.model = self._model()
        self.progress = Progress(run=self._identity())
        if self._checkpoint is not None:
            self.progress = read_progress(self._checkpoint, self._identity())
        self.metrics = RunningMetrics(self.progress)
        self._frozen_text: FrozenTextFeatures | None = None

    # --- what a run starts from --------------------------------------------------------------------------------------

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
        self._set_up(model)
        return model

    def _identity(self) -> dict[str, Any]:
        """What, beside the arguments, decides the losses of a run."""
        return {
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            **self.data.train.identity(),
        }

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> TrainingSummary:
        """Trains all stages from where the run stands, fills the embedding means, and writes the final model."""
        self._train_stages()
        self._finish()
        return TrainingSummary(
            output_dir=str(self.run_folder.path),
            steps=self.progress.step,
            training=self._last["training"],
            validation=self._last["validation"],
            best_step=self.progress.best_step,
            best_validation_loss=self.progress.best_validation_loss,
        )

    def _batches(self, stage: int) -> TrainingBatches:
        return self.data.training_batches(stage, self.stage_configs[stage], self.processor)

    def _train_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        return self.data.train_batches(plan.batches, epoch, first_batch, self.processor, self.model.config)

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
        self._frozen_text = FrozenTextFeatures(self.model) if FrozenTextFeatures.serves(self.model) else None
        if self._checkpoint is not None:
            accelerator.load_state(str(self._checkpoint))
            self._checkpoint = None
        self.model.train()
        self.throughput.read()
        while progress.stage_step < plan.num_steps:
            self._train_epoch(plan, wrapped, optimizer)
        self.model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()

    def _forward(self, wrapped: nn.Module, batch: Batch, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        gather = gather_with_gradient if self.accelerator.num_processes > 1 else None
        outputs = wrapped(**self._with_kept_texts(batch), gather=gather)
        return outputs.loss, metrics_of_pass(outputs, share)

    def _with_kept_texts(self, batch: Batch) -> Batch:
        return batch if self._frozen_text is None else self._frozen_text(batch)

    def _validate(self, plan: StagePlan, epoch: float) -> None:
        progress, source = self.progress, self.data.validation
        if source is None:
            return
        batch_size = self.arguments.per_device_eval_batch_size
        batch_size = batch_size or self._value(plan.stage, "per_device_train_batch_size")
        batches = self.data.clean_batches(source, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            metrics = validate(self.model, map(self._with_kept_texts, batches), self._sum)
        if progress.best_validation_loss is None or metrics["validation_loss"] < progress.best_validation_loss:
            progress.best_step, progress.best_validation_loss = progress.step, metrics["validation_loss"]
        self._write_line("validation", {"step": progress.step, "epoch": round(epoch, 6), **metrics})

    def _finish(self) -> None:
        best = self.progress.best_step
        if self.arguments.load_best_model_at_end and best is not None:
            load_weights(self.model, self.run_folder.checkpoints.path(best))
        batch_size = self._value(self.arguments.num_stages - 1, "per_device_train_batch_size")
        batches = self.data.clean_batches(self.data.train, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            fill_embedding_means(self.model, map(self._with_kept_texts, batches), self._sum)
        self._write_final_model()
        self.accelerator.end_training()
