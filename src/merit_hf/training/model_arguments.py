"""The fields of `model:`, `encoder:`, `feature_extractor:` and `text_tower:` in the YAML files of training.

They mirror MeritConfig, MeritEcgConfig, MeritFeatureExtractor and the small text tower, so that a command line can
check and explain them without loading torch. A test compares names and defaults with those classes. A field that is
left out has the value of the preset or of the class, and is not written to `training_config.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import option
from merit_hf.leads_merit import STANDARD_12

Preset = Literal["tiny", "small", "base"]


def sized(tiny: Any, small: Any, base: Any) -> dict[Preset, Any]:
    """What a field is in each preset, for `option(otherwise=...)`."""
    return {"tiny": tiny, "small": small, "base": base}


@dataclass(frozen=True, kw_only=True)
class EncoderArguments:
    """Fields of MeritEcgConfig that shape the encoder; the feature extractor decides the shape of its input."""

    hidden_size: int | None = option(otherwise=sized(192, 384, 768), help="width of the encoder")
    num_hidden_layers: int | None = option(otherwise=sized(4, 12, 12), help="transformer layers")
    num_attention_heads: int | None = option(otherwise=sized(3, 6, 12), help="attention heads of a layer")
    intermediate_size: int | None = option(otherwise=sized(768, 1536, 3072), help="width of the feed-forward layers")
    hidden_act: str | None = option(otherwise="gelu", help="activation of the feed-forward layers")
    patch_size: tuple[int, int] | None = option(
        otherwise=sized((12, 25), (1, 50), (1, 50)), help="leads and samples of one patch", unit="leads, samples"
    )
    patch_embedding: Literal["linear", "conv"] | None = option(
        otherwise=sized("conv", "linear", "linear"),
        help="linear (LayerNorm, linear map, LayerNorm) or conv (three convolutions that overlap neighbours)",
    )
    use_lead_separators: bool | None = option(
        otherwise=sized(False, True, True), help="one learned separator token at both ends of every row of patches"
    )
    attention_dropout: float | None = option(otherwise=sized(0.1, 0.0, 0.0), help="dropout of attention weights")
    hidden_dropout: float | None = option(otherwise=sized(0.1, 0.0, 0.0), help="dropout of what each sub-layer adds")
    layer_norm_eps: float | None = option(otherwise=1e-6, help="epsilon of LayerNorm")
    initializer_range: float | None = option(otherwise=0.02, help="standard deviation of new weights")


@dataclass(frozen=True, kw_only=True)
class NewEncoderArguments(EncoderArguments):
    """An encoder with random weights: a size, and what differs from it."""

    preset: Preset | None = option(otherwise="tiny", help="size: tiny (2 M weights), small (21 M) or base (85 M)")


@dataclass(frozen=True, kw_only=True)
class ModelArguments:
    """A size, and the fields of MeritConfig that differ from it."""

    preset: Preset | None = option(
        otherwise="tiny", help="size of the ECG encoder: tiny (2 M weights), small (21 M) or base (85 M)"
    )
    ecg_config: EncoderArguments = option(EncoderArguments(), help="the ECG encoder: fields of MeritEcgConfig")
    projection_dim: int | None = option(otherwise=sized(128, 256, 256), help="size of the shared embedding space")
    projection_norm: Literal["none", "layer", "batch"] | None = option(
        otherwise="none", help="normalisation inside the projections; with batch an embedding depends on its batch"
    )
    masking: Literal["tokens", "blocks"] | None = option(
        otherwise=sized("blocks", "tokens", "tokens"),
        help="tokens hides patch tokens and encodes only visible ones; blocks zeroes lead x time blocks of the input",
    )
    mask_ratio: float | None = option(
        otherwise=sized(0.6, 0.75, 0.75), help="share of tokens or blocks that is hidden"
    )
    block_duration: float | None = option(otherwise=0.25, help="length of a block (masking: blocks)", unit="seconds")
    reconstruction_target: Literal["patch_normalized", "signal"] | None = option(
        otherwise=sized("signal", "patch_normalized", "patch_normalized"),
        help="what the decoder predicts: patches with mean 0 and variance 1 in each lead, or the signal",
    )
    decoder_hidden_size: int | None = option(otherwise=sized(96, 256, 256), help="width of the decoder")
    decoder_num_hidden_layers: int | None = option(otherwise=sized(2, 4, 4), help="layers of the decoder")
    decoder_num_attention_heads: int | None = option(
        otherwise=sized(3, 4, 4), help="attention heads of a decoder layer"
    )
    decoder_intermediate_size: int | None = option(
        otherwise=sized(384, 1024, 1024), help="width of the decoder's feed-forward layers"
    )
    reconstruction_weight: float | None = option(
        otherwise=1.0, help="weight of the structure loss; 0 leaves the branch out"
    )
    contrastive_weight: float | None = option(
        otherwise=1.0, help="weight of the semantics loss; 0 leaves the branch out"
    )
    regularizer_weight: float | None = option(otherwise=0.0, help="weight of mean(1 - cosine of the pair)")
    alignment_view: Literal["full", "visible"] | None = option(
        otherwise="full", help="what the contrastive branch encodes: the whole ECG, or the masked pass again"
    )
    alignment_token_drop: float | None = option(
        otherwise=sized(0.5, 0.0, 0.0), help="share of tokens left out of the full contrastive pass in training"
    )
    positives: Literal["pair", "same_report"] | None = option(
        otherwise="pair", help="same_report does not count other records with an equal report as negatives"
    )
    text_pooling: Literal["cls", "mean", "last"] | None = option(
        otherwise=sized("mean", "cls", "cls"), help="which text tokens make the embedding of a report"
    )
    text_trainable_layers: int | Literal["all"] | None = option(
        otherwise=sized("all", 0, 0), help="top layers of the text tower that train; 0 freezes it"
    )
    max_text_length: int | None = option(
        otherwise=sized(64, 128, 128), help="length to which a report is cut", unit="tokens"
    )
    logit_scale_init_value: float | None = option(
        otherwise=sized(2.3026, 2.6592, 2.6592), help="natural logarithm of the inverse temperature at the start"
    )
    learn_logit_scale: bool | None = option(otherwise=True, help="whether the temperature is learned")
    initializer_range: float | None = option(
        otherwise=0.02, help="standard deviation of new weights outside the towers"
    )


@dataclass(frozen=True, kw_only=True)
class FeatureExtractorArguments:
    """Parameters of MeritFeatureExtractor."""

    sampling_rate: int | float | None = option(otherwise=100, help="rate of the model's input", unit="Hz")
    duration: float | None = option(otherwise=10.0, help="length of the model's input", unit="seconds")
    lead_names: tuple[str, ...] | None = option(otherwise=STANDARD_12, help="leads of the model's input, in order")
    normalization: Literal["zscore", "zscore_record", "none"] | None = option(
        otherwise="zscore", help="of each lead, of each lead with one deviation for the whole record, or none (mV)"
    )
    bandpass: tuple[float, float] | None = option(None, help="lowest and highest frequency kept; null: all", unit="Hz")
    bandpass_order: int | None = option(otherwise=3, help="order of the Butterworth filter behind bandpass")
    truncation: Literal["first", "center", "random"] | None = option(
        otherwise="first", help="which part of a longer record is taken"
    )
    max_gap_duration: float | None = option(
        otherwise=0.05, help="longest run of missing samples that is bridged by a line", unit="seconds"
    )


@dataclass(frozen=True, kw_only=True)
class TextTowerArguments:
    """The small text tower that is trained from scratch: its vocabulary and fields of BertConfig."""

    vocab_size: int = option(4096, help="most tokens of the tokenizer that is trained on the reports", unit="tokens")
    hidden_size: int = option(128, help="width of the tower")
    num_hidden_layers: int = option(2, help="transformer layers")
    num_attention_heads: int = option(2, help="attention heads of a layer")
    intermediate_size: int | None = option(None, help="width of the feed-forward layers; null: four times hidden_size")
    hidden_act: str = option("gelu", help="activation of the feed-forward layers")
    hidden_dropout_prob: float = option(0.1, help="dropout of what each sub-layer adds")
    attention_probs_dropout_prob: float = option(0.1, help="dropout of attention weights")
    layer_norm_eps: float = option(1e-12, help="epsilon of LayerNorm")
    initializer_range: float = option(0.02, help="standard deviation of new weights")
