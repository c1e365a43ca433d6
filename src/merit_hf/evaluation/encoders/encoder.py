"""Encoders: what turns the ECGs of a corpus split into one vector of features each, frozen, ready for a probe.

A MERIT encoder, the same one untrained, random convolutions and any fitting model of the Hub give features through
the same feature extractor and the same windows. Features are cached, since they cost far more than what is fitted on
them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from huggingface_hub import constants
from torch import Tensor, nn
from transformers import AutoFeatureExtractor

from merit_hf import __version__
from merit_hf.evaluation.atomic_file import atomic_file
from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.hub_names import require_folder_or_hub_name
from merit_hf.modeling_merit import MeritEcgModel, require_complete

from .embedding import Encode, encode_windows, mean_by_record
from .hub_encoder import hub_encode, load_hub_model
from .random_convolutions import RandomConvolutions

logger = logging.getLogger(__name__)

HUB_PREFIX = "hf:"
KINDS = ("merit", "untrained", "random_convolutions", f"{HUB_PREFIX}NAME")
DRAWN_KINDS = ("untrained", "random_convolutions")  # with random weights
# What an encoder sees of a row; labels, reports and ids change nothing about its features.
_SEEN_COLUMNS = ("signal", "num_samples", "sampling_rate", "lead_names", "adc_gain", "units")
_READ_AT_ONCE = 4096


class Encoder(Protocol):
    """Anything that gives features of ECGs."""

    name: str

    def features(
        self, dataset: datasets.Dataset, *, batch_size: int = 64, description: str | None = None
    ) -> np.ndarray:
        """float32 (records, size), one row a record of the split."""

    def identity(self) -> dict[str, Any]:
        """All that makes the features what they are, as plain JSON: equal for equal features only."""


@dataclass
class ModelEncoder:
    """A torch model behind a feature extractor; features of a longer recording are the mean over its windows.

    Args:
        name: used in results.
        kind: one of `KINDS`.
        model: its device is used.
        encode: (input_values, padding_mask), both (windows, leads, samples) -> (windows, size).
        feature_extractor: makes the tensors.
        settings: what else makes the features, as plain JSON.
    """

    name: str
    kind: str
    model: nn.Module
    encode: Encode
    feature_extractor: MeritFeatureExtractor
    settings: dict[str, Any]

    def features(
        self, dataset: datasets.Dataset, *, batch_size: int = 64, description: str | None = None
    ) -> np.ndarray:
        """float32 (records, size), one row a record of the split.

        Raises:
            ValueError: a feature is not finite.
        """
        values, records = encode_windows(
            self.model, self.encode, self.feature_extractor, dataset, batch_size=batch_size, description=description
        )
        features = mean_by_record(values, records, len(dataset)).numpy()
        if not np.isfinite(features).all():
            record = int(np.argwhere(~np.isfinite(features))[0, 0])
            raise ValueError(f"encoder {self.name!r} gives features that are not finite, first for record {record}")
        return features

    def identity(self) -> dict[str, Any]:
        """Kind, digest of the weights, feature extractor, settings and version of this package."""
        return {
            "kind": self.kind,
            "weights": weights_digest(self.model),
            "feature_extractor": _settings_of(self.feature_extractor),
            "settings": self.settings,
            "version": __version__,
        }


def load_encoder(
    path: str | None = None,
    *,
    kind: str = "merit",
    device: str | torch.device | None = None,
    seed: int = 0,
    sampling_rate: float | None = None,
    num_kernels: int = 1000,
) -> ModelEncoder:
    """An encoder by its kind.

    Args:
        path: RUN folder or Hub id of a MERIT checkpoint. "merit" takes its weights, "untrained" its architecture, both
            its feature extractor; so does "random_convolutions" if it is given, to see the same tensors.
        kind: "merit": `pooler_output` of the ECG encoder. "untrained": the same with weights drawn by `seed`.
            "random_convolutions": see random_convolutions.py; needs no checkpoint. "hf:NAME": any model of the Hub or
            of a folder that hub_encoder.py can feed; it brings its own feature extractor.
        device: None takes a GPU if there is one.
        seed: of the weights that are drawn.
        sampling_rate: Hz, of random convolutions without `path`; 100 if left out.
        num_kernels: of random convolutions.

    Raises:
        ValueError: an unknown kind, a path missing, or a checkpoint that cannot be opened or lacks weights.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if kind.startswith(HUB_PREFIX) and len(kind) > len(HUB_PREFIX):
        name = kind.removeprefix(HUB_PREFIX)
        model, own_extractor, extractor = load_hub_model(name)
        model = model.to(device).eval()
        settings = {"own_feature_extractor": own_extractor.to_dict()}
        return ModelEncoder(kind, kind, model, hub_encode(model, own_extractor), extractor, settings)
    if kind not in KINDS[:-1]:
        raise ValueError(f"encoder is {kind!r}, expected one of {', '.join(KINDS)}")
    if sampling_rate is not None and (kind != "random_convolutions" or path is not None):
        raise ValueError(
            f"sampling_rate={sampling_rate:g} is for random_convolutions without a model; here the checkpoint's "
            "feature extractor says it"
        )
    if kind == "random_convolutions":
        rate = 100 if sampling_rate is None else sampling_rate
        extractor = MeritFeatureExtractor(sampling_rate=rate) if path is None else _feature_extractor(path)
        kernels = RandomConvolutions(len(extractor.lead_names), extractor.num_samples, num_kernels, seed)
        kernels = kernels.to(device).eval()
        return ModelEncoder(kind, kind, kernels, kernels, extractor, {})
    if path is None:
        raise ValueError(f"encoder {kind!r} needs a checkpoint: give the RUN folder or Hub id as --model")
    extractor = _feature_extractor(path)
    model = _opened(path, MeritEcgModel.from_pretrained)
    require_complete(model)
    if kind == "untrained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # On the CPU: the same seed gives the same weights whatever the model runs on.
            model = MeritEcgModel(copy.deepcopy(model.config))
    model = model.to(device).eval()

    def encode(values: Tensor, mask: Tensor) -> Tensor:
        return model(values, mask).pooler_output

    name = path if kind == "merit" else f"{path} (untrained, seed {seed})"
    return ModelEncoder(name, kind, model, encode, extractor, {"features": "pooler_output"})


def _opened(path: str, open_it: Callable[[str], Any]) -> Any:
    require_folder_or_hub_name(path)
    try:
        return open_it(path)
    except OSError as error:
        raise ValueError(f"model {path!r} cannot be opened: {' '.join(str(error).split())}") from error


def _feature_extractor(path: str) -> MeritFeatureExtractor:
    extractor = _opened(path, AutoFeatureExtractor.from_pretrained)
    if not hasattr(extractor, "windows"):
        raise ValueError(
            f"model {path!r} has a {type(extractor).__name__}, expected a MeritFeatureExtractor; a model of another "
            f"family is probed by --encoder {HUB_PREFIX}{path}"
        )
    return extractor


def _settings_of(extractor: MeritFeatureExtractor) -> dict[str, Any]:
    # Where it was opened from and who wraps it changes nothing; and tuples come back from JSON as lists.
    ignored = ("processor_class", "auto_map", "_processor_class", "name_or_path")
    settings = {name: value for name, value in extractor.to_dict().items() if name not in ignored}
    return json.loads(json.dumps(settings, sort_keys=True, default=str))


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and values of all weights and buffers that are saved."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        values = weight.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)};".encode())
        # NumPy knows no bfloat16, but bytes are bytes.
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b"")
    return digest.hexdigest()


def ecgs_digest(dataset: datasets.Dataset) -> str:
    """SHA-256 of all that an encoder sees of a corpus split: equal for equal ECGs in equal order."""
    digest = hashlib.sha256()
    table = dataset.select_columns(list(_SEEN_COLUMNS)).with_format("arrow")
    for start in range(0, len(dataset), _READ_AT_ONCE):
        part = table[start : start + _READ_AT_ONCE]
        for name in _SEEN_COLUMNS:
            column = part.column(name).combine_chunks()
            if hasattr(column, "value_lengths"):
                digest.update(column.value_lengths().to_numpy(zero_copy_only=False).tobytes())
                column = column.flatten()
            values = column.to_numpy(zero_copy_only=False)
            digest.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return digest.hexdigest()


def default_cache_dir() -> Path:
    """Folder of cached features, next to the other caches of the Hugging Face stack (`HF_HOME` moves them all)."""
    return Path(constants.HF_HOME) / "merit_hf" / "features"


def cached_features(
    encoder: Encoder,
    dataset: datasets.Dataset,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 64,
    description: str | None = None,
) -> np.ndarray:
    """Features of a corpus split, computed once: a file for each pair of encoder and ECGs.

    The name of the file is a digest of the encoder's identity, its weights included, and of the ECGs, so a changed
    checkpoint or corpus is never answered from it. Files are written whole or not at all, and a damaged one is
    computed again.

    Args:
        encoder: what to compute.
        dataset: map-style corpus split.
        cache_dir: None takes `default_cache_dir()`.
        batch_size, description: as in `Encoder.features`.

    Returns:
        float32 (records, size).
    """
    key = json.dumps({"encoder": encoder.identity(), "ecgs": ecgs_digest(dataset)}, sort_keys=True)
    folder = default_cache_dir() if cache_dir is None else Path(cache_dir)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if path.is_file():
        try:
            features = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            logger.warning("cached features %s cannot be read (%s); computing them again", path, error)
        else:
            if features.ndim == 2 and len(features) == len(dataset) and features.dtype == np.float32:
                return features
            logger.warning("cached features %s are not of %d records; computing them again", path, len(dataset))
    features = np.asarray(encoder.features(dataset, batch_size=batch_size, description=description), dtype=np.float32)
    if features.ndim != 2 or len(features) != len(dataset):
        raise ValueError(
            f"encoder {encoder.name!r} gave features of shape {features.shape}, expected ({len(dataset)}, size)"
        )
    with atomic_file(path) as file:
        np.save(file, features, allow_pickle=False)
    return features
