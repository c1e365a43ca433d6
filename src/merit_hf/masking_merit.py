"""Which parts of an ECG a masked pass hides: patch tokens row by row, or lead × time blocks of the input.

Masks follow from `noise` alone, so that a training run draws them from (seed, epoch, record).
"""

from __future__ import annotations

import torch
from torch import Tensor


def patchify(values: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """(batch, leads, samples) → (batch, patches, patch leads, patch samples); patches run along time, row after
    row."""
    batch, leads, samples = values.shape
    patch_leads, patch_samples = patch_size
    rows, columns = leads // patch_leads, samples // patch_samples
    values = values.reshape(batch, rows, patch_leads, columns, patch_samples)
    return values.transpose(2, 3).reshape(batch, rows * columns, patch_leads, patch_samples)


def unpatchify(patches: Tensor, num_leads: int) -> Tensor:
    """The inverse of [`patchify`]: (batch, patches, patch leads, patch samples) → (batch, leads, samples)."""
    batch, number, patch_leads, patch_samples = patches.shape
    rows = num_leads // patch_leads
    patches = patches.reshape(batch, rows, number // rows, patch_leads, patch_samples)
    return patches.transpose(2, 3).reshape(batch, num_leads, -1)


def keep_lowest(noise: Tensor, valid: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Keep, in each row, the `1 − ratio` of the valid units with the lowest noise (rounded down, at least one).

    Args:
        noise: (..., units), any order-able numbers.
        valid: bool, the same shape; units that exist.
        ratio: share of the valid units to hide.

    Returns:
        `order` (..., units): unit indices, kept ones first; `kept` bool (..., units) in the unit's own place.
    """
    order = noise.masked_fill(~valid, torch.inf).argsort(dim=-1, stable=True)
    rank = order.argsort(dim=-1)
    return order, rank < _number_kept(valid.sum(-1, keepdim=True), ratio)


def _number_kept(number: Tensor, ratio: float) -> Tensor:
    # 1e-6 so that 20 × (1 − 0.8) counts as 4 and not, by rounding error, as 3.
    kept = (number * (1 - ratio) + 1e-6).floor().long()
    return torch.minimum(kept.clamp(min=1), number)


def visible_tokens(noise: Tensor, valid: Tensor, rows: int, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the patch tokens to encode, independently in each row.

    Args:
        noise: (batch, patches), patches row after row.
        valid: bool (batch, patches); False for absent leads and padded time.
        rows: rows of patches.
        ratio: share of a row's valid tokens to hide.

    Returns:
        `indices` (batch, visible): tokens to encode, in order; `indices_valid` bool (batch, visible): False where a
        row with few valid tokens has fewer to show; `hidden` bool (batch, patches): valid and not shown.
    """
    batch, patches = noise.shape
    columns = patches // rows
    shape = (batch, rows, columns)
    order, kept = keep_lowest(noise.reshape(shape), valid.reshape(shape), ratio)
    slots = int(_number_kept(torch.tensor(columns), ratio))
    # In order of time, as the model sees them without masking.
    indices = order[..., :slots].sort(dim=-1).values
    indices_valid = kept.gather(-1, indices)
    indices = indices + columns * torch.arange(rows, device=noise.device)[:, None]
    hidden = valid & ~kept.reshape(batch, patches)
    return indices.reshape(batch, -1), indices_valid.reshape(batch, -1), hidden


def hidden_blocks(noise: Tensor, real: Tensor, block_samples: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Choose lead × time blocks to zero, over the whole record.

    Args:
        noise: (batch, leads × blocks), blocks lead after lead.
        real: bool (batch, leads, samples).
        block_samples: samples of a block.
        ratio: share of the blocks with any real sample to hide.

    Returns:
        `hidden` bool (batch, leads × blocks), and the same by sample: bool (batch, leads, samples).
    """
    batch, leads, _ = real.shape
    valid = real.reshape(batch, leads, -1, block_samples).any(-1).reshape(batch, -1)
    _, kept = keep_lowest(noise, valid, ratio)
    hidden = valid & ~kept
    return hidden, hidden.reshape(batch, leads, -1).repeat_interleave(block_samples, dim=-1)
