"""Running a model over a corpus split: from its rows to one vector a window of each record.

Rows become tensors by the same feature extractor as in training and in the pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.row import record_from_row
from merit_hf.pipeline_base_merit import inference_mode_of

Encode = Callable[[Tensor, Tensor], Tensor]


def window_tensors(feature_extractor: Any, rows: Sequence[Any]) -> tuple[Tensor, Tensor, np.ndarray]:
    """Tensors of rows of a corpus; a record longer than the extractor's window gives several windows.

    Returns:
        `input_values` and `padding_mask` (windows, leads, samples), and int64 (windows,): the row of each window.
    """
    windows, owners = [], []
    for row, record in enumerate(map(record_from_row, rows)):
        cut = feature_extractor.windows(record)
        windows += cut
        owners += [row] * len(cut)
    features = feature_extractor(windows, return_tensors="pt")
    return features["input_values"], features["padding_mask"], np.asarray(owners)


def encode_windows(
    model: torch.nn.Module,
    encode: Encode,
    feature_extractor: Any,
    dataset: datasets.Dataset,
    *,
    batch_size: int = 64,
    description: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Encode every window of every record of a corpus split.

    Args:
        model: put into evaluation mode, without gradients, for the time; its device is used.
        encode: (input_values, padding_mask), both (windows, leads, samples) -> (windows, size).
        feature_extractor: that of the checkpoint.
        dataset: map-style corpus split.
        batch_size: records read at once.
        description: title of the progress bar; None shows none.

    Returns:
        float32 (windows, size) and int64 (windows,), the record of each window, both on the CPU.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    rows = PretrainingDataset(dataset)
    device = next(model.parameters()).device
    parts, owners = [], []
    with inference_mode_of(model):
        starts = tqdm(range(0, len(rows), batch_size), desc=description, disable=description is None, leave=False)
        for start in starts:
            chunk = rows.__getitems__(range(start, min(start + batch_size, len(rows))))
            values, mask, owner = window_tensors(feature_extractor, chunk)
            parts.append(encode(values.to(device), mask.to(device)).float().cpu())
            owners.append(torch.from_numpy(owner + start))
    if not parts:
        raise ValueError("the corpus split is empty: there is nothing to embed")
    return torch.cat(parts), torch.cat(owners)


def mean_by_record(values: Tensor, records: Tensor, num_records: int) -> Tensor:
    """Means (num_records, ...) of `values` (windows, ...) over the windows of each record."""
    sums = values.new_zeros(num_records, *values.shape[1:]).index_add_(0, records, values)
    counts = torch.bincount(records, minlength=num_records)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))
