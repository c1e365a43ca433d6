"""What a fine-tuning starts from: feature extractor and classifier as the arguments describe them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from merit_hf.command_line import as_plain
from merit_hf.configuration_merit import MeritConfig, MeritEcgConfig
from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.hub_names import require_folder_or_hub_name
from merit_hf.modeling_merit import MeritEcgModel, MeritForEcgClassification, require_complete

from .arguments import FinetuningArguments


def starting_processor(arguments: FinetuningArguments) -> MeritFeatureExtractor:
    """The feature extractor of the model to start from, or one of the arguments."""
    if arguments.model is None:
        return MeritFeatureExtractor(**as_plain(arguments.feature_extractor))
    require_folder_or_hub_name(arguments.model)
    try:
        extractor: MeritFeatureExtractor = MeritFeatureExtractor.from_pretrained(arguments.model)
    except OSError as error:
        raise _cannot_be_opened(arguments.model, error) from error
    return extractor


def starting_model(
    arguments: FinetuningArguments, feature_extractor: MeritFeatureExtractor, label_names: Sequence[str]
) -> MeritForEcgClassification:
    """A classifier with the encoder of a checkpoint, or of random weights, and a new head.

    torch's random state decides what is random. Thresholds and calibration of an earlier fine-tuning are dropped.

    Args:
        arguments: of the run.
        feature_extractor: of `starting_processor`; decides the shape of the input of a model without checkpoint.
        label_names: one an output, in the order of the columns of the targets.

    Raises:
        ValueError: no such checkpoint, one that lacks weights of the encoder, or fields that the configuration
            refuses.
    """
    encoder = None
    if arguments.model is None:
        config = _new_config(arguments, feature_extractor)
    else:
        try:
            encoder = MeritEcgModel.from_pretrained(arguments.model)
        except OSError as error:
            raise _cannot_be_opened(arguments.model, error) from error
        require_complete(encoder)
        config = copy.deepcopy(encoder.config)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: number for number, name in enumerate(label_names)}
    config.problem_type = "multi_label_classification"
    config.thresholds = config.calibration = None
    config.classifier_head = arguments.classifier_head
    for field in ("attention_dropout", "hidden_dropout"):
        if getattr(arguments, field) is not None:
            setattr(config, field, getattr(arguments, field))
    model = MeritForEcgClassification(config)
    if encoder is not None and not arguments.from_scratch:
        model.ecg_model.load_state_dict(encoder.state_dict())
    return model


def _new_config(arguments: FinetuningArguments, feature_extractor: MeritFeatureExtractor) -> MeritEcgConfig:
    fields = as_plain(arguments.encoder)
    shape = {
        "num_leads": len(feature_extractor.lead_names),
        "num_samples": feature_extractor.num_samples,
        "sampling_rate": feature_extractor.sampling_rate,
    }
    try:
        return MeritConfig.from_preset(fields.pop("preset", "tiny"), ecg_config={**fields, **shape}).ecg_config
    except StrictDataclassError as error:
        raise ValueError(f"encoder: {' '.join(str(error.__cause__ or error).split())}") from error


def _cannot_be_opened(model: str, error: Any) -> ValueError:
    return ValueError(f"model {model!r} cannot be opened: {' '.join(str(error).split())}")
