"""The validation loss: clean ECGs, whole reports, the same masks every time, and never a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from merit_hf.modeling_merit import NO_REPORT, MeritForPreTraining
from merit_hf.training.loop.loader import Batch

# Each metric is the mean over batches, weighted by the records it speaks of.
_PER_RECORD = ("loss", "reconstruction_loss")
_PER_PAIR = ("contrastive_loss", "semantic_information")


@torch.no_grad()
def validate(
    model: MeritForPreTraining, batches: Iterable[Batch], reduce: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, float]:
    """Validation metrics of the current objective, prefixed `validation_`.

    Every batch is judged by itself, with its own records as negatives, so that the result does not depend on the
    number of processes. `structure_information` is −½ ln of the mean loss.

    Args:
        model: is in evaluation mode inside this function, and afterwards as before.
        batches: of this process, on the model's device, with their `noise`.
        reduce: sums a float64 tensor over processes.

    Raises:
        ValueError: a loss that is not finite.
    """
    names = (*_PER_RECORD, *_PER_PAIR)
    sums = torch.zeros(len(names), 2, dtype=torch.float64)  # weighted sum, weight
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            outputs = model(**batch)
            num_records = len(batch["input_values"])
            num_pairs = int((batch["report_ids"] != NO_REPORT).sum()) if "report_ids" in batch else 0
            for position, name in enumerate(names):
                value = getattr(outputs, name)
                weight = num_records if name in _PER_RECORD else num_pairs
                if value is not None and weight:
                    sums[position] += torch.tensor([float(value) * weight, weight], dtype=torch.float64)
    finally:
        model.train(was_training)
    totals = reduce(sums.to(model.device if model.device.type != "mps" else "cpu")).cpu()
    metrics = {
        f"validation_{name}": float(total / weight)
        for name, (total, weight) in zip(names, totals, strict=True)
        if weight > 0
    }
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: the model has diverged; lower learning_rate or raise warmup_ratio")
    reconstruction_loss = metrics.get("validation_reconstruction_loss", 0.0)
    if reconstruction_loss > 0:
        metrics["validation_structure_information"] = -0.5 * math.log(reconstruction_loss)
    return metrics
