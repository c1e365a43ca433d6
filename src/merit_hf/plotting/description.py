"""One page of plots of a corpus: splits, labels, reports, persons, signals. Needs matplotlib (`merit-hf[plot]`).

Only drawing lives here; what is drawn was counted by `merit_hf.data.describe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from .style import GREY, INK, TRAINED, TRUTH, UNTRAINED, quiet_axes

MOST_LABELS = 24
SPLIT_COLORS = {"train": TRAINED, "validation": "#e0a53c", "test": TRUTH}
_SHADES = LinearSegmentedColormap.from_list("merit", ["#ffffff", TRAINED])
_FAULT_COLORS = (UNTRAINED, "#8e9aa6", "#e0a53c", TRAINED, TRUTH)


def plot_description(description: Mapping[str, Any], *, task: str | None = None) -> Figure:
    """A page about a corpus.

    Args:
        description: what `merit_hf.data.describe` returned, or the `description.json` of it.
        task: whose labels are drawn; by default that with the fewest labels beyond four, as they can be read.

    Raises:
        ValueError: the corpus has no such task.
    """
    tasks = description["tasks"]
    if task is not None and task not in tasks:
        raise ValueError(f"task={task!r} is not in the corpus; it has {', '.join(tasks) or 'none'}")
    if task is None and tasks:
        task = min(tasks, key=lambda name: (len(tasks[name]["labels"]) < 5, len(tasks[name]["labels"])))
    figure = Figure(figsize=(13.0, 10.5), dpi=130, layout="constrained")
    places = figure.subplots(3, 3)
    name = Path(description["corpus"]).name
    figure.suptitle(f"{name}: {description['records']:,} records", x=0.01, ha="left", color=INK, weight="bold")
    _splits(places[0, 0], description["splits"])
    _labels(places[0, 1], task, tasks)
    _together(places[0, 2], task, tasks)
    reports, persons, signals = description["reports"], description["persons"], description["signals"]
    _bars(places[1, 0], "Reports", _report_counts(description["records"], reports))
    _histogram(places[1, 1], "Words in a report", "words", reports["words"])
    _histogram(places[1, 2], "Age", "years", persons["age"])
    _histogram(places[2, 0], f"Length of a record ({_rates(signals)})", "seconds", signals["durations"])
    _amplitudes(places[2, 1], signals["amplitude"])
    _faults(places[2, 2], signals["leads"], description["records"])
    return figure


def _report_counts(records: int, reports: Mapping[str, Any]) -> dict[str, int]:
    languages = {f"language {name}": count for name, count in list(reports["languages"].items())[:5]}
    return {"with report": reports["records"], "different texts": reports["distinct"], **languages, "records": records}


def _rates(signals: Mapping[str, Any]) -> str:
    rates = list(signals["sampling_rates"])
    return f"{', '.join(rates[:4])}{' ...' if len(rates) > 4 else ''} Hz"


def _splits(axes: Axes, splits: Mapping[str, Any]) -> None:
    shown = {"records": "records", "patients": "patients", "with_report": "with report"}
    width = 0.8 / len(shown)
    for number, (key, name) in enumerate(shown.items()):
        heights = [counts[key] for counts in splits.values()]
        places = np.arange(len(splits)) + (number - 1) * width
        axes.bar(places, heights, width * 0.9, color=(TRAINED, UNTRAINED, GREY)[number], label=name)
        for place, height in zip(places, heights, strict=True):
            axes.text(place, height, f"{height:,}", ha="center", va="bottom", fontsize=6, color=GREY)
    axes.set_xticks(np.arange(len(splits)), list(splits))
    axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    _titled(axes, "Splits", "")


def _labels(axes: Axes, task: str | None, tasks: Mapping[str, Any]) -> None:
    if task is None:
        _nothing(axes, "Labels", "no task")
        return
    found = tasks[task]
    labels = _ranked(found)[:MOST_LABELS]
    splits = list(found["records"])
    height = 0.8 / len(splits)
    for number, split in enumerate(splits):
        shares = [100 * (found["labels"][label]["prevalence"][split] or 0.0) for label in labels]
        places = -np.arange(len(labels)) - (number - (len(splits) - 1) / 2) * height
        axes.barh(places, shares, height * 0.9, color=SPLIT_COLORS[split], label=split)
    axes.set_yticks(-np.arange(len(labels)), labels)
    axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    more = len(found["labels"]) - len(labels)
    _titled(
        axes, f"Labels of task {task}" + (f" ({more} rarer not shown)" if more else ""), "% of the records in the task"
    )
    if len(labels) > 12:
        axes.tick_params(axis="y", labelsize=6)


def _together(axes: Axes, task: str | None, tasks: Mapping[str, Any]) -> None:
    title = "% of the row's label with the column's"
    if task is None:
        _nothing(axes, title, "no task")
        return
    names = list(tasks[task]["labels"])
    labels = _ranked(tasks[task])[:MOST_LABELS]
    rows = [names.index(label) for label in labels]
    counts = np.array(tasks[task]["co_occurrence"], dtype=np.float64)[np.ix_(rows, rows)]
    own = np.diag(counts)[:, None]
    shares = 100 * np.divide(counts, own, out=np.zeros_like(counts), where=own > 0)
    axes.imshow(shares, cmap=_SHADES, vmin=0, vmax=100, aspect="auto")
    if len(labels) <= 10:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 55 else INK
            axes.text(float(column), float(row), f"{share:.0f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(np.arange(len(labels)), labels, rotation=90)
    axes.set_yticks(np.arange(len(labels)), labels)
    _titled(axes, title, "")
    if len(labels) > 12:
        axes.tick_params(labelsize=6)


def _ranked(found: Mapping[str, Any]) -> list[str]:
    """Labels by number of records, the most frequent first; without those that never occur, if any does."""
    totals = {label: sum(counts["positives"].values()) for label, counts in found["labels"].items()}
    some = {label: total for label, total in totals.items() if total} or totals
    return sorted(some, key=lambda label: -some[label])


def _bars(axes: Axes, title: str, counts: Mapping[str, int]) -> None:
    places = -np.arange(len(counts))
    axes.barh(places, list(counts.values()), 0.62, color=TRAINED)
    for place, count in zip(places.tolist(), counts.values(), strict=True):
        axes.text(count, place, f" {count:,}", va="center", fontsize=7, color=GREY)
    axes.set_yticks(places, list(counts))
    axes.set_xlim(0, 1.18 * max(1, *counts.values()))
    _titled(axes, title, "records")


def _histogram(axes: Axes, title: str, unit: str, summary: Mapping[str, Any] | None) -> None:
    if summary is None:
        _nothing(axes, title, "unknown")
        return
    axes.stairs(summary["histogram"]["counts"], summary["histogram"]["edges"], fill=True, color=TRAINED)
    axes.axvline(summary["median"], color=TRUTH, linewidth=1.0)
    if summary["min"] == summary["max"]:
        axes.set_xlim(summary["min"] - 1, summary["max"] + 1)
    axes.set_ylabel("records", fontsize=8, color=GREY)
    _titled(axes, title, f"{unit} (line: median {summary['median']:g})")


def _amplitudes(axes: Axes, amplitude: Mapping[str, Any]) -> None:
    """A bar a lead from the 1st to the 99th percentile of its values, a thicker one for the middle half."""
    names = {"mV": "mV", "zscore": "standard deviations (z-scored, no voltage)"}
    title = "Values of a lead: 1 to 99 %, middle half, median"
    units = next((units for units, leads in amplitude.items() if leads), None)
    if units is None:
        _nothing(axes, title, "no value")
        return
    leads = amplitude[units]
    for place, found in enumerate(leads.values()):
        values = found["values"]
        axes.plot([place] * 2, [values["p1"], values["p99"]], color=UNTRAINED, linewidth=4, solid_capstyle="butt")
        axes.plot([place] * 2, [values["p25"], values["p75"]], color=TRAINED, linewidth=7, solid_capstyle="butt")
        axes.plot([place - 0.3, place + 0.3], [values["p50"]] * 2, color=TRUTH, linewidth=1.2)
    axes.set_xticks(np.arange(len(leads)), list(leads))
    others = [name for name in amplitude if name != units and amplitude[name]]
    axes.set_ylabel(names[units] + ("; others not shown" if others else ""), fontsize=8, color=GREY)
    _titled(axes, title, "")


def _faults(axes: Axes, leads: Mapping[str, Mapping[str, int]], records: int) -> None:
    title = "Leads absent, missing, constant or clipped"
    kinds: Sequence[str] = list(next(iter(leads.values())))
    if not any(count for found in leads.values() for count in found.values()):
        _nothing(axes, title, "none")
        return
    bottom = np.zeros(len(leads))
    for kind, color in zip(kinds, _FAULT_COLORS, strict=True):
        heights = np.array([100 * found[kind] / records for found in leads.values()])
        if heights.any():
            axes.bar(np.arange(len(leads)), heights, 0.7, bottom=bottom, color=color, label=kind)
            bottom += heights
    axes.set_xticks(np.arange(len(leads)), list(leads))
    axes.set_ylabel("% of all records", fontsize=8, color=GREY)
    axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    _titled(axes, title, "")


def _nothing(axes: Axes, title: str, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", style="italic", color=GREY)
    axes.set(xticks=[], yticks=[])
    _titled(axes, title, "")


def _titled(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=INK, weight="bold")
    axes.set_xlabel(unit, fontsize=8, color=GREY)
    quiet_axes(axes)
