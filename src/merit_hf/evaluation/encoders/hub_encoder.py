"""Models of other families as encoders of ECGs: which can be fed, how, and what is kept of their states.

Two kinds of feature extractor can be fed. One that takes ECGs itself (it has `lead_names` and `windows`, as
`MeritFeatureExtractor` has) is called with records. One that takes mono sound (`feature_size` 1 and a sampling rate,
as that of wav2vec 2.0, HuBERT or the audio spectrogram transformer) is given every lead as a recording of its own,
normalised and resampled to its rate, and features are averaged over the leads. Of the model `last_hidden_state` is
averaged over all its tokens.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel

from merit_hf.feature_extraction_merit import MeritFeatureExtractor

from .embedding import Encode


def load_hub_model(name: str) -> tuple[Any, Any, Any]:
    """A model, its own feature extractor, and the extractor that makes tensors of ECGs for it.

    The last two are the same object where the model's extractor takes ECGs.

    Args:
        name: Hub id or folder, holding both a model and a feature extractor.

    Raises:
        ValueError: nothing there, no feature extractor, weights missing, or a model that cannot be fed.
    """
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
        model, info = AutoModel.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"hf:{name} cannot be opened as AutoModel with an AutoFeatureExtractor: {' '.join(str(error).split())}"
        ) from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ValueError(f"hf:{name} lacks {len(missing)} weights, which would be random, e.g. {missing[0]!r}")
    if hasattr(model, "ecg_model"):
        raise ValueError(f"hf:{name} is a MERIT model of two towers; probe it by --encoder merit --model {name}")
    takes_ecgs = hasattr(extractor, "lead_names") and hasattr(extractor, "windows")
    mono = getattr(extractor, "feature_size", None) == 1 or "num_mel_bins" in vars(extractor)
    inputs = getattr(extractor, "model_input_names", [])
    if model.config.is_encoder_decoder or model.main_input_name not in inputs:
        raise ValueError(
            f"hf:{name} cannot be fed: {type(model).__name__} takes {model.main_input_name!r}, and "
            f"{type(extractor).__name__} makes {list(inputs)}; expected an encoder whose input the extractor makes"
        )
    if takes_ecgs:
        return model, extractor, extractor
    rate = getattr(extractor, "sampling_rate", None)
    if not mono or rate is None:
        raise ValueError(
            f"hf:{name} has a {type(extractor).__name__}, which takes neither ECGs (lead_names, windows) nor mono "
            "sound (feature_size 1, sampling_rate)"
        )
    return model, extractor, MeritFeatureExtractor(sampling_rate=rate)


def hub_encode(model: Any, own_extractor: Any) -> Encode:
    """The function from `input_values` and `padding_mask` (windows, leads, samples) to features (windows, size)."""
    if hasattr(own_extractor, "lead_names"):
        takes_mask = "padding_mask" in inspect.signature(model.forward).parameters

        def encode_ecgs(values: Tensor, mask: Tensor) -> Tensor:
            given = {"padding_mask": mask} if takes_mask else {}
            return _token_mean(model(**{model.main_input_name: values}, **given))

        return encode_ecgs

    def encode_leads(values: Tensor, mask: Tensor) -> Tensor:
        present = mask.any(dim=-1)  # (windows, leads)
        sounds = own_extractor(
            list(values[present].cpu().numpy()), sampling_rate=own_extractor.sampling_rate, return_tensors="pt"
        )
        features = _token_mean(model(**{model.main_input_name: sounds[model.main_input_name].to(values.device)}))
        sums = features.new_zeros(len(values), features.shape[-1])
        window = torch.nonzero(present)[:, 0]
        return sums.index_add_(0, window, features) / present.sum(dim=1, keepdim=True)

    return encode_leads


def _token_mean(output: Any) -> Tensor:
    if getattr(output, "last_hidden_state", None) is None:
        raise ValueError(f"the model returns a {type(output).__name__} without last_hidden_state, which is averaged")
    state = output.last_hidden_state
    return state.flatten(1, -2).mean(dim=1)
