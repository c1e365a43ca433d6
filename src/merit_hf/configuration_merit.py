"""Configurations of the MERIT model family: the ECG encoder, and the two towers with their pretraining objective.

Every choice that the paper leaves open is a field here and never a constant in the code. Presets are sizes of the
model, not recipes of training; those are the YAML files in `recipes/`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec


def _one_of(config: PreTrainedConfig, field: str, choices: tuple[str, ...]) -> None:
    value = getattr(config, field)
    if value not in choices:
        raise ValueError(f"{field}={value!r} is not known: choose one of {', '.join(map(repr, choices))}")


def _share(config: PreTrainedConfig, field: str) -> None:
    value = getattr(config, field)
    if not 0 <= value < 1:
        raise ValueError(f"{field}={value} must lie in [0, 1): it is a share of the whole")


@strict
class MeritEcgConfig(PreTrainedConfig):
    r"""
    Configuration of [`MeritEcgModel`], a vision-transformer-like encoder of multi-lead ECGs. The defaults are
    `merit-base`.

    Args:
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act: size of the pre-norm
            encoder.
        num_leads: leads of the input, in the feature extractor's order.
        num_samples: samples a lead.
        sampling_rate: samples a second (Hz) that the model was made for.
        patch_size: `(leads, samples)` of one patch. `(1, 50)` makes one token for each lead and 50 samples, `(12, 50)`
            one token for all leads of a 12-lead ECG.
        patch_embedding: `"linear"` (LayerNorm, linear map, LayerNorm of each patch) or `"conv"` (three convolutions
            whose receptive fields overlap neighbouring patches).
        use_lead_separators: put one learned separator token at both ends of every row of patches.
        attention_dropout, hidden_dropout: probabilities, on attention weights and on what a sub-layer adds.
        classifier_head: `"linear"`, or `"mlp"` (BatchNorm, dropout 0.25, linear map to 256, ReLU, BatchNorm, dropout
            0.5, linear map); used by [`MeritForEcgClassification`] alone.
        thresholds: label -> probability from which on a fine-tuned model calls it positive, before calibration; the
            pipeline shows it on the scale of its scores.
        calibration: `{"method": ..., "slopes": {label: a}, "intercepts": {label: b}}`; the calibrated probability is
            sigmoid(a z + b) of the logit z. Both were fitted on validation records, and nothing but the pipeline
            `ecg-classification` looks at them.
    """

    model_type = "merit_ecg"
    base_config_key = "ecg_config"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    num_leads: int = 12
    num_samples: int = 1000
    sampling_rate: int | float = 100
    if TYPE_CHECKING:  # what it is once __post_init__ has run
        patch_size: tuple[int, int]
    else:
        patch_size: list[int] | tuple[int, ...] = (1, 50)
    patch_embedding: str = "linear"
    use_lead_separators: bool = True
    attention_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    classifier_head: str = "linear"
    thresholds: dict[str, float | int] | None = None
    calibration: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.patch_size = tuple(self.patch_size)  # type: ignore[assignment]
        super().__post_init__(**kwargs)

    @property
    def num_rows(self) -> int:
        """Rows of patches: one a lead for lead-wise patches, one in all for joint ones."""
        return self.num_leads // self.patch_size[0]

    @property
    def patches_per_row(self) -> int:
        return self.num_samples // self.patch_size[1]

    @property
    def num_patches(self) -> int:
        """Patch tokens of one ECG, separators excluded."""
        return self.num_rows * self.patches_per_row

    def validate_sizes(self) -> None:
        if len(self.patch_size) != 2 or min(self.patch_size) < 1:
            raise ValueError(f"patch_size={self.patch_size} must be two positive integers (leads, samples)")
        for size, patch, name in zip(
            (self.num_leads, self.num_samples), self.patch_size, ("num_leads", "num_samples"), strict=True
        ):
            if size % patch:
                raise ValueError(f"{name}={size} must be a multiple of patch_size's {patch}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of num_attention_heads={self.num_attention_heads}"
            )
        if self.hidden_size % 2:
            raise ValueError(f"hidden_size={self.hidden_size} must be even: positions are pairs of sine and cosine")

    def validate_choices(self) -> None:
        _one_of(self, "patch_embedding", ("linear", "conv"))
        _one_of(self, "classifier_head", ("linear", "mlp"))
        _share(self, "attention_dropout")
        _share(self, "hidden_dropout")


@strict
class MeritConfig(PreTrainedConfig):
    r"""
    Configuration of [`MeritModel`] (ECG tower, text tower, projections) and of [`MeritForPreTraining`] (decoder,
    objective). The defaults are `merit-base`; `docs/paper.md` says where each comes from.

    Args:
        ecg_config: a [`MeritEcgConfig`], or a dict of its fields.
        text_config: the configuration of any Hugging Face text encoder, or a dict with its `model_type` (BERT if
            absent).
        projection_dim: size of the shared embedding space.
        projection_norm: `"none"`, `"layer"` or `"batch"`, inside the projections. With `"batch"` an embedding depends
            on its batch, and equality over processes is not promised.
        masking: `"tokens"` hides patch tokens, independently in each row, and only visible ones pass the encoder;
            `"blocks"` zeroes lead × time blocks of the input and encodes every token.
        mask_ratio: share of tokens or blocks that is hidden.
        block_duration: seconds of a block (`masking="blocks"`).
        reconstruction_target: `"patch_normalized"` (each lead of a patch with mean 0 and variance 1) or `"signal"`.
        decoder_hidden_size, decoder_num_hidden_layers, decoder_num_attention_heads, decoder_intermediate_size: size of
            the decoder, which sees one row of patches at a time.
        reconstruction_weight, contrastive_weight, regularizer_weight: λ_rec, λ_con and β. A branch of weight 0 is not
            run.
        alignment_view: `"full"` (the contrastive branch encodes the whole ECG) or `"visible"` (it reuses the masked
            pass).
        alignment_token_drop: share of patch tokens left out of the `"full"` contrastive pass while training.
        positives: `"pair"`, or `"same_report"`, which takes other records with the same report out of the negatives.
        text_pooling: `"cls"` (first token), `"mean"` or `"last"` (last real token).
        text_trainable_layers: how many of the text tower's top layers train; `"all"` for the whole tower.
        max_text_length: tokens of a report.
        logit_scale_init_value: natural logarithm of the inverse temperature at the start.
        learn_logit_scale: whether the temperature is learned; the scale never exceeds 100.
    """

    model_type = "merit"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "ecg_config": SubConfigSpec(config_class=MeritEcgConfig),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    if TYPE_CHECKING:  # what they are once __post_init__ has run
        ecg_config: MeritEcgConfig
        text_config: PreTrainedConfig
    else:
        ecg_config: dict | PreTrainedConfig | None = None
        text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    projection_norm: str = "none"
    masking: str = "tokens"
    mask_ratio: float | int = 0.75
    block_duration: float | int = 0.25
    reconstruction_target: str = "patch_normalized"
    decoder_hidden_size: int = 256
    decoder_num_hidden_layers: int = 4
    decoder_num_attention_heads: int = 4
    decoder_intermediate_size: int = 1024
    reconstruction_weight: float | int = 1.0
    contrastive_weight: float | int = 1.0
    regularizer_weight: float | int = 0.0
    alignment_view: str = "full"
    alignment_token_drop: float | int = 0.0
    positives: str = "pair"
    text_pooling: str = "cls"
    text_trainable_layers: int | str = 0
    max_text_length: int = 128
    logit_scale_init_value: float | int = 2.6592
    learn_logit_scale: bool = True
    initializer_range: float = 0.02

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> MeritConfig:
        """A configuration by size: `"tiny"` (2 M encoder, for CPUs), `"small"` (21 M) or `"base"` (85 M).

        `overrides` replace fields; `ecg_config` may be a dict that replaces some of its fields only.
        """
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} is not known: choose one of {', '.join(map(repr, PRESETS))}")
        fields = {key: dict(value) if isinstance(value, dict) else value for key, value in PRESETS[name].items()}
        ecg_overrides = overrides.pop("ecg_config", None)
        if isinstance(ecg_overrides, PreTrainedConfig):
            fields["ecg_config"] = ecg_overrides
        else:
            fields["ecg_config"].update(ecg_overrides or {})
        return cls(**{**fields, **overrides})

    @property
    def block_samples(self) -> int:
        """Samples of one block of `masking="blocks"`."""
        return round(self.block_duration * self.ecg_config.sampling_rate)

    @property
    def num_mask_units(self) -> int:
        """Things that masking hides or shows: patch tokens for `"tokens"`, lead × time blocks for `"blocks"`."""
        ecg = self.ecg_config
        if self.masking == "tokens":
            return ecg.num_patches
        return ecg.num_leads * (ecg.num_samples // self.block_samples)

    def validate_objective(self) -> None:
        _one_of(self, "projection_norm", ("none", "layer", "batch"))
        _one_of(self, "masking", ("tokens", "blocks"))
        _one_of(self, "reconstruction_target", ("patch_normalized", "signal"))
        _one_of(self, "alignment_view", ("full", "visible"))
        _one_of(self, "positives", ("pair", "same_report"))
        _one_of(self, "text_pooling", ("cls", "mean", "last"))
        _share(self, "mask_ratio")
        _share(self, "alignment_token_drop")
        for field in ("reconstruction_weight", "contrastive_weight", "regularizer_weight"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ValueError(f"{field}={getattr(self, field)} must be 0 or a positive number")
        layers = self.text_trainable_layers
        if layers != "all" and (isinstance(layers, str) or layers < 0):
            raise ValueError(f"text_trainable_layers={layers!r} must be a number of layers (0 = frozen) or 'all'")

    def validate_decoder(self) -> None:
        if self.decoder_hidden_size % self.decoder_num_attention_heads or self.decoder_hidden_size % 2:
            raise ValueError(
                f"decoder_hidden_size={self.decoder_hidden_size} must be even and a multiple of "
                f"decoder_num_attention_heads={self.decoder_num_attention_heads}"
            )

    def validate_blocks(self) -> None:
        if self.masking == "blocks" and isinstance(self.ecg_config, PreTrainedConfig):
            samples = self.ecg_config.num_samples
            if self.block_samples < 1 or samples % self.block_samples:
                raise ValueError(
                    f"block_duration={self.block_duration} s is {self.block_samples} samples at "
                    f"{self.ecg_config.sampling_rate} Hz, which must divide num_samples={samples}"
                )


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "ecg_config": {
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "intermediate_size": 768,
            "patch_size": (12, 25),
            "patch_embedding": "conv",
            "use_lead_separators": False,
            "attention_dropout": 0.1,
            "hidden_dropout": 0.1,
        },
        "projection_dim": 128,
        "masking": "blocks",
        "mask_ratio": 0.6,
        "reconstruction_target": "signal",
        "decoder_hidden_size": 96,
        "decoder_num_hidden_layers": 2,
        "decoder_num_attention_heads": 3,
        "decoder_intermediate_size": 384,
        "alignment_token_drop": 0.5,
        "text_trainable_layers": "all",
        "text_pooling": "mean",
        "max_text_length": 64,
        "logit_scale_init_value": 2.3026,
    },
    "small": {
        "ecg_config": {
            "hidden_size": 384,
            "num_hidden_layers": 12,
            "num_attention_heads": 6,
            "intermediate_size": 1536,
        },
    },
    "base": {"ecg_config": {}},
}

__all__ = ["MeritConfig", "MeritEcgConfig"]
