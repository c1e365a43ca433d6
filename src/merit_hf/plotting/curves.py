"""Curves: losses and read-outs over the steps of a training, and metrics over the levels of a perturbation.

Only drawing lives here: training writes metrics.jsonl, and `merit_hf.evaluation.robustness` measures the levels.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from merit_hf.evaluation.results import RobustnessResult

from .style import GREY, GRID, INK, TRAINED, TRUTH, UNTRAINED, quiet_axes

_COLORS = (TRAINED, TRUTH, UNTRAINED, INK, GREY)


def plot_training_curves(metrics: str | os.PathLike[str] | Sequence[Mapping[str, Any]]) -> Figure:
    """Both losses and both read-outs of a pretraining run against the step, validation beside training.

    Args:
        metrics: a `metrics.jsonl`, the RUN folder that holds it, or its lines as mappings.

    Raises:
        ValueError: unreadable lines, or no curve in them.
    """
    rows = _read_metrics(metrics) if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    panels = {
        "reconstruction_loss": ("reconstruction loss", "mean squared error"),
        "contrastive_loss": ("contrastive loss", "nats"),
        "structure_information": ("structure: gain over the mean", "nats per masked sample"),
        "semantic_information": ("semantics: bound of I(ECG; report)", "nats"),
    }
    curves = {
        name: [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        for panel in panels
        for name in (panel, f"validation_{panel}")
    }
    present = [panel for panel in panels if curves[panel] or curves[f"validation_{panel}"]]
    if not present:
        raise ValueError(f"no curve to draw: none of {', '.join(panels)} stands in the {len(rows)} lines of metrics")
    columns = min(2, len(present))
    figure = Figure(figsize=(4.4 * columns, 2.7 * math.ceil(len(present) / columns)), dpi=150, layout="constrained")
    for position, panel in enumerate(present):
        axes = figure.add_subplot(math.ceil(len(present) / columns), columns, position + 1)
        title, unit = panels[panel]
        for name, label, color, marker in (
            (panel, "training", TRAINED, ""),
            (f"validation_{panel}", "validation", TRUTH, "o"),
        ):
            if curves[name]:
                steps, values = zip(*curves[name], strict=True)
                axes.plot(steps, values, color=color, linewidth=1.2, marker=marker, markersize=3, label=label)
        axes.set_title(title, loc="left", fontsize=9, color=INK, weight="bold")
        axes.set_xlabel("step", fontsize=8, color=GREY)
        axes.set_ylabel(unit, fontsize=8, color=GREY)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(color=GRID, linewidth=0.8)
        quiet_axes(axes)
        if position == 0:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def plot_robustness(results: Mapping[str, RobustnessResult], metric: str = "macro_auroc") -> Figure:
    """Robustness curves of one or several models: a panel a curve, levels from left to right, intervals as bars.

    Args:
        results: name -> result of `robustness.robustness`; panels are those of the first.
        metric: one of the metrics in the results.

    Raises:
        ValueError: no results, or none of them has the metric.
    """
    if not results:
        raise ValueError("results is empty: give at least one result of robustness")
    first = next(iter(results.values()))
    for name, result in results.items():
        if metric not in result.clean.metrics:
            known = ", ".join(result.clean.metrics)
            raise ValueError(f"metric {metric!r} is not in the results of {name!r}, which have {known}")
    curves = first.curves
    columns = min(3, len(curves))
    num_rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.9 * columns, 3.3 * num_rows), dpi=150, layout="constrained")
    top = None
    for position, (curve, about) in enumerate(curves.items()):
        axes = figure.add_subplot(num_rows, columns, position + 1, sharey=top)
        top = top or axes
        levels = list(about.levels)
        for number, (name, result) in enumerate(results.items()):
            color = _COLORS[number % len(_COLORS)]
            shift = 0.12 * (number - (len(results) - 1) / 2)
            found = result.curves[curve].levels if curve in result.curves else {}
            scored = [
                (place, found[level].metrics[metric])
                for place, level in enumerate(levels)
                if level in found and not found[level].reason
            ]
            if not scored:
                continue
            places = [place + shift for place, _ in scored]
            values = [each.value for _, each in scored]
            ends = [
                [each.value - each.ci_low for _, each in scored],
                [each.ci_high - each.value for _, each in scored],
            ]
            axes.errorbar(
                places, values, ends, color=color, marker="o", markersize=3.5, linewidth=1.2, capsize=2, label=name
            )
            axes.axhline(result.clean.metrics[metric].value, color=color, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_title(about.title, loc="left", fontsize=9, color=INK, weight="bold")
        # Names are long where levels are not numbers.
        tilted = max(map(len, levels)) > 4
        axes.set_xticks(range(len(levels)), levels, rotation=35 if tilted else 0, ha="right" if tilted else "center")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        quiet_axes(axes)
        if position % columns == 0:
            axes.set_ylabel(metric.replace("_", " "), fontsize=8, color=GREY)
        if position == 0:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    file = Path(path) / "metrics.jsonl" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ValueError(f"{file} is not a file: give a metrics.jsonl or the folder of a run that has one")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}, line {number} is not JSON ({error.msg}): {line[:60]!r}") from None
    return rows
