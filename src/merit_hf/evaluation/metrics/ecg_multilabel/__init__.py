"""The folder of the `evaluate` metric, and the path by which `evaluate.load` opens it.

evaluate.load(ecg_multilabel.path())
"""

from pathlib import Path


def path() -> str:
    """Folder for `evaluate.load`; everything in it works without the network and without merit_hf."""
    return str(Path(__file__).parent)
