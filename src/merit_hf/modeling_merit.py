"""The MERIT models: ECG encoder, two-tower model, pretraining model, ECG classifier.

Notable: in every class the towers are `ecg_model` and `text_model` at top level, so that any class opens any other's
checkpoint. Layers are in `layers_merit`, what a masked pass hides in `masking_merit`, the losses in `objective_merit`.
"""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
from transformers import initialization as init
from transformers.configuration_utils import PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_merit import MeritConfig, MeritEcgConfig
from .layers_merit import (
    MeritAttention,
    MeritConvPatchEmbedding,
    MeritEcgEmbeddings,
    MeritLayer,
    mean_over,
    sincos_positions,
)
from .masking_merit import hidden_blocks, patchify, unpatchify, visible_tokens
from .objective_merit import (
    Gather,
    contrastive_objective,
    masked_reconstruction_loss,
    normalize_embeds,
    patch_normalize,
    structure_information,
)

MAX_LOGIT_SCALE = 100.0
NO_REPORT = -1


@dataclass
class MeritOutput(ModelOutput):
    """
    loss: scalar, with `return_loss=True`: symmetric InfoNCE over the batch, of the plain cosines, as in pretraining.
    logits_per_ecg: (ecgs, texts), cosines of the embeddings centred by the training corpus' means, as
        `MeritModel.zero_shot_similarity` gives them, times the inverse temperature. `logits_per_ecg.softmax(-1)` are
        the scores of the pipeline `ecg-zero-shot-classification`. logits_per_text: its transpose.
    ecg_embeds, text_embeds: (batch, projection_dim), L2-normalised, not centred.
    ecg_model_output, text_model_output: outputs of the towers; their `pooler_output` is the projected one.
    """

    loss: Tensor | None = None
    logits_per_ecg: Tensor | None = None
    logits_per_text: Tensor | None = None
    ecg_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    ecg_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple:
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in super().to_tuple())


@dataclass
class MeritForPreTrainingOutput(ModelOutput):
    """
    loss: scalar, the weighted sum; all losses are means over the global batch if a `gather` was given.
    reconstruction_loss, contrastive_loss: scalars; None where the branch has weight 0 and was not run.
    semantic_information: ln N − L_con, nats. structure_information: −½ ln L_rec, nats a hidden sample. Without
        gradient.
    reconstruction: (batch, leads, samples), the decoder's prediction in the units of the target.
    ecg_embeds, text_embeds: (batch, projection_dim), L2-normalised, of this process.
    mask: int64 (batch, mask units), 1 where hidden; units as in `MeritConfig.num_mask_units`.
    hidden_states, attentions: of the ECG tower's masked pass; of its other pass where there is no masked one.
    """

    loss: Tensor | None = None
    reconstruction_loss: Tensor | None = None
    contrastive_loss: Tensor | None = None
    semantic_information: Tensor | None = None
    structure_information: Tensor | None = None
    reconstruction: Tensor | None = None
    ecg_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    mask: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MeritPreTrainedModel(PreTrainedModel):
    """Initialisation, and loading that remembers what a checkpoint did not hold."""

    config: MeritConfig
    base_model_prefix = "merit"
    main_input_name = "input_values"
    input_modalities: Any = ("time", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["MeritEcgEmbeddings", "MeritLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": MeritLayer, "attentions": MeritAttention}

    # Names of the weights that the opened checkpoint lacked and that are therefore random.
    missing_weights: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers; besides, `missing_weights` of the model names what the checkpoint did not hold."""
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        mismatched = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
        model.missing_weights = tuple(sorted(set(info["missing_keys"]) | mismatched))
        return (model, info) if output_loading_info else model

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, MeritEcgEmbeddings):
            init.normal_(module.lead_embedding, std=std)
            if module.separator is not None:
                init.normal_(module.separator, std=std)
        elif isinstance(module, MeritDecoder):
            if module.mask_token is not None:
                init.normal_(module.mask_token, std=std)
            if module.separator is not None:
                init.normal_(module.separator, std=std)
        elif isinstance(module, MeritModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)
            init.zeros_(module.ecg_embeds_mean)
            init.zeros_(module.text_embeds_mean)
        elif isinstance(module, MeritConvPatchEmbedding):
            for conv in (module.conv1, module.conv2, module.conv3):
                init.kaiming_uniform_(conv.weight, a=math.sqrt(5))
                if conv.bias is not None:
                    init.zeros_(conv.bias)


class MeritEcgPreTrainedModel(MeritPreTrainedModel):
    config: MeritEcgConfig  # type: ignore[assignment]
    base_model_prefix = "ecg_model"
    input_modalities = ("time",)
    # What a pretraining checkpoint holds beside the ECG tower.
    _keys_to_ignore_on_load_unexpected = [
        r"^text_model\.",
        r"^decoder\.",
        r"^(ecg|text)_projection\.",
        r"^(ecg|text)_embeds_mean$",
        r"^logit_scale$",
        r"^classifier\.",
    ]


def require_complete(model: PreTrainedModel, allowed: tuple[str, ...] = ()) -> None:
    """Raise ValueError if the checkpoint that `model` was opened from lacked weights.

    Args:
        allowed: beginnings of names that may be missing, e.g. `("classifier.",)` before fine-tuning.
    """
    missing = [name for name in getattr(model, "missing_weights", ()) if not name.startswith(allowed)]
    if missing:
        towers = [tower for tower in ("ecg_model", "text_model") if any(n.startswith(tower) for n in missing)]
        what = f"its {' and '.join(towers)}" if towers else "weights"
        raise ValueError(
            f"The checkpoint {model.name_or_path!r} lacks {what}: {len(missing)} of {type(model).__name__}'s weights, "
            f"among them {', '.join(missing[:3])}, would be random. Open a checkpoint that was saved from "
            "MeritForPreTraining or MeritModel, or pretrain one with `merit pretrain`"
        )


class MeritEcgModel(MeritEcgPreTrainedModel):
    """Encoder of multi-lead ECGs: patches, positions, pre-norm transformer, mean pooling."""

    def __init__(self, config: MeritEcgConfig):
        super().__init__(config)
        self.embeddings = MeritEcgEmbeddings(config)
        self.layers = nn.ModuleList([MeritLayer(config) for _ in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embedding

    def patch_mask(self, padding_mask: Tensor) -> Tensor:
        """bool (batch, leads, samples) → bool (batch, patches): for at least half of its time a patch has a real lead.

        One lead is enough, or an ECG of a single lead would have no patch at all where patches span all leads.
        """
        return patchify(padding_mask, self.config.patch_size).any(2).float().mean(-1) >= 0.5

    def patch_features(self, last_hidden_state: Tensor) -> Tensor:
        """(batch, tokens, hidden) of an unmasked pass → (batch, rows, patches a row, hidden), without separators."""
        batch, _, hidden = last_hidden_state.shape
        rows = last_hidden_state.reshape(batch, self.config.num_rows, -1, hidden)
        return rows[:, :, 1:-1] if self.config.use_lead_separators else rows

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        visible_indices: Tensor | None = None,
        visible_mask: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        r"""
        Args:
            input_values: (batch, leads, samples); the samples may differ from the configuration's by whole patches.
            padding_mask: bool, the same shape; False for absent leads and padded time, whose values are not looked at.
            visible_indices: (batch, visible), patch tokens to encode, as many of each row and row after row; all
                by default.
            visible_mask: bool (batch, visible); False for tokens of `visible_indices` that only fill up.

        Returns:
            `last_hidden_state` (batch, tokens, hidden) after the final LayerNorm: each row's patch tokens, between its
            two separators if there are any. `pooler_output` (batch, hidden): LayerNorm of the mean of valid patch
            tokens.
        """
        if input_values.ndim != 3:
            raise ValueError(f"input_values of shape {tuple(input_values.shape)} must be (batch, leads, samples)")
        input_values = input_values.to(self.layernorm.weight.dtype)
        valid = None
        if padding_mask is not None:
            padding_mask = padding_mask.bool()
            input_values = input_values * padding_mask
            valid = self.patch_mask(padding_mask)
        tokens, separators = self.embeddings(input_values)
        row_valid = None if valid is None else valid.reshape(len(valid), self.config.num_rows, -1).any(-1)
        if visible_indices is not None:
            tokens = tokens.gather(1, visible_indices[..., None].expand(-1, -1, tokens.shape[-1]))
            valid = None if valid is None else valid.gather(1, visible_indices)
            if visible_mask is not None:
                valid = visible_mask if valid is None else valid & visible_mask
        pooling_mask = valid
        if separators is not None:
            tokens, valid = self._add_separators(tokens, separators, valid, row_valid)

        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=tokens, attention_mask=None if valid is None else valid.long()
        )
        hidden_states = tokens
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask, **kwargs)
        hidden_states = self.layernorm(hidden_states)
        pooled = self.pooler_layernorm(mean_over(self.patch_features(hidden_states).flatten(1, 2), pooling_mask))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)

    def _add_separators(
        self, tokens: Tensor, separators: Tensor, valid: Tensor | None, row_valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        batch, _, hidden = tokens.shape
        rows = self.config.num_rows
        ends = separators.expand(batch, -1, -1, -1)
        grid = torch.cat([ends[:, :, :1], tokens.reshape(batch, rows, -1, hidden), ends[:, :, 1:]], dim=2)
        if valid is not None:
            ends_valid = (row_valid if row_valid is not None else valid.new_ones(batch, rows))[..., None]
            valid = torch.cat([ends_valid, valid.reshape(batch, rows, -1), ends_valid], dim=2).flatten(1)
        return grid.flatten(1, 2), valid


class MeritProjection(nn.Module):
    """Linear, GELU, linear: from a tower's pooled output to the shared space."""

    def __init__(self, config: MeritConfig, size: int):
        super().__init__()
        norms = {"none": nn.Identity, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
        norm = norms[config.projection_norm]
        self.linear1 = nn.Linear(size, config.projection_dim)
        self.norm = norm() if norm is nn.Identity else norm(config.projection_dim)
        self.linear2 = nn.Linear(config.projection_dim, config.projection_dim)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.linear2(nn.functional.gelu(self.norm(self.linear1(pooled))))


def text_tower_class(config: PreTrainedConfig) -> Any:
    """The Auto class that makes the plain text encoder of this configuration (of an encoder–decoder, its encoder)."""
    mapping = AutoModelForTextEncoding._model_mapping
    return AutoModelForTextEncoding if type(config) in mapping else AutoModel


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Arguments that leave out a pooler we would not use: an unused parameter breaks distributed training."""
    model_class = text_tower_class(config)._model_mapping[type(config)]
    model_class = model_class[0] if isinstance(model_class, (tuple, list)) else model_class
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(model_class).parameters else {}


class MeritModel(MeritPreTrainedModel):
    """Two towers, an ECG encoder and any Hugging Face text encoder, projected to one space.

    Zero-shot scores are `model(**inputs).logits_per_ecg.softmax(-1)`, those of the pipeline
    `ecg-zero-shot-classification` if texts have the form of pretraining's reports: lower case, with a full stop. Both
    centre the embeddings by the training corpus' means (buffers `ecg_embeds_mean` and `text_embeds_mean`, zero until
    pretraining ends), which the loss never does.
    """

    ecg_embeds_mean: Tensor
    text_embeds_mean: Tensor

    _keys_to_ignore_on_load_unexpected = [r"^decoder\.", r"^classifier\.", r"^text_model\.pooler\."]

    def __init__(self, config: MeritConfig):
        super().__init__(config)
        text_config = config.text_config
        self.ecg_model = MeritEcgModel._from_config(config.ecg_config)
        self.text_model = text_tower_class(text_config).from_config(text_config, **without_pooler(text_config))
        self.ecg_projection = MeritProjection(config, config.ecg_config.hidden_size)
        self.text_projection = MeritProjection(config, text_config.hidden_size)
        self.logit_scale = nn.Parameter(
            torch.tensor(float(config.logit_scale_init_value)), requires_grad=config.learn_logit_scale
        )
        self.register_buffer("ecg_embeds_mean", torch.zeros(config.projection_dim))
        self.register_buffer("text_embeds_mean", torch.zeros(config.projection_dim))
        self._add_heads(config)
        self.post_init()
        self.freeze_text_tower()

    def _add_heads(self, config: MeritConfig) -> None:
        """For sub-classes: modules that must exist before weights are initialised."""

    @classmethod
    def from_ecg_text_pretrained(
        cls,
        ecg: str | PreTrainedConfig | PreTrainedModel,
        text: str | PreTrainedConfig | PreTrainedModel,
        **config_overrides: Any,
    ) -> "MeritModel":
        """Join two towers; projections are new.

        Args:
            ecg, text: for each tower a Hub id or folder, a model (its weights are taken), or a configuration (the
                tower is new). `ecg` may be any checkpoint of this family.
            config_overrides: fields of [`MeritConfig`].
        """
        ecg_model: Any = MeritEcgModel.from_pretrained(ecg) if isinstance(ecg, str) else ecg
        if isinstance(ecg_model, MeritEcgModel):
            require_complete(ecg_model)
        text_model: Any = text
        if isinstance(text, str):
            text_config = AutoConfig.from_pretrained(text)
            text_model = text_tower_class(text_config).from_pretrained(text, **without_pooler(text_config))
        ecg_config, text_config = (
            tower if isinstance(tower, PreTrainedConfig) else tower.config for tower in (ecg_model, text_model)
        )
        configs: dict[str, Any] = {"ecg_config": ecg_config, "text_config": text_config}
        model = cls(MeritConfig(**configs, **config_overrides))
        for name, tower in (("ecg_model", ecg_model), ("text_model", text_model)):
            if isinstance(tower, PreTrainedModel):
                unused = getattr(model, name).load_state_dict(tower.state_dict(), strict=False)
                if unused.missing_keys:
                    raise ValueError(f"{name} given to from_ecg_text_pretrained lacks {unused.missing_keys[:3]}")
        return model

    def freeze_text_tower(self) -> None:
        """Let only the top `config.text_trainable_layers` layers of the text tower train (and what follows them)."""
        wanted = self.config.text_trainable_layers
        self.text_model.requires_grad_(wanted == "all")
        if isinstance(wanted, str) or wanted == 0:
            return
        depth = getattr(self.text_model.config, "num_hidden_layers", 0)
        stacks = [
            (name, module)
            for name, module in self.text_model.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == depth
        ]
        if not stacks or wanted > depth:
            raise ValueError(
                f"text_trainable_layers={wanted} does not fit a text tower of {depth} layers: "
                f"give 0 … {depth} or 'all'"
            )
        name, layers = stacks[0]
        layers[depth - wanted :].requires_grad_(True)
        parameters = list(self.text_model.named_parameters())
        last = max(i for i, (parameter, _) in enumerate(parameters) if parameter.startswith(f"{name}."))
        for _, parameter in parameters[last + 1 :]:
            parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> "MeritModel":
        super().train(mode)
        if self.config.text_trainable_layers == 0:
            self.text_model.eval()  # a frozen tower has no use for dropout
        return self

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.set_input_embeddings(value)

    @can_return_tuple
    def get_ecg_features(
        self, input_values: Tensor, padding_mask: Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """The ECG tower's output with `pooler_output` projected: (batch, projection_dim), not normalised."""
        output = self.ecg_model(input_values, padding_mask=padding_mask, **kwargs)
        output.pooler_output = self.ecg_projection(output.pooler_output)
        return output

    @can_return_tuple
    def pool_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """The text tower's output with `pooler_output` pooled as configured: (batch, text hidden size)."""
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        states = output.last_hidden_state
        if self.config.text_pooling == "mean":
            pooled = mean_over(states, attention_mask)
        elif self.config.text_pooling == "last" and attention_mask is not None:
            # The last real token, wherever the padding is.
            last = (attention_mask.long() * torch.arange(states.shape[1], device=states.device)).argmax(-1)
            pooled = states[torch.arange(len(states), device=states.device), last]
        else:
            pooled = states[:, -1 if self.config.text_pooling == "last" else 0]
        return BaseModelOutputWithPooling(
            last_hidden_state=states,
            pooler_output=pooled,
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
        )

    @can_return_tuple
    def get_text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """The text tower's output with `pooler_output` pooled as configured and projected: (batch, projection_dim)."""
        output = self.pool_text(input_ids, attention_mask, return_dict=True, **kwargs)
        output.pooler_output = self.text_projection(output.pooler_output)
        return output

    def inverse_temperature(self) -> Tensor:
        """exp(logit_scale), at most 100."""
        return self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def zero_shot_similarity(self, ecg_embeds: Tensor, text_embeds: Tensor) -> Tensor:
        """Cosines (ecgs, texts) of embeddings centred by the training corpus' means, where pretraining has filled
        them.

        Args:
            ecg_embeds, text_embeds: (…, projection_dim), normalised or not.
        """
        ecg = normalize_embeds(normalize_embeds(ecg_embeds) - self.ecg_embeds_mean)
        text = normalize_embeds(normalize_embeds(text_embeds) - self.text_embeds_mean)
        return ecg @ text.T

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        padding_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        report_ids: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MeritOutput:
        r"""
        Args:
            input_values: (ecgs, leads, samples); padding_mask: bool, the same shape.
            input_ids, attention_mask: (texts, tokens).
            report_ids: (batch,), with `return_loss=True`: −1 marks an ECG without report.
            return_loss: compute the symmetric InfoNCE loss; ECGs and texts must then be pairs.

        Returns:
            `logits_per_ecg` (ecgs, texts), whose softmax over texts is the zero-shot score, and the rest of
            [`MeritOutput`]. Embeddings are centred for the logits, but not for the loss.
        """
        if input_ids is None or input_values is None:
            raise ValueError(
                "MeritModel needs input_ids and input_values. "
                "For one side alone call get_text_features or get_ecg_features"
            )
        ecg_output = self.get_ecg_features(input_values, padding_mask, return_dict=True, **kwargs)
        text_output = self.get_text_features(input_ids, attention_mask, return_dict=True, **kwargs)
        ecg_embeds = normalize_embeds(ecg_output.pooler_output)
        text_embeds = normalize_embeds(text_output.pooler_output)
        similarity = self.zero_shot_similarity(ecg_embeds, text_embeds)
        logits_per_ecg = self.inverse_temperature().to(similarity.dtype) * similarity
        loss = None
        if return_loss:
            loss, _, _ = self._contrast(ecg_embeds, text_embeds, report_ids, None)
        return MeritOutput(
            loss=loss,
            logits_per_ecg=logits_per_ecg,
            logits_per_text=logits_per_ecg.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            ecg_model_output=ecg_output,
            text_model_output=text_output,
        )

    def _contrast(
        self, ecg_embeds: Tensor, text_embeds: Tensor, report_ids: Tensor | None, gather: Gather | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if len(ecg_embeds) != len(text_embeds):
            raise ValueError(f"{len(ecg_embeds)} ECGs and {len(text_embeds)} texts are not pairs: no loss for them")
        if report_ids is None and self.config.positives == "same_report":
            raise ValueError("positives='same_report' needs report_ids: MeritCollator adds them")
        has_report = ecg_embeds.new_ones(len(ecg_embeds), dtype=torch.bool)
        if report_ids is not None:
            has_report = report_ids != NO_REPORT
        return contrastive_objective(
            ecg_embeds,
            text_embeds,
            self.inverse_temperature(),
            has_report,
            report_ids if self.config.positives == "same_report" else None,
            gather,
        )


class MeritDecoder(nn.Module):
    """From the visible tokens to the samples of every patch: a small transformer that sees one row at a time."""

    def __init__(self, config: MeritConfig):
        super().__init__()
        ecg, size = config.ecg_config, config.decoder_hidden_size
        self.config = ecg
        self.embedding = nn.Linear(ecg.hidden_size, size)
        # Stands for hidden tokens; with blocks the encoder sees every token, and an unused parameter would be in the
        # way.
        self.mask_token = nn.Parameter(torch.zeros(size)) if config.masking == "tokens" else None
        self.separator = nn.Parameter(torch.zeros(size)) if ecg.use_lead_separators else None
        self.layers = nn.ModuleList(
            MeritLayer(ecg, size, config.decoder_num_attention_heads, config.decoder_intermediate_size)
            for _ in range(config.decoder_num_hidden_layers)
        )
        self.layernorm = nn.LayerNorm(size, eps=ecg.layer_norm_eps)
        self.prediction = nn.Linear(size, ecg.patch_size[0] * ecg.patch_size[1])

    def forward(
        self, tokens: Tensor, valid: Tensor, visible: tuple[Tensor | None, Tensor | None] = (None, None)
    ) -> Tensor:
        """Predict every patch.

        Args:
            tokens: (batch, tokens, hidden), separators included.
            valid: bool (batch, patches), patches that exist.
            visible: indices and their mask, (batch, visible) both: which patches the tokens are; None if all.

        Returns:
            (batch, patches, patch leads, patch samples)
        """
        rows, ends, num_patches = self.config.num_rows, int(self.separator is not None), valid.shape[1]
        indices, indices_valid = visible
        tokens = self.embedding(tokens)
        batch, _, size = tokens.shape
        grid = tokens.reshape(batch, rows, -1, size)
        patches = grid[:, :, ends : grid.shape[2] - ends].reshape(batch, -1, size)
        if indices is not None and indices_valid is not None:
            if self.mask_token is None:
                raise ValueError("This model was made with masking='blocks': masking cannot change after that")
            places = indices[..., None].expand(-1, -1, size)
            mask_tokens = self.mask_token.to(patches.dtype).expand(batch, num_patches, size)
            shown = torch.where(indices_valid[..., None], patches, mask_tokens[:, : patches.shape[1]])
            patches = mask_tokens.scatter(1, places, shown)
        columns = num_patches // rows
        states = patches.reshape(batch * rows, columns, size)
        valid = valid.reshape(batch * rows, columns)
        if self.separator is not None:
            # The encoder's separators carry what a row's ends have seen; the decoder adds its own mark.
            left, right = (grid[:, :, i].reshape(-1, 1, size) + self.separator for i in (0, -1))
            states = torch.cat([left, states, right], dim=1)
            valid = nn.functional.pad(valid, (1, 1), value=True)
        else:
            # An absent row still needs one token to attend to; its prediction is not looked at.
            valid = valid | ~valid.any(-1, keepdim=True)
        positions = sincos_positions(columns + 2, size, states.device, states.dtype)
        states = states + positions[1 - ends : columns + 1 + ends]
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=states, attention_mask=valid.long())
        for layer in self.layers:
            states = layer(states, mask)
        states = self.prediction(self.layernorm(states))[:, ends : columns + ends]
        return states.reshape(batch, num_patches, *self.config.patch_size)


class MeritForPreTraining(MeritModel):
    """MERIT's pretraining: masked ECG modelling and ECG–text contrastive alignment under one objective."""

    _keys_to_ignore_on_load_unexpected = [r"^classifier\.", r"^text_model\.pooler\."]

    def _add_heads(self, config: MeritConfig) -> None:
        self.decoder = MeritDecoder(config)

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        report_ids: Tensor | None = None,
        target_values: Tensor | None = None,
        noise: Tensor | None = None,
        alignment_noise: Tensor | None = None,
        text_pooled: Tensor | None = None,
        gather: Gather | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MeritForPreTrainingOutput:
        r"""
        Args:
            input_values: (batch, leads, samples), maybe augmented; padding_mask: bool, the same shape, True = real.
            input_ids, attention_mask: (batch, tokens); needed while `contrastive_weight` > 0.
            report_ids: int64 (batch,); −1 marks a record without report, which trains the structure term only.
            target_values: (batch, leads, samples), the clean signal; `input_values` by default.
            noise: (batch, `config.num_mask_units`) in [0, 1); what has the lowest stays visible. Random by default.
            alignment_noise: (batch, `config.ecg_config.num_patches`) in [0, 1), for `alignment_token_drop`.
            text_pooled: (batch, text hidden size), what `pool_text` made of the reports; replaces input_ids where the
                text tower is frozen and its outputs were kept.
            gather: concatenates a tensor over processes with gradient ([`gather_with_gradient`]); None for one
                process.
        """
        config = self.config
        if padding_mask is None:
            padding_mask = torch.ones_like(input_values, dtype=torch.bool)
        padding_mask = padding_mask.bool()
        input_values = input_values.masked_fill(~padding_mask, 0)
        target_values = input_values if target_values is None else target_values
        if config.contrastive_weight > 0 and input_ids is None and text_pooled is None:
            raise ValueError(
                f"contrastive_weight={config.contrastive_weight} needs reports: give input_ids, or set it to 0"
            )
        align_visible = config.contrastive_weight > 0 and config.alignment_view == "visible"

        loss = input_values.new_zeros(())
        reconstruction_loss = information_structure = reconstruction = mask = None
        encoded: Any = None
        if config.reconstruction_weight > 0 or align_visible:
            encoded, mask, hidden_samples, visible = self._masked_pass(input_values, padding_mask, noise, **kwargs)
            if config.reconstruction_weight > 0:
                valid = self.ecg_model.patch_mask(padding_mask)
                decoded = self.decoder(encoded.last_hidden_state, valid, visible)
                reconstruction = unpatchify(decoded, input_values.shape[1])
                target = self._target(target_values, padding_mask)
                reconstruction_loss = masked_reconstruction_loss(reconstruction, target, hidden_samples, gather)
                information_structure = structure_information(reconstruction_loss)
                loss = loss + config.reconstruction_weight * reconstruction_loss

        contrastive_loss = information_semantic = ecg_embeds = text_embeds = None
        if config.contrastive_weight > 0:
            aligned = encoded
            if not align_visible:
                aligned = self._alignment_pass(input_values, padding_mask, alignment_noise, **kwargs)
                encoded = aligned if encoded is None else encoded
            ecg_embeds = normalize_embeds(self.ecg_projection(aligned.pooler_output))
            if text_pooled is None:
                text_pooled = self.pool_text(input_ids, attention_mask, return_dict=True).pooler_output
            text_embeds = normalize_embeds(self.text_projection(text_pooled))
            contrastive_loss, information_semantic, regularizer = self._contrast(
                ecg_embeds, text_embeds, report_ids, gather
            )
            loss = loss + config.contrastive_weight * contrastive_loss + config.regularizer_weight * regularizer
        return MeritForPreTrainingOutput(
            loss=loss,
            reconstruction_loss=reconstruction_loss,
            contrastive_loss=contrastive_loss,
            semantic_information=information_semantic,
            structure_information=information_structure,
            reconstruction=reconstruction,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            mask=mask,
            hidden_states=None if encoded is None else encoded.hidden_states,
            attentions=None if encoded is None else encoded.attentions,
        )

    def _target(self, target_values: Tensor, padding_mask: Tensor) -> Tensor:
        """(batch, leads, samples): the clean signal as configured."""
        if self.config.reconstruction_target == "signal":
            return target_values
        size = self.config.ecg_config.patch_size
        patches = patch_normalize(patchify(target_values, size), patchify(padding_mask, size))
        return unpatchify(patches, target_values.shape[1])

    def _masked_pass(
        self, input_values: Tensor, padding_mask: Tensor, noise: Tensor | None, **kwargs: Any
    ) -> tuple[BaseModelOutputWithPooling, Tensor, Tensor, tuple[Tensor | None, Tensor | None]]:
        """Hide and encode: the encoder's output, mask (batch, units), hidden real samples, bool (batch, leads,
        samples), and for `masking="tokens"` which tokens were encoded, as the decoder takes it."""
        config, size = self.config, self.config.ecg_config.patch_size
        batch, leads, samples = input_values.shape
        valid = self.ecg_model.patch_mask(padding_mask)
        blocks = config.masking == "blocks"
        units = leads * (samples // config.block_samples) if blocks else valid.shape[1]
        noise = self._noise("noise", noise, (batch, units), input_values)
        indices = indices_valid = None
        if blocks:
            mask, hidden_samples = hidden_blocks(noise, padding_mask, config.block_samples, config.mask_ratio)
        else:
            indices, indices_valid, mask = visible_tokens(noise, valid, config.ecg_config.num_rows, config.mask_ratio)
            hidden_samples = unpatchify(mask[..., None, None].expand(-1, -1, *size), leads)
        hidden_samples = hidden_samples & padding_mask
        # Zeroed before the patch embedding: a convolution would look across the border of a hidden patch.
        encoded = self.ecg_model(
            input_values.masked_fill(hidden_samples, 0),
            padding_mask=padding_mask,
            visible_indices=indices,
            visible_mask=indices_valid,
            **kwargs,
        )
        return encoded, mask.long(), hidden_samples, (indices, indices_valid)

    def _alignment_pass(
        self, input_values: Tensor, padding_mask: Tensor, noise: Tensor | None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encode the whole ECG; while training, a random share of its tokens if so configured."""
        drop = self.config.alignment_token_drop
        if not self.training or drop == 0:
            return self.ecg_model(input_values, padding_mask=padding_mask, **kwargs)
        valid = self.ecg_model.patch_mask(padding_mask)
        noise = self._noise("alignment_noise", noise, tuple(valid.shape), input_values)
        indices, indices_valid, _ = visible_tokens(noise, valid, self.config.ecg_config.num_rows, drop)
        return self.ecg_model(
            input_values, padding_mask=padding_mask, visible_indices=indices, visible_mask=indices_valid, **kwargs
        )

    @staticmethod
    def _noise(name: str, noise: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if noise is None:
            return torch.rand(shape, device=like.device)
        if tuple(noise.shape) != shape:
            raise ValueError(f"{name} of shape {tuple(noise.shape)} must be {shape}: (batch, mask units)")
        return noise


def mlp_head_layers(num_features: int, num_labels: int, hidden_size: int = 256) -> list[nn.Module]:
    """Layers of the head `classifier_head="mlp"`, which linear probing (`evaluation.probes`) uses as well."""
    return [
        nn.BatchNorm1d(num_features),
        nn.Dropout(0.25),
        nn.Linear(num_features, hidden_size),
        nn.ReLU(),
        nn.BatchNorm1d(hidden_size),
        nn.Dropout(0.5),
        nn.Linear(hidden_size, num_labels),
    ]


class MeritClassificationHead(nn.Sequential):
    """Linear, or the two-layer head of `classifier_head="mlp"`."""

    def __init__(self, config: MeritEcgConfig):
        num_labels: Any = config.num_labels  # typed as optional, never None once the configuration exists
        if config.classifier_head == "linear":
            super().__init__(nn.Linear(config.hidden_size, num_labels))
            return
        super().__init__(*mlp_head_layers(config.hidden_size, num_labels))


class MeritForEcgClassification(MeritEcgPreTrainedModel):
    """The ECG encoder with a classification head; multi-label unless `problem_type` says otherwise."""

    _keys_to_ignore_on_load_unexpected = MeritEcgPreTrainedModel._keys_to_ignore_on_load_unexpected[:-1]

    def __init__(self, config: MeritEcgConfig):
        super().__init__(config)
        self.ecg_model = MeritEcgModel(config)
        self.classifier = MeritClassificationHead(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.ecg_model.get_input_embeddings()

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        r"""
        Args:
            input_values: (batch, leads, samples); padding_mask: bool, the same shape.
            labels: for `"multi_label_classification"` (the default) 0/1 floats (batch, labels); for
                `"single_label_classification"` class numbers (batch,); for `"regression"` floats (batch, labels).

        Returns:
            `logits` (batch, labels), and `loss` if labels were given.
        """
        output = self.ecg_model(input_values, padding_mask=padding_mask, **kwargs)
        logits = self.classifier(output.pooler_output)
        loss = None
        if labels is not None:
            kind = self.config.problem_type or "multi_label_classification"
            if kind == "multi_label_classification":
                loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
            elif kind == "single_label_classification":
                loss = nn.functional.cross_entropy(logits, labels)
            else:
                loss = nn.functional.mse_loss(logits.reshape(labels.shape), labels.to(logits.dtype))
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


__all__ = [
    "MeritEcgModel",
    "MeritForEcgClassification",
    "MeritForPreTraining",
    "MeritForPreTrainingOutput",
    "MeritModel",
    "MeritOutput",
    "MeritPreTrainedModel",
    "require_complete",
]
