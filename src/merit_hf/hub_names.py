"""Telling names on the Hub from mistyped folders, before anything is looked for over the network."""

from __future__ import annotations

import os
import re
from pathlib import Path

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_name(path: str | os.PathLike[str]) -> bool:
    """Whether a path can only name something on the Hub.

    Where there is a folder `runs`, `runs/mien` is a mistyped folder and no model of an owner of that name.
    """
    return _HUB_NAME.fullmatch(str(path)) is not None and not Path(path).exists() and not Path(path).parent.is_dir()


def require_folder_or_hub_name(model: str | os.PathLike[str]) -> None:
    """Raises ValueError if a checkpoint is neither a folder that exists nor a name on the Hub."""
    if not (Path(model).is_dir() or is_hub_name(model)):
        raise ValueError(
            f"model {str(model)!r} cannot be opened: there is no such folder, and a Hub id is written owner/name"
        )
