"""A 12-lead ECG on paper, true to scale: the sheet is planned, then drawn.

Only drawing lives here; what can be drawn, and how it becomes a record, is in `drawable.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from merit_hf.leads_merit import STANDARD_12, canonical_lead

from .drawable import DrawableEcg, as_record
from .style import FAINT, GREY, INK

MM_PER_INCH = 25.4
MM_PER_SECOND = 25.0
# Millimetres for one unit of the signal. Voltages have the usual 10 mm/mV; a z-scored QRS is several units high.
GAINS = {"mV": 10.0, "zscore": 2.5}
UNIT_NAMES = {"mV": "mV", "zscore": "SD (z-scored, no voltage)"}

PAPER, FINE_GRID, COARSE_GRID = "#fffdfb", "#f9e3df", "#efbdb5"

# Room on the paper, in mm. Multiples of 5, so that every row starts on a bold line.
LEFT_MARGIN, RIGHT_MARGIN, HEADER, FOOTER = 15.0, 5.0, 10.0, 10.0
MINIMUM_ROW, MAXIMUM_ROW = 20.0, 60.0
LABEL_HEIGHT, LABEL_WIDTH = 7.5, 11.0

LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "3x4": (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")),
    "6x2": tuple(zip(STANDARD_12[:6], STANDARD_12[6:], strict=True)),
}


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
    ecg: Any,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
    layout: str | None = None,
    rhythm_lead: str | None = "II",
    start: float = 0.0,
    gain: float | None = None,
    title: str | None = None,
) -> Figure:
    """Draws an ECG on paper: 25 mm/s and 10 mm/mV when saved or printed at the figure's own size.

    The level of a lead has no meaning in an ECG, so each lead's median lies on its baseline.

    Args:
        ecg: a path; a record (`signal` (leads, samples) in `units`, mV if it has none, NaN where missing); a row of a
            corpus; or an array or tensor (leads, samples). Leads may be absent or in any order.
        sampling_rate: of an array, in Hz; required there. Also for files that do not state it.
        lead_names: of an array, one a row; the standard twelve by default if it has twelve rows. Also for files.
        units: of an array, "mV" by default. Also for files.
        layout: `"3x4"` (2.5 s a lead) or `"6x2"` (5 s a lead) of the standard twelve, or `"rows"` (every lead of the
            record in full). By default `"3x4"`, and `"rows"` for fewer than seven standard leads.
        rhythm_lead: lead drawn in full below the `"3x4"` and `"6x2"` layouts, or None.
        start: second of the record at which the paper starts; it shows ten seconds at most.
        gain: millimetres for one unit; by default 10 for mV, 2.5 for z-scored signals.
        title: heading; by default the record's id, age and sex as far as they are known.

    Raises:
        ValueError: unknown layout, units or lead name; an array without its sampling rate; nothing to draw.
    """
    record = as_record(ecg, sampling_rate=sampling_rate, lead_names=lead_names, units=units)
    paper = plan_paper(record, layout=layout, rhythm_lead=rhythm_lead, start=start, gain=gain)
    figure = Figure(figsize=(paper.width / MM_PER_INCH, paper.height / MM_PER_INCH), dpi=150)
    draw_paper(figure.add_axes((0, 0, 1, 1)), record, paper, title)
    return figure


def plan_paper(
    record: DrawableEcg,
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


def draw_paper(axes: Axes, record: DrawableEcg, paper: Paper, title: str | None = None) -> None:
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


def _leads(record: DrawableEcg) -> dict[str, np.ndarray]:
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


def _title(record: DrawableEcg) -> str:
    age, sex = getattr(record, "age", None), getattr(record, "sex", None)
    name = getattr(record, "record_id", None) or "ECG"
    return "   ".join([str(name), *([f"{age:g} years"] if age is not None else []), *([str(sex)] if sex else [])])
