"""Bars of scores and of AUROCs, one a label, beside those of a second model.

Only drawing lives here: scores are a pipeline's answer, AUROCs come from a results file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .style import GREY, INK, TRAINED, TRUTH, UNTRAINED, quiet_axes


def plot_scores(
    axes: Axes,
    scores: Sequence[Mapping[str, Any]],
    *,
    reference: Sequence[Mapping[str, Any]] | None = None,
    truth: Collection[str] = (),
    score_name: str = "score",
    names: tuple[str, str] = ("trained", "untrained"),
) -> None:
    """Horizontal bars of a pipeline's answer, best on top, beside those of a second model.

    Args:
        scores: `[{"label": str, "score": float}, ...]`, as the classification pipelines return it.
        reference: the same of another model; its labels must be those of `scores`.
        truth: labels that are known to be right; they are marked.
        score_name: what the bars are, for the axis.
        names: the two models, for the legend.

    Raises:
        ValueError: no scores, or labels that `scores` does not have.
    """
    if not scores:
        raise ValueError("scores is empty: give the answer of a classification pipeline for one record")
    ranked = sorted(scores, key=lambda answer: answer["score"], reverse=True)
    labels = [answer["label"] for answer in ranked]
    values = [answer["score"] for answer in ranked]
    others = None if reference is None else {answer["label"]: answer["score"] for answer in reference}
    for name, given in (("truth", set(truth)), ("reference", set(others or labels))):
        unknown = given - set(labels) if name == "truth" else given ^ set(labels)
        if unknown:
            raise ValueError(f"{name}: labels {sorted(unknown)} are not those of scores, {sorted(labels)}")
    _draw_pairs(axes, labels, values, None if others is None else [others[label] for label in labels], truth, names)
    axes.set_xlabel(score_name, color=GREY, fontsize=8)


def plot_aurocs(
    axes: Axes,
    results: Mapping[str, Any],
    *,
    reference: Mapping[str, Any] | None = None,
    label_names: Mapping[str, str] | None = None,
    names: tuple[str, str] = ("trained", "untrained"),
) -> None:
    """Per-label AUROC of a results file as bars, best on top, with chance as a line. Labels without one are left out.

    Args:
        results: results of one model, with `per_label: {label: {"auroc": float, "positives": int}}`.
        reference: results of another model for the same labels.
        label_names: what to write for a label; the label itself by default.
        names: the two models, for the legend.
    """
    aurocs = {
        label: row["auroc"]
        for label, row in results["per_label"].items()
        if row["auroc"] is not None and math.isfinite(row["auroc"])
    }
    if not aurocs:
        raise ValueError("results has no label with an AUROC: every label needs positives and negatives")
    labels = sorted(aurocs, key=lambda label: aurocs[label], reverse=True)
    others = None if reference is None else [reference["per_label"][label]["auroc"] for label in labels]
    shown = [(label_names or {}).get(label, label) for label in labels]
    _draw_pairs(axes, shown, [aurocs[label] for label in labels], others, (), names)
    axes.set_xlim(0, 1.12)  # room for the numbers
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel("AUROC (dashed: chance)", color=GREY, fontsize=8)


def _draw_pairs(
    axes: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    others: Sequence[float] | None,
    truth: Collection[str],
    names: tuple[str, str],
) -> None:
    """One bar a label and, if given, a thinner one of the other model below it; the first label on top."""
    places = -np.arange(len(labels), dtype=float)
    lift = 0.0 if others is None else 0.14
    if others is None:
        axes.barh(places, values, height=0.62, color=TRAINED)
    else:
        axes.barh(places + lift, values, height=0.46, color=TRAINED, label=names[0])
        axes.barh(places - 0.26, others, height=0.26, color=UNTRAINED, label=names[1])
    right = max([*values, *(others or []), 0.0])
    for height, value in zip(places, values, strict=True):
        # On white, because a reference line may pass behind the number.
        number = axes.text(value + 0.012 * right, height + lift, f"{value:.2f}", va="center", fontsize=7, color=GREY)
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})
    axes.set_ylim(-len(labels) + 0.4, 0.6)
    if right > 0:
        axes.set_xlim(min(0.0, *values, *(others or [0.0])), right * 1.12)
    handles, texts = axes.get_legend_handles_labels()
    if truth:
        handles.append(axes.scatter([], [], color=TRUTH, s=22))
        texts.append("true finding")
    if handles:
        # Above the bars, where no bar can reach.
        style: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": INK, "handlelength": 1.2}
        place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
        axes.legend(handles, texts, ncols=len(handles), columnspacing=1.2, **place, **style)
    quiet_axes(axes)
    axes.set_yticks(places, [f"{label}  ●" if label in truth else label for label in labels])
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set(color=TRUTH if label in truth else INK, weight="bold" if label in truth else "normal")
