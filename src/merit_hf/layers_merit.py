"""Parts of the MERIT encoder and decoder: patch embeddings, positions, attention, transformer layer.

Nothing here knows a text, a mask or a loss.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_merit import MeritEcgConfig
from .masking_merit import patchify


def sincos_positions(number: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Fixed 1-D sine–cosine positions (number, size): half sines, half cosines, wavelengths from 2π to 10,000·2π."""
    frequencies = 10_000 ** -(torch.arange(size // 2, device=device, dtype=torch.float32) / (size // 2))
    angles = torch.arange(number, device=device, dtype=torch.float32)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)


class MeritLinearPatchEmbedding(nn.Module):
    """LayerNorm, linear map and LayerNorm of each patch alone."""

    def __init__(self, config: MeritEcgConfig):
        super().__init__()
        self.patch_size = config.patch_size
        size = config.patch_size[0] * config.patch_size[1]
        self.norm_in = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.projection = nn.Linear(size, config.hidden_size)
        self.norm_out = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_values: Tensor) -> Tensor:
        patches = patchify(input_values, self.patch_size).flatten(2)  # (batch, patches, patch leads × patch samples)
        return self.norm_out(self.projection(self.norm_in(patches)))


class MeritConvPatchEmbedding(nn.Module):
    """Three convolutions along time whose strides multiply to the patch; the same weights for every row of leads."""

    def __init__(self, config: MeritEcgConfig):
        super().__init__()
        self.num_rows = config.num_rows
        leads, samples = config.patch_size
        first = next(s for s in range(math.isqrt(samples), 0, -1) if samples % s == 0)
        strides = (samples // first, first)
        channels = (max(config.hidden_size // 3, 1), max(config.hidden_size // 2, 1), config.hidden_size)
        self.conv1 = nn.Conv1d(leads, channels[0], 7, padding=3)
        self.conv2 = self._downsampling(channels[0], channels[1], strides[0])
        self.norm = nn.GroupNorm(math.gcd(8, channels[1]), channels[1], eps=config.layer_norm_eps)
        self.conv3 = self._downsampling(channels[1], channels[2], strides[1])
        self.activation = ACT2FN[config.hidden_act]

    @staticmethod
    def _downsampling(channels_in: int, channels_out: int, stride: int) -> nn.Conv1d:
        # Twice as wide as the stride, parity matched so that windows are centred on their patch and none is lost.
        kernel = 2 * stride - stride % 2
        return nn.Conv1d(channels_in, channels_out, kernel, stride=stride, padding=(kernel - stride) // 2)

    def forward(self, input_values: Tensor) -> Tensor:
        batch, leads, samples = input_values.shape
        hidden = input_values.reshape(batch * self.num_rows, leads // self.num_rows, samples)
        hidden = self.activation(self.conv1(hidden))
        hidden = self.activation(self.norm(self.conv2(hidden)))
        hidden = self.activation(self.conv3(hidden))  # (batch × rows, hidden, patches a row)
        return hidden.transpose(1, 2).reshape(batch, -1, hidden.shape[1])


class MeritEcgEmbeddings(nn.Module):
    """Patch embedding + time position + lead embedding, and a separator at both ends of each row if wanted."""

    def __init__(self, config: MeritEcgConfig):
        super().__init__()
        self.config = config
        embedding = MeritConvPatchEmbedding if config.patch_embedding == "conv" else MeritLinearPatchEmbedding
        self.patch_embedding = embedding(config)
        self.lead_embedding = nn.Parameter(torch.zeros(config.num_rows, config.hidden_size))
        self.separator = nn.Parameter(torch.zeros(config.hidden_size)) if config.use_lead_separators else None
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, input_values: Tensor) -> tuple[Tensor, Tensor | None]:
        """(batch, leads, samples) → patches (batch, patches, hidden), separators (rows, 2, hidden) or None."""
        leads, samples = input_values.shape[1:]
        if leads != self.config.num_leads or samples % self.config.patch_size[1] or samples == 0:
            raise ValueError(
                f"input_values of {leads} leads × {samples} samples do not fit this model: expected "
                f"{self.config.num_leads} leads and a multiple of {self.config.patch_size[1]} samples. "
                "MeritFeatureExtractor makes such inputs"
            )
        patches = self.patch_embedding(input_values)
        batch, number, hidden = patches.shape
        columns = number // self.config.num_rows
        # One more position at each end for the separators.
        positions = sincos_positions(columns + 2, hidden, patches.device, patches.dtype)
        rows = patches.reshape(batch, -1, columns, hidden) + positions[1:-1] + self.lead_embedding[:, None]
        separators = None
        if self.separator is not None:
            separators = self.dropout(self.separator + positions[[0, -1]] + self.lead_embedding[:, None])
        return self.dropout(rows.reshape(batch, number, hidden)), separators


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Plain softmax attention over (batch, heads, tokens, head size); the only back-end that returns weights."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class MeritAttention(nn.Module):
    def __init__(self, config: MeritEcgConfig, hidden_size: int, num_heads: int):
        super().__init__()
        self.config = config
        self.head_dim = hidden_size // num_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        dropout = self.config.attention_dropout if self.training else 0.0
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.o_proj(output.reshape(hidden_states.shape).contiguous()), weights


class MeritMLP(nn.Module):
    def __init__(self, config: MeritEcgConfig, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(hidden_states)))


class MeritLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer, of the encoder or (with sizes given) of the decoder."""

    def __init__(
        self,
        config: MeritEcgConfig,
        hidden_size: int | None = None,
        num_heads: int | None = None,
        intermediate_size: int | None = None,
    ):
        super().__init__()
        hidden_size = hidden_size or config.hidden_size
        self.norm_before = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.attention = MeritAttention(config, hidden_size, num_heads or config.num_attention_heads)
        self.norm_after = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.mlp = MeritMLP(config, hidden_size, intermediate_size or config.intermediate_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> Tensor:
        attended, _ = self.attention(self.norm_before(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.norm_after(hidden_states)))


def mean_over(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (batch, tokens, hidden) over the tokens where `mask` (batch, tokens) is True; 0 where there is none."""
    if mask is None:
        return tokens.mean(1)
    weights = mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)
