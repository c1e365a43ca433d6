"""How every picture of the project looks: its colours, and its quiet axes. Nothing is drawn here."""

from __future__ import annotations

from matplotlib.axes import Axes

INK, GREY, FAINT = "#1b1b1e", "#6d6d75", "#b9b9c0"
GRID = "#ececf0"
TRAINED, UNTRAINED, TRUTH = "#1f6f8b", "#c3cad1", "#c8452f"


def quiet_axes(axes: Axes) -> None:
    """Small grey ticks, no frame but for two thin lines: how all axes of the project look."""
    axes.tick_params(labelsize=8, length=0, colors=GREY)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_color("#d5d5da")
        axes.spines[side].set_visible(side in ("left", "bottom"))
