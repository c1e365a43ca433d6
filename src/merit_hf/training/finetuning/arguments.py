"""The arguments of fine-tuning, as `merit finetune` takes them: fields, units, defaults and checks.

What every training loop has is in loop/arguments.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from merit_hf.command_line import as_plain, option
from merit_hf.training.loop.arguments import LoopArguments, require
from merit_hf.training.model_arguments import NewEncoderArguments

# Layers that learned something should keep most of it; random ones have nothing to keep.
PRETRAINED_LAYER_DECAY = 0.75


@dataclass(kw_only=True)
class FinetuningArguments(LoopArguments):
    """All arguments of `merit finetune`."""

    # What is read
    task: str = option(help="label column of the corpus, e.g. super_class; records without a label of it are left out")
    validation_split: str = option(
        "validation",
        help="split for early stopping, thresholds and calibration; where it is also the test_split, those records "
        "are held out of the training split by patient instead",
    )
    test_split: str | None = option(
        "test", help="split that is predicted at the very end, and for nothing else; null for none"
    )
    held_out_share: float = option(
        0.15, help="share of the training split's patients that is held out where test_split is validation_split"
    )
    allow_shared_patients: bool = option(
        False, help="go on where splits share patients, as some published ones do; scores are too good then"
    )

    # What is trained
    model: str | None = option(
        None, help="RUN folder or Hub id whose ECG encoder and feature extractor are taken; the head is always new"
    )
    from_scratch: bool = option(
        False, help="begin with random weights: of the shape of `model`, or without one of that of `encoder`"
    )
    encoder: NewEncoderArguments = option(
        NewEncoderArguments(),
        help="an encoder with random weights: fields of MeritEcgConfig (only without a model)",
    )
    classifier_head: Literal["linear", "mlp"] = option(
        "linear", help="linear map, or BatchNorm, dropout, linear map to 256, ReLU, BatchNorm, dropout, linear map"
    )
    attention_dropout: float | None = option(None, help="dropout of attention weights; null takes the model's")
    hidden_dropout: float | None = option(None, help="dropout of what a sub-layer adds; null takes the model's")
    freeze_encoder: bool = option(False, help="train the head alone")

    # How it is trained
    num_train_epochs: float = option(30.0, help="passes over the training split, at most", unit="epochs")
    per_device_train_batch_size: int = option(32, help="ECGs of one process in one forward pass", unit="ECGs")
    learning_rate: float = option(1e-3, help="peak learning rate of the head")
    layer_decay: float | None = option(
        None,
        help="factor of the learning rate from one layer to the one below it; 1 trains all alike; null takes 0.75, "
        "or 1 with from_scratch",
    )
    pos_weight: Literal["balanced"] | float | None = option(
        None,
        help="weight of positives in the loss: a number, or balanced (negatives / positives of each label in the "
        "training records, at most max_pos_weight); probabilities then overstate rare labels until calibrated",
    )
    max_pos_weight: float = option(20.0, help="largest weight that balanced gives")
    early_stopping_patience: int | None = option(
        5, help="validations without a higher macro AUROC after which training ends; null trains to the end"
    )
    calibration: Literal["temperature", "platt", "none"] = option(
        "temperature",
        help="how probabilities are calibrated on validation records: one temperature, or Platt's line for each label",
    )
    load_best_model_at_end: bool = option(
        True, help="end with the checkpoint of the highest validation macro AUROC instead of the last"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.model is not None or self.from_scratch,
            "nothing to start from: give --model RUN, or --from_scratch for random weights",
        )
        if self.model is not None:
            for field in ("encoder", "feature_extractor"):
                value = getattr(self, field)
                require(
                    value == type(value)(),
                    f"{field}={as_plain(value)} cannot be changed, since --model {self.model} has its own: leave out "
                    f"{field} or --model",
                )
        if self.layer_decay is None:
            self.layer_decay = 1.0 if self.from_scratch else PRETRAINED_LAYER_DECAY
        require(0 < self.layer_decay <= 1, f"layer_decay={self.layer_decay} must be above 0 and at most 1")
        require(0 < self.held_out_share < 1, f"held_out_share={self.held_out_share} must be between 0 and 1")
        for field in ("attention_dropout", "hidden_dropout"):
            value = getattr(self, field)
            require(value is None or 0 <= value < 1, f"{field}={value} must be in [0, 1)")
        if isinstance(self.pos_weight, (int, float)):
            require(0 < self.pos_weight < float("inf"), f"pos_weight={self.pos_weight} must be a positive number")
        require(self.max_pos_weight >= 1, f"max_pos_weight={self.max_pos_weight} must be at least 1")
        patience = self.early_stopping_patience
        require(patience is None or patience >= 1, f"early_stopping_patience={patience} must be at least 1, or null")
        require(
            patience is None or self.load_best_model_at_end,
            "early_stopping_patience without load_best_model_at_end would keep a worse model: set it to null",
        )
        for field in ("validation_split", "test_split"):
            split = getattr(self, field)
            require(split != self.train_split, f"{field}={split} is the split to learn from: choose another")
        batch_size = self.per_device_train_batch_size
        require(
            batch_size > 1 or self.classifier_head == "linear",
            "classifier_head: mlp normalises over the batch and needs per_device_train_batch_size of at least 2",
        )
