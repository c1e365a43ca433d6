"""From rows of a corpus to a batch of a classifier: tensors of the ECGs, and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merit_hf.data.load.collator import MeritCollator


class ClassificationCollator:
    """Batches of `MeritForEcgClassification`: `input_values`, `padding_mask`, and `labels` as 0/1 floats.

    Args:
        collator: without a tokenizer.
    """

    def __init__(self, collator: MeritCollator) -> None:
        self.collator = collator

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The batch of some rows of `LabelledRows`; labels are float32 (batch, labels)."""
        batch = self.collator(rows)
        labels = torch.from_numpy(np.stack([row["labels"] for row in rows])).float()
        return {"input_values": batch["input_values"], "padding_mask": batch["padding_mask"], "labels": labels}
