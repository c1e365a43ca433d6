"""The information-theoretic objective of MERIT: both bounds, both losses, and the gather over processes.

Pure functions of tensors. Nothing here knows a model; `docs/objective.md` derives every formula.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Gather = Callable[[Tensor], Tensor]


class _GatherWithGradient(torch.autograd.Function):
    """All processes' rows, in rank order. Each process holds the whole loss, so a row's gradient is the sum over
    processes of what each of them computed for it; the averaging of DDP then gives the one-process gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        torch.distributed.all_reduce(gradient)
        start = torch.distributed.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The rows of all processes, concatenated along dimension 0, with gradients flowing back to every process.

    Every process must hold as many rows. Outside an initialised process group the tensor is returned as it is.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    if tensor.dtype == torch.bool:
        return _GatherWithGradient.apply(tensor.to(torch.uint8)).bool()
    return _GatherWithGradient.apply(tensor)


def info_nce_terms(logits: Tensor, counted: Tensor | None = None, excluded: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy of each pair on the diagonal: half over its row, half over its column.

    Args:
        logits: (N, N); row i is ECG i, column j is text j.
        counted: bool (N,); pairs that take part. The others get exactly 0 and are nobody's negatives.
        excluded: bool (N, N), symmetric; off-diagonal entries to leave out of the negatives.

    Returns:
        (N,) in nats; the mean over counted pairs is L_con.
    """
    keep = torch.ones_like(logits, dtype=torch.bool)
    if counted is not None:
        keep = counted[:, None] & counted[None, :]
    if excluded is not None:
        keep = keep & ~excluded
    # The diagonal always stays, so that a row without any other entry has loss 0 and gradient 0 instead of NaN.
    keep = keep | torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(~keep, -math.inf)
    diagonal = logits.diagonal()
    return 0.5 * (logits.logsumexp(dim=1) + logits.logsumexp(dim=0)) - diagonal


def info_nce_bound(logits: Tensor) -> Tensor:
    """InfoNCE lower bound of the mutual information of the paired variables, in nats: ln N − L_con.

    `logits` is (N, N) with the true pairs on the diagonal. The bound holds in expectation over batches and never
    exceeds ln N (van den Oord et al. 2018; Poole et al. 2019).
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits of shape {tuple(logits.shape)} must be square: (N, N) with pairs on the diagonal")
    return math.log(len(logits)) - info_nce_terms(logits).mean()


def gaussian_reconstruction_bound(
    mse: Tensor | float, variance: Tensor | float, entropy: Tensor | float
) -> Tensor | float:
    """Barber–Agakov lower bound of I(Z; X) for the decoder q(x | z) = N(x̂(z), variance), in nats per dimension.

    h(X) + E log q = entropy − ½ ln(2π·variance) − mse / (2·variance). For a given mse it is largest at variance = mse,
    and it equals the mutual information if X given Z is Gaussian about x̂ with that variance.

    Args:
        mse: mean squared error per dimension.
        variance: variance of the decoder's Gaussian, positive.
        entropy: differential entropy of X per dimension, in nats.
    """
    if not torch.all(torch.as_tensor(variance) > 0):
        raise ValueError(f"variance={variance} must be positive")
    scale = 2 * math.pi * variance
    log = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    return entropy - 0.5 * log - mse / (2 * variance)


def patch_normalize(patches: Tensor, real: Tensor, eps: float = 1e-6) -> Tensor:
    """Mean 0 and variance 1 along the last dimension, over real samples only (others become 0).

    With P real samples the result lies on a sphere of radius √P: level and gain of a patch are gone.
    """
    real = real.to(patches.dtype)
    count = real.sum(-1, keepdim=True).clamp(min=1)
    mean = (patches * real).sum(-1, keepdim=True) / count
    centred = (patches - mean) * real
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred / (variance + eps).sqrt()


def global_mean(per_record: Tensor, counted: Tensor, gather: Gather | None) -> Tensor:
    """Mean over the counted records of all processes; 0 if none counts."""
    if gather is not None:
        per_record, counted = gather(per_record), gather(counted)
    counted = counted.to(per_record.dtype)
    return (per_record * counted).sum() / counted.sum().clamp(min=1)


def masked_reconstruction_loss(
    prediction: Tensor, target: Tensor, hidden: Tensor, gather: Gather | None = None
) -> Tensor:
    """L_rec: squared error over hidden real samples, mean in each record, then over the records that have any.

    Args:
        prediction, target, hidden: the same shape (batch, ...); `hidden` is bool.
    """
    hidden = hidden.flatten(1)
    error = (prediction.float() - target.float()).square().flatten(1)
    samples = hidden.sum(1)
    per_record = (error * hidden).sum(1) / samples.clamp(min=1)
    return global_mean(per_record, samples > 0, gather)


def structure_information(reconstruction_loss: Tensor) -> Tensor:
    """−½ ln L_rec: nats a hidden sample gained over predicting its mean, for a target of variance 1. A read-out."""
    return -0.5 * reconstruction_loss.detach().clamp(min=torch.finfo(reconstruction_loss.dtype).tiny).log()


def contrastive_objective(
    ecg_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    has_report: Tensor,
    report_ids: Tensor | None = None,
    gather: Gather | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """L_con over the paired records of the global batch, its read-out, and the regulariser mean(1 − u·v).

    Args:
        ecg_embeds, text_embeds: (batch, dim), L2-normalised.
        logit_scale: inverse temperature (not its logarithm).
        has_report: bool (batch,); records without a report are not counted in N and are nobody's negatives.
        report_ids: int64 (batch,); if given, other records with the same id are left out of the negatives.
        gather: concatenates over processes with gradient; None for one process.

    Returns:
        `(contrastive_loss, semantic_information, regularizer)`, scalars. `semantic_information` is ln N − L_con from
        the plain logits, without gradient; all are 0 if no record has a report. A single record with a report has
        loss 0 too, and a warning says so; on a GPU only if it is the whole batch, as counting would wait for it.
    """
    if gather is not None:
        ecg_embeds, text_embeds, has_report = gather(ecg_embeds), gather(text_embeds), gather(has_report)
        report_ids = gather(report_ids) if report_ids is not None else None
    if (len(ecg_embeds) == 1 or has_report.device.type == "cpu") and int(has_report.sum()) == 1:
        others = "" if len(has_report) == 1 else f", as {len(has_report) - 1} of {len(has_report)} have no report,"
        warnings.warn(
            f"a contrastive batch of 1{others} has no negatives: its loss is 0 and teaches nothing. Raise the batch "
            "size, or pass gather= to contrast the records of all processes",
            UserWarning,
            stacklevel=2,
        )
    # Logits in half precision would keep three digits of cosines that are multiplied by up to 100.
    with torch.autocast(ecg_embeds.device.type, enabled=False):
        dtype = torch.promote_types(ecg_embeds.dtype, torch.float32)
        logits = logit_scale.to(dtype) * ecg_embeds.to(dtype) @ text_embeds.to(dtype).T
        plain = info_nce_terms(logits, has_report)
        terms = plain
        if report_ids is not None:
            terms = info_nce_terms(logits, has_report, report_ids[:, None] == report_ids[None, :])
        loss = global_mean(terms, has_report, None)
        distance = 1 - (ecg_embeds.to(dtype) * text_embeds.to(dtype)).sum(-1)
        regularizer = global_mean(distance, has_report, None)
        number = has_report.sum().clamp(min=1).to(dtype)
        information = number.log() - global_mean(plain.detach(), has_report, None)
    return loss, information, regularizer


def normalize_embeds(embeds: Tensor) -> Tensor:
    """Unit L2 norm along the last dimension, in float32 at least."""
    return nn.functional.normalize(embeds.to(torch.promote_types(embeds.dtype, torch.float32)), dim=-1)
