"""What a frozen text tower makes of the reports, computed once for each distinct text instead of once an epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from merit_hf.modeling_merit import MeritForPreTraining
from merit_hf.training.loop.loader import Batch

MOST_TEXTS = 500_000  # 768 MB of a tower 384 wide; texts beyond are computed each time


class FrozenTextFeatures:
    """Replaces the reports of a batch by their pooled states, which a frozen tower need not compute twice.

    A text is encoded alone and without padding. Its state is then the same to the last bit whatever else is in the
    batch, and so a run that was resumed, whose memory is empty, still equals an unbroken one.

    Only for CPUs: an accelerator encodes a whole batch in the time of a few single texts.

    Args:
        model: with `text_trainable_layers=0`.
        most_texts: texts that are kept.
    """

    def __init__(self, model: MeritForPreTraining, most_texts: int = MOST_TEXTS) -> None:
        if not self.serves(model):
            raise ValueError(
                "the states of a text tower can only be kept if it is frozen (text_trainable_layers=0) and on a CPU, "
                f"but text_trainable_layers={model.config.text_trainable_layers!r}, device {model.device}"
            )
        self.model = model
        self.most_texts = most_texts
        self._kept: dict[bytes, Tensor] = {}

    @staticmethod
    def serves(model: MeritForPreTraining) -> bool:
        """Whether the tower of a model is of the kind whose states can be kept."""
        return model.config.text_trainable_layers == 0 and model.device.type == "cpu"

    def __call__(self, batch: Batch) -> Batch:
        """The batch with `text_pooled` (batch, text hidden size) in place of `input_ids` and `attention_mask`."""
        if "input_ids" not in batch or self.model.config.contrastive_weight == 0:
            return batch
        replaced = {name: tensor for name, tensor in batch.items() if name not in ("input_ids", "attention_mask")}
        pairs = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        replaced["text_pooled"] = torch.cat([self._state(ids[mask]) for ids, mask in pairs])
        return replaced

    @torch.no_grad()
    def _state(self, ids: Tensor) -> Tensor:
        key = ids.numpy().tobytes()
        state = self._kept.get(key)
        if state is None:
            # In full precision, or it would matter whether training or validation met the text first.
            with torch.autocast("cpu", enabled=False):
                state = self.model.pool_text(ids[None], torch.ones_like(ids)[None], return_dict=True).pooler_output
            if len(self._kept) < self.most_texts:
                self._kept[key] = state
        return state
