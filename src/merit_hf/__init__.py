"""MERIT for ECGs in the Hugging Face stack.

What lives here: the public names, each loaded when first used, and the registration with transformers. No logic may.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# module -> the names it offers at the top level
_PUBLIC_NAMES: dict[str, tuple[str, ...]] = {
    "configuration_merit": ("MeritConfig", "MeritEcgConfig"),
    "feature_extraction_merit": ("MeritFeatureExtractor",),
    "io": ("EcgRecord", "load_sample", "read_ecg"),
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


def _register() -> None:
    """Makes the Auto classes and `transformers.pipeline` know MERIT. Repeating it changes nothing."""
    from transformers import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForPreTraining,
        AutoModelForSequenceClassification,
        AutoProcessor,
    )

    from . import configuration_merit as configuration
    from . import modeling_merit as modeling
    from .feature_extraction_merit import MeritFeatureExtractor
    from .pipeline_merit import register_pipelines
    from .processing_merit import MeritProcessor

    ecg, both = configuration.MeritEcgConfig, configuration.MeritConfig
    for config_class in (ecg, both):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoFeatureExtractor.register(config_class, MeritFeatureExtractor, exist_ok=True)
    AutoProcessor.register(both, MeritProcessor, exist_ok=True)
    AutoModel.register(ecg, modeling.MeritEcgModel, exist_ok=True)
    AutoModel.register(both, modeling.MeritModel, exist_ok=True)
    AutoModelForPreTraining.register(both, modeling.MeritForPreTraining, exist_ok=True)
    AutoModelForSequenceClassification.register(ecg, modeling.MeritForEcgClassification, exist_ok=True)
    register_pipelines()


_register()
