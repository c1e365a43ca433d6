"""The arguments of pretraining: every field of its YAML files, with units, defaults and checks.

How a command line becomes these dataclasses is in `merit_hf.command_line`; what the values do is beside the code that
uses them. Names are those of `transformers.TrainingArguments` where one exists.
"""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import Schema, option


def _fields_of_model() -> Schema:
    """Names that `model:` may hold; imported late, since the configurations load transformers."""
    from merit_hf.configuration_merit import MeritConfig, MeritEcgConfig

    ecg_fields = dict.fromkeys(set(MeritEcgConfig.__annotations__) - _CLASS_CONSTANTS - _SET_BY_PROCESSOR)
    model_fields = dict.fromkeys(set(MeritConfig.__annotations__) - _CLASS_CONSTANTS - {"text_config"})
    return {"preset": None, **model_fields, "ecg_config": ecg_fields}


def _parameters_of(module: str, name: str) -> Schema:
    target = getattr(__import__(module, fromlist=[name]), name)
    return {
        parameter.name: None
        for parameter in inspect.signature(target).parameters.values()
        if parameter.name not in ("self", "kwargs", "args")
    }


def _fields_of_feature_extractor() -> Schema:
    return _parameters_of("merit_hf.feature_extraction_merit", "MeritFeatureExtractor")


def _fields_of_augmentation() -> Schema:
    return _parameters_of("merit_hf.data.augmentation", "EcgAugmentation")


def _fields_of_report_augmentation() -> Schema:
    return _parameters_of("merit_hf.data.report_augmentation", "ReportAugmentation")


_CLASS_CONSTANTS = {"model_type", "base_config_key", "sub_configs_defaults"}
_SHUFFLE_ROW_GROUPS = 8
# The shape of the input is said once, in `feature_extractor`.
_SET_BY_PROCESSOR = {"num_leads", "num_samples", "sampling_rate"}


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
class PretrainingArguments:
    """All arguments of `examples/pretrain.py`."""

    # What is read and written
    corpus: str = option(
        help="folder of a converted corpus, as dataset_scripts/ write it, or its name on the Hub (owner/name); with "
        "streaming also a URL (hf://datasets/owner/name@revision, https://...)"
    )
    output_dir: str = option(help="folder of the run: checkpoints, logs and the final model")
    overwrite: bool = option(False, help="replace what an earlier run left in output_dir")
    resume_from_checkpoint: str | None = option(
        None, help="'latest' (in output_dir) or a checkpoint folder; continues the run exactly"
    )
    train_split: str = option("train", help="split to learn from")
    validation_split: str = option("validation", help="split for the validation loss, clean and with fixed masks")
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

    # What is trained
    model: dict[str, Any] = option(
        {},
        help="preset (tiny, small, base; default tiny) and fields of MeritConfig that replace its values, those of "
        "MeritEcgConfig under ecg_config",
        schema=_fields_of_model,
    )
    text_model: str | None = option(
        None,
        help="Hugging Face id or folder of a pretrained text encoder; null trains a tokenizer on the corpus' reports "
        "and a small BERT from scratch",
    )
    text_tower: dict[str, Any] = option(
        {}, help="vocab_size and BertConfig fields of the small text tower (only with text_model: null)"
    )
    feature_extractor: dict[str, Any] = option(
        {},
        help="fields of MeritFeatureExtractor: sampling_rate (Hz), duration (s), lead_names, normalization, ...",
        schema=_fields_of_feature_extractor,
    )
    augmentation: dict[str, Any] | None = option(
        {}, help="fields of EcgAugmentation; null shows every ECG as it is", schema=_fields_of_augmentation
    )
    report_augmentation: dict[str, Any] | None = option(
        {},
        help="fields of ReportAugmentation; null shows every report as it is",
        schema=_fields_of_report_augmentation,
    )

    # How it is trained
    num_train_epochs: float = option(25.0, help="passes over the training split", unit="epochs")
    max_steps: int = option(-1, help="optimiser steps; if positive, replaces num_train_epochs", unit="steps")
    per_device_train_batch_size: int = option(
        64,
        help="ECGs of one process in one forward pass; negatives come from this batch on all processes",
        unit="ECGs",
    )
    per_device_eval_batch_size: int | None = option(
        None, help="ECGs of one validation batch; null takes the training value", unit="ECGs"
    )
    gradient_accumulation_steps: int = option(
        1,
        help="forward passes summed for one optimiser step; does NOT enlarge the contrastive batch: every pass has "
        "negatives of its own only",
    )
    learning_rate: float = option(1e-3, help="peak learning rate of AdamW")
    text_learning_rate: float | None = option(
        None, help="peak learning rate of the text tower; null takes learning_rate"
    )
    weight_decay: float = option(
        0.05, help="decoupled weight decay of matrices and filters (not of biases, norms, embeddings, temperature)"
    )
    adam_beta1: float = option(0.9, help="AdamW's decay of the first moment")
    adam_beta2: float = option(0.95, help="AdamW's decay of the second moment")
    adam_epsilon: float = option(1e-8, help="AdamW's epsilon")
    max_grad_norm: float = option(1.0, help="largest norm of the gradient; 0 does not clip")
    warmup_ratio: float = option(0.08, help="share of the steps with a rising learning rate; a cosine to 0 follows")
    warmup_steps: int = option(
        0, help="steps with a rising learning rate; if positive, replaces warmup_ratio", unit="steps"
    )
    bf16: bool | Literal["auto"] = option(
        False, help="bfloat16 mixed precision; auto uses it where the processor has matrix instructions for it"
    )
    fp16: bool = option(False, help="float16 mixed precision with loss scaling (needs a GPU)")
    attn_implementation: str | None = option(
        None, help="attention back-end, e.g. eager, sdpa, flash_attention_2; null leaves the choice to transformers"
    )
    gradient_checkpointing: bool = option(False, help="recompute activations in the backward pass to save memory")
    seed: int = option(0, help="fixes initial weights, data order, augmentation, masks and dropout")
    stages: list[StageArguments] = option(
        [], help="stages trained one after the other, each with its own optimiser and schedule; empty: one, as above"
    )

    # How it is watched and kept
    logging_steps: int = option(10, help="steps between lines of metrics.jsonl", unit="steps")
    report_to: Literal["tensorboard", "none"] = option("tensorboard", help="where else the metrics go")
    disable_tqdm: bool = option(False, help="show no progress bar")
    eval_strategy: Literal["no", "epoch", "steps"] = option("epoch", help="when the validation loss is computed")
    eval_steps: int = option(500, help="steps between validations (eval_strategy: steps)", unit="steps")
    save_strategy: Literal["no", "epoch", "steps"] = option("epoch", help="when a checkpoint is written")
    save_steps: int = option(500, help="steps between checkpoints (save_strategy: steps)", unit="steps")
    save_total_limit: int | None = option(
        2, help="newest checkpoints kept, beside the one with the best validation loss; null keeps all"
    )
    load_best_model_at_end: bool = option(
        False, help="end with the checkpoint of the best validation loss (of the last stage) instead of the last"
    )

    # How the data are fetched
    dataloader_num_workers: int = option(0, help="loader processes beside each training process")
    dataloader_pin_memory: bool = option(True, help="pinned host memory for copies to a GPU")

    def __post_init__(self) -> None:
        if not self.stages:
            self.stages = [StageArguments()]
        for field in ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "weight_decay"):
            self._refuse_dead_value(field)
        for stage in range(len(self.stages)):
            self._check_stage(stage)
        _require(not (self.bf16 is True and self.fp16), "bf16 and fp16 are both set: choose one")
        for field in ("logging_steps", "eval_steps", "save_steps"):
            _require(getattr(self, field) >= 1, f"{field}={getattr(self, field)} must be at least 1 step")
        limit, samples = self.save_total_limit, self.max_train_samples
        _require(limit is None or limit >= 1, f"save_total_limit={limit} must be at least 1, or null to keep all")
        _require(samples is None or samples >= 1, f"max_train_samples={samples} must be at least 1, or null for all")
        window = self.shuffle_row_groups
        _require(window >= 1, f"shuffle_row_groups={window} must be at least 1")
        _require(
            self.streaming or window == _SHUFFLE_ROW_GROUPS,
            f"shuffle_row_groups={window} changes nothing without --streaming true",
        )
        _require(0 <= self.seed < 2**32, f"seed={self.seed} must be from 0 to 2**32 - 1")
        for field in ("adam_beta1", "adam_beta2"):
            _require(0 <= getattr(self, field) < 1, f"{field}={getattr(self, field)} must be in [0, 1)")
        _require(self.dataloader_num_workers >= 0, f"dataloader_num_workers={self.dataloader_num_workers} is negative")
        if self.load_best_model_at_end:
            same = self.eval_strategy == self.save_strategy != "no"
            same = same and (self.eval_strategy == "epoch" or self.save_steps % self.eval_steps == 0)
            _require(same, "load_best_model_at_end needs eval_strategy and save_strategy alike, and not 'no'")

    def stage_value(self, stage: int, field: str) -> Any:
        """The value of a field in a stage: its own, or the run's."""
        own = getattr(self.stages[stage], field)
        return getattr(self, field) if own is None else own

    def _refuse_dead_value(self, field: str) -> None:
        """A value that every stage replaces would be ignored silently."""
        default = next(item.default for item in dataclasses.fields(self) if item.name == field)
        if getattr(self, field) != default and all(getattr(stage, field) is not None for stage in self.stages):
            raise ValueError(
                f"{field}={getattr(self, field)} would change nothing, since every stage has its own: "
                f"give --stages.0.{field} instead"
            )

    def _check_stage(self, stage: int) -> None:
        where = f" (stage {stage})" if len(self.stages) > 1 else ""
        for field in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            value = self.stage_value(stage, field)
            _require(value >= 1, f"{field}={value}{where} must be at least 1")
        for field in ("learning_rate", "text_learning_rate", "weight_decay", "max_grad_norm"):
            value = self.stage_value(stage, field)
            _require(value is None or value >= 0, f"{field}={value}{where} must not be negative")
        warmup = self.stage_value(stage, "warmup_ratio")
        _require(0 <= warmup <= 1, f"warmup_ratio={warmup}{where} must be in [0, 1]")
        epochs, steps = self.stage_value(stage, "num_train_epochs"), self.stage_value(stage, "max_steps")
        _require(epochs > 0 or steps > 0, f"num_train_epochs={epochs}{where} must be positive, or max_steps be given")


def _require(holds: bool, message: str) -> None:
    # Written so that NaN, which compares False with everything, is refused too.
    if not holds:
        raise ValueError(message)
