"""The arguments of pretraining: every field of its YAML files, with units, defaults and checks.

`merit_hf.command_line` turns a command line into these dataclasses. Names are those of
`transformers.TrainingArguments` where one exists.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import option
from merit_hf.data.load.report_augmentation import ReportAugmentation
from merit_hf.training.loop.arguments import LoopArguments, require
from merit_hf.training.model_arguments import ModelArguments, TextTowerArguments

_SHUFFLE_ROW_GROUPS = 8
_OFTEN_PER_STAGE = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "weight_decay")


@dataclass(kw_only=True)
class StageArguments:
    """One stage of a run: its own value for any of these fields; null takes the run's."""

    name: str | None = option(None, help="name shown in messages; by default the stage's number")
    num_train_epochs: float | None = option(None, help="passes over the training split", unit="epochs")
    max_steps: int | None = option(None, help="optimiser steps of the stage; replaces num_train_epochs", unit="steps")
    learning_rate: float | None = option(None, help="peak learning rate")
    text_learning_rate: float | None = option(None, help="peak learning rate of the text tower")
    weight_decay: float | None = option(None, help="decoupled weight decay")
    warmup_ratio: float | None = option(None, help="share of the stage's steps with a rising learning rate")
    warmup_steps: int | None = option(
        None, help="steps with a rising learning rate; replaces warmup_ratio", unit="steps"
    )
    max_grad_norm: float | None = option(None, help="largest norm of the gradient; 0 does not clip")
    per_device_train_batch_size: int | None = option(None, help="ECGs of one process in one forward pass", unit="ECGs")
    gradient_accumulation_steps: int | None = option(None, help="forward passes summed for one optimiser step")
    reconstruction_weight: float | None = option(None, help="weight of the structure loss; 0 leaves the branch out")
    contrastive_weight: float | None = option(None, help="weight of the semantics loss; 0 leaves the branch out")
    regularizer_weight: float | None = option(None, help="weight of mean(1 - cosine of the pair)")
    mask_ratio: float | None = option(None, help="share that is hidden")
    block_duration: float | None = option(None, help="length of a block", unit="seconds")
    reconstruction_target: Literal["patch_normalized", "signal"] | None = option(
        None, help="what the decoder predicts"
    )
    alignment_view: Literal["full", "visible"] | None = option(None, help="what the contrastive branch encodes")
    alignment_token_drop: float | None = option(None, help="share of tokens left out of the full contrastive pass")
    positives: Literal["pair", "same_report"] | None = option(None, help="whether equal reports are negatives")
    text_trainable_layers: int | Literal["all"] | None = option(None, help="top layers of the text tower that train")

    def model_fields(self) -> dict[str, Any]:
        """The overrides that are fields of MeritConfig."""
        own = dataclasses.asdict(self)
        return {name: own[name] for name in STAGE_MODEL_FIELDS if own[name] is not None}


STAGE_MODEL_FIELDS = (
    "reconstruction_weight",
    "contrastive_weight",
    "regularizer_weight",
    "mask_ratio",
    "block_duration",
    "reconstruction_target",
    "alignment_view",
    "alignment_token_drop",
    "positives",
    "text_trainable_layers",
)


@dataclass(kw_only=True)
class PretrainingArguments(LoopArguments):
    """All arguments of `merit pretrain`."""

    # Shared fields that mean more here
    corpus: str = option(
        help="folder of a converted corpus, as `merit convert` writes it, or its name on the Hub (owner/name); with "
        "streaming also a URL (hf://datasets/owner/name@revision, https://...)"
    )
    validation_split: str = option("validation", help="split for the validation loss, clean and with fixed masks")
    per_device_train_batch_size: int = option(
        64,
        help="ECGs of one process in one forward pass; negatives come from this batch on all processes",
        unit="ECGs",
    )
    gradient_accumulation_steps: int = option(
        1,
        help="forward passes summed for one optimiser step; does NOT enlarge the contrastive batch: every pass has "
        "negatives of its own only",
    )
    load_best_model_at_end: bool = option(
        False, help="end with the checkpoint of the best validation loss (of the last stage) instead of the last"
    )

    # What is trained, and on what
    max_train_samples: int | None = option(None, help="use only the first ones of the training split", unit="records")
    streaming: bool = option(
        False,
        help="read the corpus row group by row group as it is trained on, from a folder or a URL, without preparing a "
        "copy; memory does not grow with it, batches are not made by report length, and records mix within "
        "shuffle_row_groups",
    )
    shuffle_row_groups: int = option(
        _SHUFFLE_ROW_GROUPS,
        help="row groups (of at most 128 records) mixed with one another when streaming; twice as many are in memory",
        unit="row groups",
    )
    model: ModelArguments = option(ModelArguments(), help="size and objective of the model: fields of MeritConfig")
    text_model: str | None = option(
        None,
        help="Hugging Face id or folder of a pretrained text encoder; null trains a tokenizer on the corpus' reports "
        "and a small BERT from scratch",
    )
    text_tower: TextTowerArguments = option(
        TextTowerArguments(), help="the small text tower that is trained from scratch (only with text_model: null)"
    )
    report_augmentation: ReportAugmentation | None = option(
        ReportAugmentation(), help="which reports are used, and random parts of them; null shows every report as it is"
    )
    text_learning_rate: float | None = option(
        None, help="peak learning rate of the text tower; null takes learning_rate"
    )
    stages: list[StageArguments] = option(
        [], help="stages trained one after the other, each with its own optimiser and schedule; empty: one, as above"
    )

    def __post_init__(self) -> None:
        if not self.stages:
            self.stages = [StageArguments()]
        for field in _OFTEN_PER_STAGE:
            self._refuse_dead_value(field)
        super().__post_init__()
        samples = self.max_train_samples
        require(samples is None or samples >= 1, f"max_train_samples={samples} must be at least 1, or null for all")
        window = self.shuffle_row_groups
        require(window >= 1, f"shuffle_row_groups={window} must be at least 1")
        require(
            self.streaming or window == _SHUFFLE_ROW_GROUPS,
            f"shuffle_row_groups={window} changes nothing without --streaming true",
        )

    @property
    def num_stages(self) -> int:
        """Number of stages, which are trained one after the other."""
        return len(self.stages)

    def stage_value(self, stage: int, field: str) -> Any:
        """The value of a field in a stage: its own, or the run's."""
        own = getattr(self.stages[stage], field)
        return getattr(self, field) if own is None else own

    def first_stages(self, num_stages: int) -> PretrainingArguments:
        """The same run, ended after its first stages."""
        stages = self.stages[:num_stages]
        dead = {field: _default(field) for field in _OFTEN_PER_STAGE if _all_have(stages, field)}
        return dataclasses.replace(self, stages=stages, **dead)

    def _refuse_dead_value(self, field: str) -> None:
        """A value that every stage replaces would be ignored silently."""
        if getattr(self, field) != _default(field) and _all_have(self.stages, field):
            raise ValueError(
                f"{field}={getattr(self, field)} would change nothing, since every stage has its own: "
                f"give --stages.0.{field} instead"
            )

    def _check_stage(self, stage: int) -> None:
        super()._check_stage(stage)
        value = self.stage_value(stage, "text_learning_rate")
        where = f" (stage {stage})" if self.num_stages > 1 else ""
        require(value is None or value >= 0, f"text_learning_rate={value}{where} must not be negative")


def _default(field: str) -> Any:
    return next(item.default for item in dataclasses.fields(PretrainingArguments) if item.name == field)


def _all_have(stages: list[StageArguments], field: str) -> bool:
    return all(getattr(stage, field) is not None for stage in stages)
