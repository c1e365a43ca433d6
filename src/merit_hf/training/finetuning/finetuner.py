"""Fine-tuning: a classifier on an ECG encoder, validated by its macro AUROC, of which the best one is kept.

The loop is in loop/loop.py, the records are in data.py. Metrics and predictions come from `merit_hf.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from merit_hf.evaluation.metrics.ranking import ranking_metrics
from merit_hf.evaluation.predictions import Predictions, predictions_of
from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.modeling_merit import MeritForEcgClassification
from merit_hf.training.loop.batch_plan import BatchPlan, WholeBatches
from merit_hf.training.loop.loader import Batch
from merit_hf.training.loop.loop import StagePlan, TrainingLoop
from merit_hf.training.loop.optimizer import layerwise_parameter_groups
from merit_hf.training.loop.processes import make_accelerator
from merit_hf.training.loop.progress import Progress

from .arguments import FinetuningArguments
from .classifier_scores import classifier_logits, probabilities_of, validation_calibration, validation_thresholds
from .data import FinetuningData
from .labelled_split import LabelledSplit
from .start import starting_model, starting_processor
from .summary import FinetuningSummary


@dataclass
class FinetuningProgress(Progress):
    """Where a fine-tuning stands. `best_step` and `best_validation_loss` are those of the best macro AUROC.

    Args:
        best_validation_macro_auroc: the highest so far.
        validations_since_best: validations after that one.
    """

    best_validation_macro_auroc: float | None = None
    validations_since_best: int = 0


class Finetuner(TrainingLoop):
    """Trains a `MeritForEcgClassification` on a task of a corpus.

    The final model is the one with the highest macro AUROC on the validation records, over the labels that have both
    classes there; its thresholds and its calibration are chosen on the same records. Test records are looked at once,
    at the very end. With one process or several the same records meet in a step, so that without dropout and with the
    linear head the losses agree but for rounding; the MLP head's BatchNorm sees the records of its own process.

    Args:
        arguments: of the run.

    Raises:
        ValueError: arguments, model, corpus and output folder do not fit each other.
    """

    arguments: FinetuningArguments
    processor_class = MeritFeatureExtractor
    model_class = MeritForEcgClassification
    progress_class = FinetuningProgress

    def __init__(self, arguments: FinetuningArguments) -> None:
        accelerator = make_accelerator(arguments)
        self.data = FinetuningData(arguments, starting_processor(arguments), accelerator)
        weight = self.data.pos_weight()
        self._pos_weight = None if weight is None else weight.to(accelerator.device)
        super().__init__(arguments, accelerator)

    def _starting_processor(self) -> MeritFeatureExtractor:
        return self.data.feature_extractor

    def _starting_model(self) -> MeritForEcgClassification:
        return starting_model(self.arguments, self.processor, self.data.label_names)

    def _data_identity(self) -> dict[str, Any]:
        return {
            "labels": self.data.label_names,
            "train_records": len(self.data.train),
            "validation_records": len(self.data.validation),
        }

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> FinetuningSummary:
        """Trains from where the run stands, writes the best model, and predicts validation and test records."""
        self._train_stages()
        progress = self.progress
        self._load_best_model()
        validation = self._predictions(self.data.validation)
        self.model.config.thresholds = validation_thresholds(validation)
        self.model.config.calibration = validation_calibration(validation, self.arguments.calibration)
        self._write_final_model()
        test = None if self.data.test is None else self._predictions(self.data.test)
        self.accelerator.end_training()
        return FinetuningSummary(
            output_dir=str(self.run_folder.path),
            steps=progress.step,
            stopped_early=self._out_of_patience(),
            best_step=progress.best_step,
            best_validation_macro_auroc=progress.best_validation_macro_auroc,
            held_out=self.data.held_out,
            num_train_records=len(self.data.train),
            validation=validation,
            test=test,
        )

    def _plan_batches(self, stage: int) -> BatchPlan:
        return self.data.plan_batches()

    def _load_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        return self.data.load_batches(plan.batches, epoch, first_batch)

    def _enter_stage(self, stage: int) -> list[dict[str, object]]:
        arguments = self.arguments
        self.model.ecg_model.requires_grad_(not arguments.freeze_encoder)
        layer_decay = 1.0 if arguments.layer_decay is None else arguments.layer_decay  # resolved by the arguments
        return layerwise_parameter_groups(self.model, arguments.learning_rate, layer_decay, arguments.weight_decay)

    def _train_mode(self) -> None:
        self.model.train()
        if self.arguments.freeze_encoder:
            self.model.ecg_model.eval()  # features that do not learn gain nothing from dropout

    def _done(self, plan: StagePlan) -> bool:
        return super()._done(plan) or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        patience = self.arguments.early_stopping_patience
        return patience is not None and self.progress.validations_since_best >= patience

    def _forward(self, wrapped: nn.Module, batch: Batch, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        logits = wrapped(batch["input_values"], padding_mask=batch["padding_mask"]).logits
        loss = self._loss(logits.float(), batch["labels"])
        # Every process has the mean over its own records, as many as the others have.
        return loss, {"loss": self.accelerator.reduce(loss.detach(), reduction="mean") * share}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if self._pos_weight is None else self._pos_weight.to(logits)
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weight)

    def _validate(self, plan: StagePlan, epoch: float) -> None:
        progress, targets = self.progress, self.data.validation.chosen.targets
        with self.accelerator.autocast():
            logits = self._logits(self.data.validation)
        self._train_mode()
        ranking = ranking_metrics(targets, logits, self.data.label_names)
        loss = float(self._loss(torch.from_numpy(logits), torch.from_numpy(targets)))
        best = progress.best_validation_macro_auroc
        if best is None or ranking.macro_auroc > best:
            progress.best_step, progress.best_validation_loss = progress.step, loss
            progress.best_validation_macro_auroc, progress.validations_since_best = ranking.macro_auroc, 0
        else:
            progress.validations_since_best += 1
        line = {
            "validation_loss": loss,
            "validation_macro_auroc": ranking.macro_auroc,
            "validation_macro_auprc": ranking.macro_auprc,
        }
        self._write_line("validation", {"step": progress.step, "epoch": round(epoch, 6), **line})

    # --- predictions -------------------------------------------------------------------------------------------------

    def _logits(self, split: LabelledSplit) -> np.ndarray:
        """float64 (records, labels), in every process; each of them has computed whole batches of its own."""
        accelerator = self.accelerator
        if accelerator.num_processes > 1:
            for buffer in self.model.buffers():  # running means of BatchNorm differ; those of the first are kept
                broadcast(buffer)
        records = split.records
        batch_size = self.arguments.per_device_eval_batch_size or self.arguments.per_device_train_batch_size
        batches = WholeBatches(len(records), batch_size, accelerator.process_index, accelerator.num_processes)
        rows = [row for batch in batches for row in batch]
        logits = torch.zeros(len(records), len(self.data.label_names), dtype=torch.float64)
        if rows:
            own = classifier_logits(self.model, self.processor, records.select(rows), batch_size=batch_size)
            logits[rows] = torch.from_numpy(own)
        device = self.accelerator.device
        summed: np.ndarray = self._sum(logits.to(device if device.type != "mps" else "cpu")).cpu().numpy()
        return summed

    def _predictions(self, split: LabelledSplit) -> Predictions:
        return predictions_of(split.corpus_split, split.chosen, probabilities_of(self._logits(split)))
