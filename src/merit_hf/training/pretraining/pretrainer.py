"""Pretraining: its stages, what its steps optimise, and how the final model is made.

The loop is in loop/loop.py; the losses are computed by the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from merit_hf.modeling_merit import MeritForPreTraining
from merit_hf.objective_merit import gather_with_gradient
from merit_hf.processing_merit import MeritProcessor
from merit_hf.training.loop.batch_plan import BatchPlan
from merit_hf.training.loop.loader import Batch
from merit_hf.training.loop.loop import StagePlan, TrainingLoop
from merit_hf.training.loop.optimizer import parameter_groups
from merit_hf.training.loop.processes import make_accelerator

from .arguments import STAGE_MODEL_FIELDS, PretrainingArguments
from .data import PretrainingData
from .embedding_means import fill_embedding_means
from .frozen_text import FrozenTextFeatures
from .start import starting_config, starting_model, starting_processor
from .summary import PretrainingSummary, metrics_of_pass
from .validation import validate


class Pretrainer(TrainingLoop):
    """Pretrains a MERIT model on a corpus.

    Args:
        arguments: of the run.

    Raises:
        ValueError: arguments, corpus and output folder do not fit each other.
    """

    arguments: PretrainingArguments
    processor_class = MeritProcessor
    model_class = MeritForPreTraining

    def __init__(self, arguments: PretrainingArguments) -> None:
        self.stage_configs = [starting_config(arguments, stage) for stage in range(arguments.num_stages)]
        accelerator = make_accelerator(arguments, self.stage_configs)
        self.data = PretrainingData(arguments, self.stage_configs, accelerator)
        self._frozen_text: FrozenTextFeatures | None = None
        super().__init__(arguments, accelerator)

    def _starting_processor(self) -> MeritProcessor:
        return starting_processor(self.arguments, self.data.train.reports_for_tokenizer())

    def _starting_model(self) -> MeritForPreTraining:
        return starting_model(self.arguments, self.processor.tokenizer)

    def _data_identity(self) -> dict[str, Any]:
        return self.data.train.identity()

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> PretrainingSummary:
        """Trains all stages from where the run stands, fills the embedding means, and writes the final model."""
        self._train_stages()
        self._load_best_model()
        self._fill_embedding_means()
        self._write_final_model()
        self.accelerator.end_training()
        return PretrainingSummary(
            output_dir=str(self.run_folder.path),
            steps=self.progress.step,
            training=self._last["training"],
            validation=self._last["validation"],
            best_step=self.progress.best_step,
            best_validation_loss=self.progress.best_validation_loss,
        )

    def _plan_batches(self, stage: int) -> BatchPlan:
        return self.data.plan_batches(stage, self.stage_configs[stage], self.processor)

    def _load_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        return self.data.load_batches(plan.batches, epoch, first_batch, self.processor, self.model.config)

    def _enter_stage(self, stage: int) -> list[dict[str, object]]:
        for name in STAGE_MODEL_FIELDS:
            setattr(self.model.config, name, getattr(self.stage_configs[stage], name))
        self.model.freeze_text_tower()
        self._frozen_text = FrozenTextFeatures(self.model) if FrozenTextFeatures.serves(self.model) else None
        rates = ("learning_rate", "text_learning_rate", "weight_decay")
        return parameter_groups(self.model, *(self._value(stage, name) for name in rates))

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
        batches = self.data.load_clean_batches(source, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            metrics = validate(self.model, map(self._with_kept_texts, batches), self._sum)
        if progress.best_validation_loss is None or metrics["validation_loss"] < progress.best_validation_loss:
            progress.best_step, progress.best_validation_loss = progress.step, metrics["validation_loss"]
        self._write_line("validation", {"step": progress.step, "epoch": round(epoch, 6), **metrics})

    def _fill_embedding_means(self) -> None:
        batch_size = self._value(self.arguments.num_stages - 1, "per_device_train_batch_size")
        batches = self.data.load_clean_batches(self.data.train, batch_size, self.processor, self.model.config)
        with self.accelerator.autocast():
            fill_embedding_means(self.model, map(self._with_kept_texts, batches), self._sum)
