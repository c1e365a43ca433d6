"""The mean embeddings of the training split, by which zero-shot scores are centred (buffers of the model)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from merit_hf.modeling_merit import NO_REPORT, MeritModel
from merit_hf.objective_merit import normalize_embeds
from merit_hf.training.loop.loader import Batch


@torch.no_grad()
def fill_embedding_means(
    model: MeritModel, batches: Iterable[Batch], reduce: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Sets `ecg_embeds_mean` and `text_embeds_mean` to the means of the L2-normalised embeddings.

    ECGs count all, texts only where there is a report. A side without any keeps zero, which centres nothing.

    Args:
        model: is in evaluation mode inside this function, and afterwards as before.
        batches: of this process, without augmentation, on the model's device; with `text_pooled` in place of the
            texts where a frozen tower's states were kept.
        reduce: sums a tensor over processes.
    """
    dtype = torch.float32 if model.device.type == "mps" else torch.float64
    sides = (("ecg_embeds_mean", _ecg_embeds), ("text_embeds_mean", _text_embeds))
    sums = {name: torch.zeros(model.config.projection_dim + 1, dtype=dtype, device=model.device) for name, _ in sides}
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            for name, embed in sides:
                embeds = embed(model, batch)
                sums[name][:-1] += embeds.to(dtype).sum(0)
                sums[name][-1] += len(embeds)
    finally:
        model.train(was_training)
    for name, _ in sides:
        total = reduce(sums[name])
        if total[-1] > 0:
            getattr(model, name).copy_(total[:-1] / total[-1])


def _ecg_embeds(model: MeritModel, batch: Batch) -> torch.Tensor:
    return normalize_embeds(model.get_ecg_features(batch["input_values"], batch["padding_mask"]).pooler_output)


def _text_embeds(model: MeritModel, batch: Batch) -> torch.Tensor:
    paired = batch["report_ids"] != NO_REPORT
    if not paired.any():
        return torch.zeros(0, model.config.projection_dim, device=paired.device)
    if "text_pooled" in batch:
        return normalize_embeds(model.text_projection(batch["text_pooled"][paired]))
    features = model.get_text_features(batch["input_ids"][paired], batch["attention_mask"][paired])
    return normalize_embeds(features.pooler_output)
