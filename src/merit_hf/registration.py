"""Makes transformers know MERIT: its Auto classes and `transformers.pipeline`.

That needs most of transformers and torch, seconds of importing. Whoever only reads, plots or converts ECGs is spared
them: registration waits until transformers is imported, here or by anybody else. No other logic may live here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register() -> None:
    """Registers every class with the Auto class it belongs to, and the pipelines. Repeating it changes nothing."""
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


class _RegisterAfterLoading(MetaPathFinder):
    """Finds transformers and this package's flat modules as Python would, and registers once they are loaded.

    The flat modules are watched because one of them may be what imports transformers first: it must be whole before
    registration can import it.
    """

    def __init__(self) -> None:
        self.loading: set[str] = set()
        self.done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = fullname.startswith(f"{__package__}.") and fullname.endswith("_merit")
        if self.done or not (ours or fullname == "transformers"):
            return None  # the next finder is asked
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            self.loading.add(fullname)
            try:
                load(module)
            finally:
                self.loading.discard(fullname)
            self.register_if_ready()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec

    def register_if_ready(self) -> None:
        if not self.done and not self.loading and "transformers" in sys.modules:
            self.done = True
            try:
                _register()
            except BaseException:
                self.done = False  # the next import tries again, and says again what is wrong
                raise


def register_with_transformers() -> None:
    """Registers now if transformers is imported, and otherwise as soon as it is."""
    finder = _RegisterAfterLoading()
    sys.meta_path.insert(0, finder)
    finder.register_if_ready()
