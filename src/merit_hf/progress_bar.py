"""The progress bar of a long job, in terminals that tell their width and in those that do not."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm.auto import tqdm

WIDTH_IF_UNKNOWN = 80


def progress_bar(**options: Any) -> Any:
    """A tqdm bar on stderr that follows the width of the terminal.

    Some terminals (a new pseudo-terminal, some containers) and `COLUMNS=0` state a width of 0, for which tqdm draws an
    empty line. The bar is then `WIDTH_IF_UNKNOWN` columns wide.

    Args:
        options: of `tqdm`.
    """
    # Such a terminal states a height of 0 too, in which tqdm would hide the bar.
    size: dict[str, Any] = {"ncols": WIDTH_IF_UNKNOWN, "nrows": 24}
    return tqdm(**options, **({"dynamic_ncols": True} if _width_is_known() else size))


def _width_is_known() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # no terminal: tqdm then looks at COLUMNS
        columns = os.environ.get("COLUMNS", "")
        return not columns.isdigit() or int(columns) > 1  # tqdm leaves one column free
