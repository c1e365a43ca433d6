"""Fine-tuning: a classifier on a pretrained encoder, judged by the validation records and kept where it was best.

The loop is in loop.py, the records in data.py. Metrics and predictions are evaluation's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast, set_seed
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from merit_hf.command_line import write_yaml
from merit_hf.configuration_merit import MeritEcgConfig
from merit_hf.evaluation.metrics.ranking import ranking_metrics
from merit_hf.evaluation.predictions import Predictions, predictions_of
from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.modeling_merit import MeritForEcgClassification
from merit_hf.training.loop.batches import Batch, TrainingBatches, WholeBatches
from merit_hf.training.loop.checkpoints import Progress
from merit_hf.training.loop.loop import StagePlan, TrainingLoop
from merit_hf.training.loop.optimizer import build_optimizer, layerwise_parameter_groups
from merit_hf.training.loop.processes import load_weights, make_accelerator
from merit_hf.training.loop.resume import read_progress
from merit_hf.training.loop.run_folder import ARGUMENTS_FILE
from merit_hf.training.loop.running_metrics import RunningMetrics

from .arguments import FinetuningArguments
from .classifier_scores import classifier_logits, probabilities_of, validation_calibration, validation_thresholds
from .data import LabelledData, LabelledSplit
from .start import starting_classifier, starting_extractor


@dataclass
class FinetuningProgress(Progress):
    """Where a fine-tuning stands. `best_step` and `best_validation_loss` are those of the best macro AUROC.

    Args:
        best_validation_macro_auroc: the highest so far.
        validations_since_best: validations after that one.
    """

    best_validation_macro_auroc: float | None = None
    validations_since_best: int = 0


@dataclass(frozen=True)
class FinetuningSummary:
    """How a fine-tuning ended.

    steps, stopped_early: optimiser steps done, and whether patience ended them.
    best_step, best_validation_macro_auroc: of the model that was kept; None without any validation.
    held_out: whether the validation records were held out of the training split.
    validation, test: predictions of the final model, in probabilities before calibration; test is None if there was
        no test split.
    """

    output_dir: str
    steps: int
    stopped_early: bool
    best_step: int | None
    best_validation_macro_auroc: float | None
    held_out: bool
    num_train_records: int
    validation: Predictions
    test: Predictions | None

    def facts(self) -> dict[str, Any]:
        """What the run decided for itself, as plain JSON, to stand with the configuration of its results."""
        return {
            "steps": self.steps,
            "stopped_early": self.stopped_early,
            "best_step": self.best_step,
            "best_validation_macro_auroc": self.best_validation_macro_auroc,
            "validation_held_out_of_train": self.held_out,
            "num_train_records": self.num_train_records,
            "num_validation_records": len(self.validation),
        }

    def table(self) -> str:
        """A few lines for people."""
        how = "held out of the training split by patient" if self.held_out else "of the validation split"
        lines = [f"{self.num_train_records} records to learn from, {len(self.validation)} to stop by, {how}"]
        end = f"{self.steps} steps" + (", stopped early" if self.stopped_early else "")
        if self.best_step is not None:
            end += f"; highest validation macro AUROC {self.best_validation_macro_auroc:.4f} at step {self.best_step}"
        return "\n".join([*lines, end, f"model, feature extractor, log and checkpoints: {self.output_dir}"])


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
    progress: FinetuningProgress

    def __init__(self, arguments: FinetuningArguments) -> None:
        accelerator = make_accelerator(arguments)
        extractor = starting_extractor(arguments)
        self.data = LabelledData(arguments, extractor, accelerator)
        super().__init__(arguments, accelerator)
        self.processor = extractor
        self._write_beginning()
        self.model = self._model(extractor)
        self.progress = FinetuningProgress(run=self._identity())
        if self._checkpoint is not None:
            self.progress = read_progress(self._checkpoint, self._identity(), FinetuningProgress)
        self.metrics = RunningMetrics(self.progress)
        weight = self.data.pos_weight()
        self._pos_weight = None if weight is None else weight.to(accelerator.device)

    # --- what a run starts from --------------------------------------------------------------------------------------

    def _write_beginning(self) -> None:
        def write(folder: Path) -> None:
            self.processor.save_pretrained(folder)
            write_yaml(self.arguments, folder / ARGUMENTS_FILE)

        if self.accelerator.is_main_process and not self.run_folder.arguments_file.is_file():
            self.run_folder.put_in_place(write)
        self.accelerator.wait_for_everyone()

    def _model(self, extractor: MeritFeatureExtractor) -> MeritForEcgClassification:
        set_seed(self.arguments.seed)
        if self._checkpoint is None:
            model = starting_classifier(self.arguments, extractor, self.data.label_names)
        else:
            config = MeritEcgConfig.from_pretrained(self._checkpoint)
            model = MeritForEcgClassification(config)  # weights follow with the state
        self._set_up(model)
        return model

    def _identity(self) -> dict[str, Any]:
        """What, beside the arguments, decides the losses of a run."""
        return {
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            "labels": self.data.label_names,
            "train_records": len(self.data.train),
            "validation_records": len(self.data.validation),
        }

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> FinetuningSummary:
        """Trains from where the run stands, writes the best model, and predicts validation and test records."""
        self._train_stages()
        progress = self.progress
        if self.arguments.load_best_model_at_end and progress.best_step is not None:
            load_weights(self.model, self.run_folder.checkpoints.path(progress.best_step))
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

    def _batches(self, stage: int) -> TrainingBatches:
        return self.data.training_batches()

    def _train_batches(self, plan: StagePlan, epoch: int, first_batch: int) -> Iterator[Batch]:
        return self.data.train_batches(plan.batches, epoch, first_batch)

    def _train_stage(self, plan: StagePlan) -> None:
        accelerator, arguments = self.accelerator, self.arguments
        self.model.ecg_model.requires_grad_(not arguments.freeze_encoder)
        layer_decay = 1.0 if arguments.layer_decay is None else arguments.layer_decay  # resolved by the arguments
        groups = layerwise_parameter_groups(self.model, arguments.learning_rate, layer_decay, arguments.weight_decay)
        optimizer = build_optimizer(groups, (arguments.adam_beta1, arguments.adam_beta2), arguments.adam_epsilon)
        wrapped, optimizer = accelerator.prepare(self.model, optimizer)
        if self._checkpoint is not None:
            accelerator.load_state(str(self._checkpoint))
            self._checkpoint = None
        self._train_mode()
        self.throughput.read()
        while not self._done(plan):
            self._train_epoch(plan, wrapped, optimizer)
        self.model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()

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
