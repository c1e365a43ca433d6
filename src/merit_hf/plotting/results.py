"""Pictures of an evaluation: metrics with intervals, ROC and precision-recall curves, reliability, labels that meet.

Only drawing lives here (needs `merit-hf[plot]`); what is drawn are predictions (predictions.py) and result entries
(results.py). ECGs are drawn by ecg_page.py, training and robustness curves by curves.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from merit_hf.evaluation.predictions import Predictions
from merit_hf.evaluation.results import Comparison, Result

from .style import GREY, GRID, INK, TRAINED, TRUTH, quiet_axes

MOST_CURVES = 8  # labels of one picture; more cannot be told apart


def plot_intervals(results: Mapping[str, Mapping[str, Result]], metric: str = "macro_auroc") -> Figure:
    """One metric of several models as points with their intervals, one panel an evaluation.

    Args:
        results: title of a panel -> name of a model -> result entry.
        metric: key of `metrics` in every entry.
    """
    if not results or not all(results.values()):
        raise ValueError("results is empty: give at least one entry for every panel")
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    most = max(len(models) for models in results.values())
    figure = Figure(figsize=(4.2 * columns, rows * (0.9 + 0.28 * most)), dpi=150, layout="constrained")
    for position, (title, models) in enumerate(results.items()):
        axes = figure.add_subplot(rows, columns, position + 1)
        names = list(models)[::-1]  # matplotlib counts from below
        for height, name in enumerate(names):
            entry = models[name].metrics[metric]
            low, high = entry.ci_low, entry.ci_high
            axes.plot([low, high], [height, height], color=TRAINED, linewidth=2, solid_capstyle="butt")
            axes.plot(entry.value, height, "o", color=TRAINED, markersize=5)
            if entry.values:
                axes.plot(entry.values, [height] * len(entry.values), "|", color=INK, markersize=7)
            axes.annotate(
                f"{entry.value:.3f}",
                (high, height),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=INK,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(title, loc="left", fontsize=9, color=INK, weight="bold")
        axes.set_xlabel(f"{metric.replace('_', ' ')}, 95 % interval", fontsize=8, color=GREY)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.margins(x=0.16)
        quiet_axes(axes)
    return figure


def plot_roc_and_precision_recall(predictions: Predictions, title: str = "") -> Figure:
    """ROC and precision-recall curves of the labels with the most positives, `MOST_CURVES` of them at most."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = Figure(figsize=(8.8, 4.2), dpi=150, layout="constrained")
    roc, recall = figure.subplots(1, 2)
    for color, column in zip(colormaps["tab10"].colors, frequent_labels(predictions), strict=False):  # type: ignore[attr-defined]
        targets, scores = predictions.targets[:, column], predictions.scores[:, column]
        false_positives, true_positives, _ = roc_curve(targets, scores)
        roc.plot(false_positives, true_positives, color=color, linewidth=1.2)
        precision, found, _ = precision_recall_curve(targets, scores)
        label = f"{predictions.label_names[column]} ({targets.sum()})"
        recall.plot(found, precision, color=color, linewidth=1.2, label=label)
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for axes, (x, y) in ((roc, ("false positive rate", "sensitivity")), (recall, ("sensitivity", "precision"))):
        axes.set_xlabel(x, fontsize=8, color=GREY)
        axes.set_ylabel(y, fontsize=8, color=GREY)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.grid(color=GRID, linewidth=0.8)
        quiet_axes(axes)
    recall.legend(title="label (positives)", frameon=False, fontsize=7, title_fontsize=7, labelcolor=INK)
    roc.set_title(title, loc="left", fontsize=9, color=INK, weight="bold")
    return figure


def plot_reliability(predictions: Mapping[str, Predictions], num_bins: int = 10) -> Figure:
    """Observed frequency against predicted probability, all labels pooled, and how many predictions each bin holds.

    Args:
        predictions: name of a model -> its predictions, which must be probabilities.
        num_bins: bins of equal width.
    """
    figure = Figure(figsize=(4.6, 5.2), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    for color, (name, given) in zip(colormaps["tab10"].colors, predictions.items(), strict=False):  # type: ignore[attr-defined]
        if given.score_kind != "probability":
            raise ValueError(
                f"the scores of {name!r} are of kind {given.score_kind!r}; reliability needs probabilities"
            )
        scores, targets = given.scores.ravel(), given.targets.ravel()
        bins = np.minimum((scores * num_bins).astype(int), num_bins - 1)
        counts = np.bincount(bins, minlength=num_bins)
        filled = counts > 0
        mean_score = np.bincount(bins, scores, num_bins)[filled] / counts[filled]
        frequency = np.bincount(bins, targets, num_bins)[filled] / counts[filled]
        upper.plot(mean_score, frequency, "o-", color=color, markersize=4, linewidth=1.2, label=name)
        lower.stairs(counts, edges, color=color)
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    upper.set_ylabel("observed frequency", fontsize=8, color=GREY)
    upper.legend(frameon=False, fontsize=8, labelcolor=INK)
    lower.set_yscale("log")
    lower.set_ylabel("predictions", fontsize=8, color=GREY)
    lower.set_xlabel("predicted probability", fontsize=8, color=GREY)
    for axes in (upper, lower):
        axes.grid(color=GRID, linewidth=0.8)
        quiet_axes(axes)
    return figure


def plot_co_occurrence(predictions: Predictions, thresholds: Mapping[str, float], title: str = "") -> Figure:
    """How often a label is predicted where another one is true: confusion of labels that may occur together.

    A row holds the records that truly have one label, a column the share of them for which another is predicted. High
    off the diagonal means: confused, or truly together; the small number below is the share that truly has it.

    Args:
        predictions: of one model.
        thresholds: label -> score from which it counts as predicted; labels without one are left out.
        title: of the picture.
    """
    columns = [column for column in frequent_labels(predictions, 20) if predictions.label_names[column] in thresholds]
    if not columns:
        raise ValueError("thresholds has none of the labels that have positives")
    names = [predictions.label_names[column] for column in columns]
    targets = predictions.targets[:, columns]
    predicted = predictions.scores[:, columns] >= np.array([thresholds[name] for name in names])
    positives = targets.sum(axis=0)[:, None]
    shares = targets.T.astype(float) @ predicted / positives
    truth = targets.T.astype(float) @ targets / positives
    side = 1.8 + 0.55 * len(names)
    figure = Figure(figsize=(side, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            color = "white" if shares[row, column] > 0.6 else INK
            axes.text(
                column, row - 0.1, f"{shares[row, column]:.2f}", ha="center", va="center", fontsize=7, color=color
            )
            axes.text(
                column, row + 0.25, f"{truth[row, column]:.2f}", ha="center", va="center", fontsize=5, color=color
            )
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(
        range(len(names)), [f"{name} ({count})" for name, count in zip(names, positives[:, 0], strict=True)]
    )
    axes.set_xlabel("predicted (small: true)", fontsize=8, color=GREY)
    axes.set_ylabel("true (positives)", fontsize=8, color=GREY)
    axes.set_title(title, loc="left", fontsize=9, color=INK, weight="bold")
    quiet_axes(axes)
    return figure


def plot_difference(differences: Mapping[str, Comparison]) -> Figure:
    """Paired differences with their intervals, zero marked.

    Args:
        differences: title -> comparison, all of one metric.
    """
    if not differences:
        raise ValueError("differences is empty: give at least one comparison")
    figure = Figure(figsize=(6.4, 0.9 + 0.3 * len(differences)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    titles = list(differences)[::-1]  # matplotlib counts from below
    for height, title in enumerate(titles):
        entry = differences[title]
        axes.plot([entry.ci_low, entry.ci_high], [height, height], color=TRAINED, linewidth=2)
        axes.plot(entry.difference, height, "o", color=TRAINED, markersize=5)
    axes.axvline(0, color=TRUTH, linewidth=0.8)
    axes.set_yticks(range(len(titles)), titles)
    metric = differences[titles[0]].metric
    axes.set_xlabel(f"difference of {metric.replace('_', ' ')}, 95 % interval", fontsize=8, color=GREY)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    quiet_axes(axes)
    return figure


def frequent_labels(predictions: Predictions, most: int = MOST_CURVES) -> list[int]:
    """Columns of the labels that have positives and negatives, most positives first."""
    positives = predictions.targets.sum(axis=0)
    order = np.argsort(-positives, kind="stable")
    return [int(column) for column in order if 0 < positives[column] < len(predictions)][:most]
