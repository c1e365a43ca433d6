"""MERIT for ECGs in the Hugging Face stack.

What lives here: the public names, each loaded when first used. No logic may; transformers learns of MERIT in
registration.py.
"""

import importlib
from typing import Any

from .registration import register_with_transformers

__version__ = "0.1.0"

# module -> the names it offers at the top level
_PUBLIC_NAMES: dict[str, tuple[str, ...]] = {
    "configuration_merit": ("MeritConfig", "MeritEcgConfig"),
    "feature_extraction_merit": ("MeritFeatureExtractor",),
    "io": ("EcgRecord", "load_sample", "read_ecg", "register_format"),
    "leads_merit": ("STANDARD_12", "canonical_lead"),
    "modeling_merit": (
        "MeritEcgModel",
        "MeritForEcgClassification",
        "MeritForPreTraining",
        "MeritModel",
        "MeritPreTrainedModel",
        "require_complete",
    ),
    "objective_merit": ("gaussian_reconstruction_bound", "info_nce_bound"),
    "pipeline_merit": (
        "EcgClassificationPipeline",
        "EcgFeatureExtractionPipeline",
        "EcgZeroShotClassificationPipeline",
    ),
    "processing_merit": ("MeritProcessor",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC_NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value  # the next access is a plain look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_transformers()
