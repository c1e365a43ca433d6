"""Corpora: one file per corpus, their common parts, and the way from their rows to training batches.

Import the submodules; the names offered here load their module on first use.
"""

import importlib
from typing import Any

_MODULE_OF = {"describe": "description.describe", "load_corpus": "build.open", "record_from_row": "row"}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
