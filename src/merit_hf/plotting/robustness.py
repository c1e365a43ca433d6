"""The picture of robustness curves. Other pictures of an evaluation are in plotting/results.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .ecg_page import GREY, INK, TRAINED, TRUTH, UNTRAINED, quiet_axes

_COLORS = (TRAINED, TRUTH, UNTRAINED, INK, GREY)


def plot_robustness(results: Mapping[str, Mapping[str, Any]], metric: str = "macro_auroc") -> Figure:
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
        if metric not in result["clean"]["metrics"]:
            known = ", ".join(result["clean"]["metrics"])
            raise ValueError(f"metric {metric!r} is not in the results of {name!r}, which have {known}")
    curves = first["curves"]
    columns = min(3, len(curves))
    num_rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.9 * columns, 3.3 * num_rows), dpi=150, layout="constrained")
    top = None
    for position, (curve, about) in enumerate(curves.items()):
        axes = figure.add_subplot(num_rows, columns, position + 1, sharey=top)
        top = top or axes
        levels = list(about["levels"])
        for number, (name, result) in enumerate(results.items()):
            color = _COLORS[number % len(_COLORS)]
            shift = 0.12 * (number - (len(results) - 1) / 2)
            found = result["curves"].get(curve, {"levels": {}})["levels"]
            scored = [
                (levels.index(level), found[level]["metrics"][metric]) for level in levels if _is_scored(found, level)
            ]
            if not scored:
                continue
            places = [place + shift for place, _ in scored]
            values = [each["value"] for _, each in scored]
            ends = [
                [each["value"] - each["ci_low"] for _, each in scored],
                [each["ci_high"] - each["value"] for _, each in scored],
            ]
            axes.errorbar(
                places, values, ends, color=color, marker="o", markersize=3.5, linewidth=1.2, capsize=2, label=name
            )
            axes.axhline(
                result["clean"]["metrics"][metric]["value"], color=color, linewidth=0.8, linestyle=(0, (4, 3))
            )
        axes.set_title(about["title"], loc="left", fontsize=9, color=INK, weight="bold")
        # Names are long where levels are not numbers.
        tilted = max(map(len, levels)) > 4
        axes.set_xticks(range(len(levels)), levels, rotation=35 if tilted else 0, ha="right" if tilted else "center")
        axes.grid(axis="y", color="#ececf0", linewidth=0.8)
        quiet_axes(axes)
        if position % columns == 0:
            axes.set_ylabel(metric.replace("_", " "), fontsize=8, color=GREY)
        if position == 0:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _is_scored(levels: Mapping[str, Any], level: str) -> bool:
    return level in levels and "reason" not in levels[level]
