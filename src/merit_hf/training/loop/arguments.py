"""The arguments that every training loop has: what it reads and writes, how it trains, logs and loads data.

Names are those of `transformers.TrainingArguments` where one exists. Each kind of training adds its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import option
from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.training.model_arguments import FeatureExtractorArguments


@dataclass(kw_only=True)
class LoopArguments:
    """Arguments that pretraining and fine-tuning share."""

    # What is read and written
    corpus: str = option(help="folder of a converted corpus, as `merit convert` writes it")
    output_dir: str = option(help="folder of the run: checkpoints, logs and the final model")
    overwrite: bool = option(False, help="replace what an earlier run left in output_dir")
    resume_from_checkpoint: str | None = option(
        None, help="'latest' (in output_dir) or a checkpoint folder; continues the run exactly"
    )
    train_split: str = option("train", help="split to learn from")
    validation_split: str = option("validation", help="split for validation, without augmentation")
    feature_extractor: FeatureExtractorArguments = option(
        FeatureExtractorArguments(), help="how an ECG becomes the model's input"
    )
    augmentation: EcgAugmentation | None = option(
        EcgAugmentation(), help="random changes of training ECGs; null shows every ECG as it is"
    )

    # How it is trained
    num_train_epochs: float = option(25.0, help="passes over the training split", unit="epochs")
    max_steps: int = option(-1, help="optimiser steps; if positive, replaces num_train_epochs", unit="steps")
    per_device_train_batch_size: int = option(64, help="ECGs of one process in one forward pass", unit="ECGs")
    per_device_eval_batch_size: int | None = option(
        None, help="ECGs of one validation batch; null takes the training value", unit="ECGs"
    )
    gradient_accumulation_steps: int = option(1, help="forward passes summed for one optimiser step")
    learning_rate: float = option(1e-3, help="peak learning rate of AdamW")
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

    # How it is watched and kept
    logging_steps: int = option(10, help="steps between lines of metrics.jsonl", unit="steps")
    report_to: Literal["tensorboard", "none"] = option("tensorboard", help="where else the metrics go")
    disable_tqdm: bool = option(False, help="show no progress bar")
    eval_strategy: Literal["no", "epoch", "steps"] = option("epoch", help="when the model is validated")
    eval_steps: int = option(500, help="steps between validations (eval_strategy: steps)", unit="steps")
    save_strategy: Literal["no", "epoch", "steps"] = option("epoch", help="when a checkpoint is written")
    save_steps: int = option(500, help="steps between checkpoints (save_strategy: steps)", unit="steps")
    save_total_limit: int | None = option(
        2, help="newest checkpoints kept, in addition to the one with the best validation; null keeps all"
    )
    load_best_model_at_end: bool = option(
        False, help="end with the checkpoint of the best validation instead of the last"
    )

    # What it runs on
    num_threads: int | Literal["auto"] = option(
        "auto",
        help="CPU threads of each training process; auto takes OMP_NUM_THREADS, or shares the machine's cores among "
        "its processes where that is unset or is the 1 of accelerate launch",
        unit="threads",
    )
    dataloader_num_workers: int = option(0, help="loader processes beside each training process")
    dataloader_pin_memory: bool = option(True, help="pinned host memory for copies to a GPU")

    def __post_init__(self) -> None:
        require(not (self.bf16 is True and self.fp16), "bf16 and fp16 are both set: choose one")
        for field in ("logging_steps", "eval_steps", "save_steps"):
            require(getattr(self, field) >= 1, f"{field}={getattr(self, field)} must be at least 1 step")
        limit = self.save_total_limit
        require(limit is None or limit >= 1, f"save_total_limit={limit} must be at least 1, or null to keep all")
        require(0 <= self.seed < 2**32, f"seed={self.seed} must be from 0 to 2**32 - 1")
        for field in ("adam_beta1", "adam_beta2"):
            require(0 <= getattr(self, field) < 1, f"{field}={getattr(self, field)} must be in [0, 1)")
        threads = self.num_threads
        require(threads == "auto" or int(threads) >= 1, f"num_threads={threads} must be at least 1, or auto")
        require(self.dataloader_num_workers >= 0, f"dataloader_num_workers={self.dataloader_num_workers} is negative")
        if self.load_best_model_at_end:
            same = self.eval_strategy == self.save_strategy != "no"
            same = same and (self.eval_strategy == "epoch" or self.save_steps % self.eval_steps == 0)
            require(same, "load_best_model_at_end needs eval_strategy and save_strategy alike, and not 'no'")
        for stage in range(self.num_stages):
            self._check_stage(stage)

    @property
    def num_stages(self) -> int:
        """Number of stages, which are trained one after the other."""
        return 1

    def stage_value(self, stage: int, field: str) -> Any:
        """The value of a field in a stage: the run's, unless stages have values of their own."""
        return getattr(self, field)

    def _check_stage(self, stage: int) -> None:
        where = f" (stage {stage})" if self.num_stages > 1 else ""
        for field in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            value = self.stage_value(stage, field)
            require(value >= 1, f"{field}={value}{where} must be at least 1")
        for field in ("learning_rate", "weight_decay", "max_grad_norm"):
            value = self.stage_value(stage, field)
            require(value >= 0, f"{field}={value}{where} must not be negative")
        warmup = self.stage_value(stage, "warmup_ratio")
        require(0 <= warmup <= 1, f"warmup_ratio={warmup}{where} must be in [0, 1]")
        epochs, steps = self.stage_value(stage, "num_train_epochs"), self.stage_value(stage, "max_steps")
        require(epochs > 0 or steps > 0, f"num_train_epochs={epochs}{where} must be positive, or max_steps be given")


def require(holds: bool, message: str) -> None:
    """Raises ValueError with `message` unless `holds`; NaN, which compares False with everything, is refused too."""
    if not holds:
        raise ValueError(message)
