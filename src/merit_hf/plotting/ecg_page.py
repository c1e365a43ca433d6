"""Pictures: a 12-lead ECG on paper true to scale, score bars, training curves. Needs matplotlib (`merit-hf[plot]`).

Only drawing lives here. What is drawn is computed elsewhere: a record, a pipeline's answer, results, a metrics file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from merit_hf.leads_merit import STANDARD_12, canonical_lead

MM_PER_INCH = 25.4
MM_PER_SECOND = 25.0
# Millimetres for one unit of the signal. Voltages have the usual 10 mm/mV; a z-scored QRS is several units high.
GAINS = {"mV": 10.0, "zscore": 2.5}
UNIT_NAMES = {"mV": "mV", "zscore": "SD (z-scored, no voltage)"}

PAPER, FINE_GRID, COARSE_GRID = "#fffdfb", "#f9e3df", "#efbdb5"
INK, GREY, FAINT = "#1b1b1e", "#6d6d75", "#b9b9c0"
TRAINED, UNTRAINED, TRUTH = "#1f6f8b", "#c3cad1", "#c8452f"

# Room on the paper, in mm. Multiples of 5, so that every row starts on a bold line.
LEFT_MARGIN, RIGHT_MARGIN, HEADER, FOOTER = 15.0, 5.0, 10.0, 10.0
MINIMUM_ROW, MAXIMUM_ROW = 20.0, 60.0
LABEL_HEIGHT, LABEL_WIDTH = 7.5, 11.0

LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "3x4": (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")),
    "6x2": tuple(zip(STANDARD_12[:6], STANDARD_12[6:], strict=True)),
}


class Recording(Protocol):
    """What can be drawn: an `EcgRecord` or anything with these attributes."""

    @property
    def signal(self) -> np.ndarray: ...

    @property
    def sampling_rate(self) -> float: ...

    @property
    def lead_names(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Strip:
    """One piece of one lead: where it starts on the paper (mm) and which seconds of the record it shows."""

    lead: str
    left: float
    baseline: float
    start: float
    stop: float


@dataclass(frozen=True)
class Paper:
    """A sheet of ECG paper, planned but not drawn. Lengths in mm, the origin at the lower left."""

    width: float
    height: float
    gain: float
    units: str
    strips: tuple[Strip, ...]
    pulses: tuple[float, ...]


def plot_ecg(
    record: Recording,
    *,
    layout: str | None = None,
    rhythm_lead: str | None = "II",
    start: float = 0.0,
    gain: float | None = None,
    title: str | None = None,
) -> Figure:
    """Draws a record on ECG paper: 25 mm/s and 10 mm/mV when saved or printed at the figure's own size.

    The level of a lead has no meaning in an ECG, so each lead's median lies on its baseline.

    Args:
        record: `signal` (leads, samples) in `units` (mV if it has none), NaN where missing; leads may be absent or in
            any order.
        layout: `"3x4"` (2.5 s a lead) or `"6x2"` (5 s a lead) of the standard twelve, or `"rows"` (every lead of the
            record in full). By default `"3x4"`, and `"rows"` for fewer than seven standard leads.
        rhythm_lead: lead drawn in full below the `"3x4"` and `"6x2"` layouts, or None.
        start: second of the record at which the paper starts; it shows ten seconds at most.
        gain: millimetres for one unit; by default 10 for mV, 2.5 for z-scored signals.
        title: heading; by default the record's id, age and sex as far as they are known.

    Raises:
        ValueError: unknown layout, units or lead name; nothing to draw.
    """
    paper = plan_paper(record, layout=layout, rhythm_lead=rhythm_lead, start=start, gain=gain)
    figure = Figure(figsize=(paper.width / MM_PER_INCH, paper.height / MM_PER_INCH), dpi=150)
    draw_paper(figure.add_axes((0, 0, 1, 1)), record, paper, title)
    return figure


def plan_paper(
    record: Recording,
    *,
    layout: str | None = None,
    rhythm_lead: str | None = "II",
    start: float = 0.0,
    gain: float | None = None,
) -> Paper:
    """Lays out the strips of [`plot_ecg`] on a sheet of the size they need. Rows are as high as their waves."""
    units = getattr(record, "units", None) or "mV"
    if units not in GAINS:
        raise ValueError(f"units={units!r} cannot be drawn to scale; expected one of {', '.join(map(repr, GAINS))}")
    leads = _leads(record)
    duration = min(10.0, len(next(iter(leads.values()))) / record.sampling_rate - start)
    if start < 0 or duration <= 0:
        length = len(next(iter(leads.values()))) / record.sampling_rate
        raise ValueError(f"start={start} s lies outside the record of {length:g} s; give a start within it")
    if layout is None:
        layout = "3x4" if sum(lead in STANDARD_12 for lead in leads) > 6 else "rows"
    if layout not in (*LAYOUTS, "rows"):
        raise ValueError(f"layout={layout!r} is not known; expected one of '3x4', '6x2', 'rows'")
    rows = list(LAYOUTS.get(layout, tuple((lead,) for lead in leads)))
    if layout in LAYOUTS and rhythm_lead is not None:
        rows.append((canonical_lead(rhythm_lead),))
    gain = GAINS[units] if gain is None else gain
    if not gain > 0:
        raise ValueError(f"gain={gain} must be a positive number of millimetres per unit")

    strips, pulses = [], []
    top = 0.0  # downwards from the header; turned round when the height is known
    for row in rows:
        seconds = duration / len(row)
        pieces = [(lead, start + i * seconds, start + (i + 1) * seconds) for i, lead in enumerate(row)]
        heights = [_extent(leads[lead], record.sampling_rate, a, b) for lead, a, b in pieces if lead in leads]
        up = _whole_squares(max((high for high, _ in heights), default=0.0) * gain + 5.0)
        down = _whole_squares(max((low for _, low in heights), default=0.0) * gain + 2.0)
        up = max(up, _whole_squares(gain + 2.0))  # room for the calibration pulse
        if up + down > MAXIMUM_ROW:
            up, down = _shrink(up, down)
        top += up
        strips += [Strip(lead, LEFT_MARGIN + (a - start) * MM_PER_SECOND, top, a, b) for lead, a, b in pieces]
        pulses.append(top)
        top += max(down, MINIMUM_ROW - up)
    height = HEADER + top + FOOTER
    strips = [Strip(s.lead, s.left, height - HEADER - s.baseline, s.start, s.stop) for s in strips]
    width = LEFT_MARGIN + _whole_squares(duration * MM_PER_SECOND) + RIGHT_MARGIN
    return Paper(width, height, gain, units, tuple(strips), tuple(height - HEADER - pulse for pulse in pulses))


def draw_paper(axes: Axes, record: Recording, paper: Paper, title: str | None = None) -> None:
    """Draws a planned sheet. It is true to scale where the axes measure `paper.width` by `paper.height` mm."""
    axes.set(xlim=(0, paper.width), ylim=(0, paper.height), xticks=[], yticks=[], facecolor=PAPER)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _draw_grid(axes, paper)
    leads = _leads(record)
    for strip in paper.strips:
        _draw_strip(axes, leads.get(strip.lead), record.sampling_rate, strip, paper.gain)
    for baseline in paper.pulses:
        # One unit high and 5 mm (0.2 s) wide, as electrocardiographs print it before each row.
        x = np.array([-10.0, -8.5, -8.5, -3.5, -3.5, -2.0]) + LEFT_MARGIN
        y = baseline + paper.gain * np.array([0, 0, 1, 1, 0, 0])
        axes.plot(x, y, color=INK, linewidth=0.9, solid_joinstyle="miter", gid="calibration")
    text: dict[str, Any] = {"color": INK, "fontsize": 9, "va": "center"}
    heading = _title(record) if title is None else title
    axes.text(LEFT_MARGIN - 10, paper.height - HEADER / 2, heading, weight="bold", **text)
    scale = f"{MM_PER_SECOND:g} mm/s    {paper.gain:g} mm/{UNIT_NAMES[paper.units]}"
    axes.text(paper.width - RIGHT_MARGIN, FOOTER / 2, scale, ha="right", **{**text, "color": GREY, "fontsize": 8})


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
        axes.grid(color="#ececf0", linewidth=0.8)
        quiet_axes(axes)
        if position == 0:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _leads(record: Recording) -> dict[str, np.ndarray]:
    """Name → samples (units), median removed, of the leads that have any finite sample."""
    signal = np.asarray(record.signal, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != len(record.lead_names):
        raise ValueError(f"signal of shape {signal.shape} must be ({len(record.lead_names)} lead_names, samples)")
    present = {
        canonical_lead(name): samples
        for name, samples in zip(record.lead_names, signal, strict=True)
        if np.isfinite(samples).any()
    }
    if not present:
        raise ValueError("nothing to draw: no lead of the record has a finite sample")
    return {name: samples - np.nanmedian(samples) for name, samples in present.items()}


def _extent(samples: np.ndarray, sampling_rate: float, start: float, stop: float) -> tuple[float, float]:
    """How far (units) the trace goes above and below its baseline between two seconds."""
    piece = samples[math.floor(start * sampling_rate) : math.ceil(stop * sampling_rate)]
    piece = piece[np.isfinite(piece)]
    if not piece.size:
        return 0.0, 0.0
    return max(piece.max(), 0.0), max(-piece.min(), 0.0)


def _whole_squares(length: float) -> float:
    """The next multiple of 5 mm, the bold squares of the paper."""
    return 5.0 * math.ceil(length / 5.0 - 1e-9)


def _shrink(up: float, down: float) -> tuple[float, float]:
    """A row is never higher than `MAXIMUM_ROW`: one artefact must not push the others off the page."""
    share = up / (up + down)
    up = min(max(5.0 * round(MAXIMUM_ROW * share / 5.0), 15.0), MAXIMUM_ROW - 5.0)
    return up, MAXIMUM_ROW - up


def _draw_grid(axes: Axes, paper: Paper) -> None:
    for step, color, width in ((1.0, FINE_GRID, 0.4), (5.0, COARSE_GRID, 0.7)):
        columns, rows = np.arange(0, paper.width + 0.5, step), np.arange(0, paper.height + 0.5, step)
        lines = [((x, 0.0), (x, paper.height)) for x in columns] + [((0.0, y), (paper.width, y)) for y in rows]
        grid = LineCollection(lines, colors=color, linewidths=width, zorder=0)
        grid.set_gid(f"grid {step:g} mm")
        axes.add_collection(grid)


def _draw_strip(axes: Axes, samples: np.ndarray | None, sampling_rate: float, strip: Strip, gain: float) -> None:
    if strip.left > LEFT_MARGIN:
        axes.plot([strip.left] * 2, [strip.baseline - 2, strip.baseline + 2], color=INK, linewidth=0.9)
    label: dict[str, Any] = {"fontsize": 9, "weight": "bold", "va": "center"}
    if samples is None:
        middle = strip.left + (strip.stop - strip.start) * MM_PER_SECOND / 2
        axes.text(strip.left + 1.5, strip.baseline + LABEL_HEIGHT, strip.lead, color=FAINT, **label)
        style: dict[str, Any] = {"fontsize": 8, "style": "italic", "ha": "center", "va": "center"}
        axes.text(middle, strip.baseline, "not recorded", color=GREY, **style)
        return
    first, last = round(strip.start * sampling_rate), round(strip.stop * sampling_rate)
    piece = samples[first:last]
    axes.plot(
        strip.left + (np.arange(first, first + len(piece)) / sampling_rate - strip.start) * MM_PER_SECOND,
        strip.baseline + piece * gain,
        color=INK,
        linewidth=0.9,
        solid_joinstyle="round",
        gid=f"lead {strip.lead}",
    )
    # The name stands above the waves beside it.
    high, _ = _extent(samples, sampling_rate, strip.start, strip.start + LABEL_WIDTH / MM_PER_SECOND)
    above = min(max(LABEL_HEIGHT, high * gain + 3.0), MAXIMUM_ROW - 15.0)
    axes.text(strip.left + 1.5, strip.baseline + above, strip.lead, color=INK, **label)


def _title(record: Recording) -> str:
    age, sex = getattr(record, "age", None), getattr(record, "sex", None)
    name = getattr(record, "record_id", None) or "ECG"
    return "   ".join([str(name), *([f"{age:g} years"] if age is not None else []), *([str(sex)] if sex else [])])


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


def quiet_axes(axes: Axes) -> None:
    """Small grey ticks, no frame but for two thin lines: how all axes of the project look."""
    axes.tick_params(labelsize=8, length=0, colors=GREY)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_color("#d5d5da")
        axes.spines[side].set_visible(side in ("left", "bottom"))


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
