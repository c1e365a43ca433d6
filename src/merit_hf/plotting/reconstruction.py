"""What a pretrained model fills into the hidden parts of an ECG: the computation, and its picture beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merit_hf.masking_merit import patchify, unpatchify
from merit_hf.modeling_merit import NO_REPORT

from .style import GREY, INK, TRAINED, quiet_axes

HIDDEN = "#ececf0"  # background of the hidden parts
ROW_STEP = 6.0  # distance between the baselines of two leads, in standard deviations of a lead


@dataclass(frozen=True)
class Reconstruction:
    """One ECG as a model saw it and as it filled it in. Arrays are (leads, samples), in the feature extractor's units.

    Attributes:
        truth: the signal as the feature extractor prepares it.
        filled: the model's prediction, everywhere; only its hidden parts were learnt.
        hidden: bool, True where the model did not see the signal.
        real: bool, True where the record has a signal; absent leads and padding are False.
        sampling_rate: in Hz.
        lead_names: one name a lead.
    """

    truth: np.ndarray
    filled: np.ndarray
    hidden: np.ndarray
    real: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]

    @property
    def error(self) -> float:
        """Squared error of the hidden samples divided by their variance: 0 is perfect, their mean would get 1."""
        truth, filled = self.truth[self.hidden], self.filled[self.hidden]
        variance = truth.var()
        if variance == 0:
            raise ValueError("the hidden parts are constant, so there is nothing to fill in; give a record with waves")
        return float(np.square(filled - truth).mean() / variance)


@torch.no_grad()
def reconstruct(model: Any, feature_extractor: Any, record: Any, seed: int = 0) -> Reconstruction:
    """Hides parts of a record as pretraining does, and lets the model fill them in.

    Args:
        model: a `MeritForPreTraining`; its mode is left as it was.
        feature_extractor: of the same checkpoint.
        record: an `EcgRecord`, or anything the feature extractor takes.
        seed: draws which parts are hidden.

    Raises:
        ValueError: the model was trained without reconstruction, or nothing of the record was hidden.
    """
    config = model.config
    if config.reconstruction_weight <= 0:
        raise ValueError(
            f"the model has reconstruction_weight={config.reconstruction_weight} and never learnt to fill in hidden "
            "parts; give one that was pretrained with a positive weight"
        )
    features = feature_extractor(record, return_tensors="pt").to(model.device)
    values, real = features["input_values"], features["padding_mask"]
    noise = torch.rand((1, config.num_mask_units), generator=torch.Generator().manual_seed(seed)).to(model.device)
    # The contrastive branch runs as well and wants a text. Any will do: the decoder does not see it.
    no_report = torch.zeros((1, config.text_config.hidden_size), device=model.device, dtype=model.dtype)
    report_ids = torch.full((1,), NO_REPORT, device=model.device)
    was_training = model.training
    model.eval()
    try:
        outputs = model(values, padding_mask=real, noise=noise, text_pooled=no_report, report_ids=report_ids)
    finally:
        model.train(was_training)
    filled, hidden = outputs.reconstruction, _by_sample(outputs.mask.bool(), config, values.shape[1]) & real
    if not hidden.any():
        raise ValueError(f"mask_ratio={config.mask_ratio} hides nothing of this record; give a longer one")
    if config.reconstruction_target == "patch_normalized":
        filled = _with_level_of(values, real, filled, config.ecg_config.patch_size)
    return Reconstruction(
        truth=values[0].cpu().numpy(),
        filled=filled[0].float().cpu().numpy(),
        hidden=hidden[0].cpu().numpy(),
        real=real[0].cpu().numpy(),
        sampling_rate=float(feature_extractor.sampling_rate),
        lead_names=tuple(feature_extractor.lead_names),
    )


def _by_sample(mask: torch.Tensor, config: Any, num_leads: int) -> torch.Tensor:
    """bool (batch, mask units) -> bool (batch, leads, samples)."""
    if config.masking == "blocks":
        return mask.reshape(len(mask), num_leads, -1).repeat_interleave(config.block_samples, dim=-1)
    return unpatchify(mask[..., None, None].expand(-1, -1, *config.ecg_config.patch_size), num_leads)


def _with_level_of(
    values: torch.Tensor, real: torch.Tensor, filled: torch.Tensor, patch_size: tuple[int, int]
) -> torch.Tensor:
    """Gives normalised patches the true mean and size of each patch, which such a model does not predict."""
    truth, counted = patchify(values, patch_size), patchify(real, patch_size)
    number = counted.sum(-1, keepdim=True).clamp(min=1)
    mean = (truth * counted).sum(-1, keepdim=True) / number
    deviation = (((truth - mean) * counted).square().sum(-1, keepdim=True) / number).sqrt()
    return unpatchify(patchify(filled, patch_size) * deviation + mean, values.shape[1])


def plot_reconstruction(
    reconstruction: Reconstruction, *, start: float = 0.0, duration: float = 4.0, title: str = ""
) -> Figure:
    """Left what the model sees, with the hidden parts blank; right what it fills in, in colour over the truth.

    Args:
        reconstruction: of `reconstruct`.
        start: second of the record at which the picture starts.
        duration: seconds that it shows.
        title: heading of the picture.

    Raises:
        ValueError: the record has no sample between `start` and `start + duration`.
    """
    rate = reconstruction.sampling_rate
    first, last = round(start * rate), round((start + duration) * rate)
    if not 0 <= first < min(last, reconstruction.truth.shape[1]):
        length = reconstruction.truth.shape[1] / rate
        raise ValueError(f"start={start} and duration={duration} show nothing of a record of {length:g} s")
    leads = [row for row, present in enumerate(reconstruction.real) if present.any()]
    figure = Figure(figsize=(10.6, 1.1 + 0.42 * len(leads)), dpi=100, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    window = slice(first, last)
    time = np.arange(reconstruction.truth.shape[1])[window] / rate
    for place, lead in enumerate(leads):
        baseline = -ROW_STEP * place
        real = reconstruction.real[lead, window]
        hidden = reconstruction.hidden[lead, window]
        truth = np.where(real, reconstruction.truth[lead, window], np.nan) + baseline
        filled = reconstruction.filled[lead, window] + baseline
        for axes in (left, right):
            _shade(axes, time, hidden, baseline)
        seen = {"color": INK, "linewidth": 0.9, "gid": f"seen {lead}"}
        left.plot(time, np.where(hidden, np.nan, truth), **seen)
        right.plot(time, truth, color=GREY, linewidth=0.9, alpha=0.75, gid=f"truth {lead}")
        right.plot(time, np.where(hidden, filled, np.nan), color=TRAINED, linewidth=1.3, gid=f"filled {lead}")
    share = 100 * reconstruction.hidden.sum() / reconstruction.real.sum()
    headings = (
        f"What the model sees: {share:.0f} % is hidden",
        f"What it fills in (blue) and the truth (grey): error {reconstruction.error:.2f} of the variance",
    )
    names = [reconstruction.lead_names[lead] for lead in leads]
    for axes, heading in zip((left, right), headings, strict=True):
        _finish(axes, heading, names)
    left.set_xlim(time[0], time[-1] + 1 / rate)
    right.set_xlim(left.get_xlim())
    if title:
        figure.suptitle(title, fontsize=10, color=INK, weight="bold", x=0.01, ha="left")
    return figure


def _shade(axes: Axes, time: np.ndarray, hidden: np.ndarray, baseline: float) -> None:
    """Grey boxes behind the hidden parts of one lead."""
    step = time[1] - time[0] if len(time) > 1 else 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    spans = [(time[begin], time[end - 1] + step - time[begin]) for begin, end in edges.reshape(-1, 2)]
    axes.broken_barh(spans, (baseline - ROW_STEP / 2 + 0.15, ROW_STEP - 0.3), color=HIDDEN, linewidth=0, zorder=0)


def _finish(axes: Axes, heading: str, lead_names: Sequence[str]) -> None:
    axes.set_title(heading, loc="left", fontsize=9, color=INK)
    axes.set_xlabel("seconds", fontsize=8, color=GREY)
    # A QRS complex may be higher than its row; the picture cuts it only at the outer edge.
    axes.set_ylim(-ROW_STEP * (len(lead_names) - 0.4), ROW_STEP)
    axes.set_yticks([-ROW_STEP * place for place in range(len(lead_names))], lead_names)
    quiet_axes(axes)
