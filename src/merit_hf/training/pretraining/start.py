"""What a run starts from: processor and model as the arguments describe them, before any step of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, cast

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerBase

from merit_hf.command_line import as_plain
from merit_hf.configuration_merit import MeritConfig
from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.modeling_merit import MeritForPreTraining
from merit_hf.processing_merit import MeritProcessor

from .arguments import PretrainingArguments
from .report_language_check import warn_of_foreign_reports
from .text_tower import load_text_tower, small_text_config, train_tokenizer

# A corpus without reports trains no text tower, but a model has one, and its tokenizer must know a word.
_ONLY_TEXT = "ecg."


def starting_config(arguments: PretrainingArguments, stage: int | None = None) -> MeritConfig:
    """The model's configuration without its text tower; of one stage if `stage` is given.

    The shape of the input follows from the feature extractor's arguments.

    Raises:
        ValueError: fields that the configuration refuses.
    """
    extractor = MeritFeatureExtractor(**as_plain(arguments.feature_extractor))
    fields = as_plain(arguments.model)
    ecg_fields = {
        **fields.pop("ecg_config", {}),
        "num_leads": len(extractor.lead_names),
        "num_samples": extractor.num_samples,
        "sampling_rate": extractor.sampling_rate,
    }
    if stage is not None:
        fields.update(arguments.stages[stage].model_fields())
    preset = fields.pop("preset", "tiny")
    try:
        return MeritConfig.from_preset(preset, ecg_config=ecg_fields, **fields)
    except StrictDataclassError as error:
        where = "model" if stage is None or len(arguments.stages) == 1 else f"model in stage {stage}"
        raise ValueError(f"{where}: {' '.join(str(error.__cause__ or error).split())}") from error


def starting_processor(arguments: PretrainingArguments, reports: Iterable[str]) -> MeritProcessor:
    """The processor: extractor of the arguments, tokenizer of `text_model` or one trained on `reports`.

    Args:
        reports: cleaned reports of the training split: a tokenizer is trained on them, or their language compared with
            that of `text_model`.
    """
    extractor = MeritFeatureExtractor(**as_plain(arguments.feature_extractor))
    max_length = starting_config(arguments).max_text_length
    tokenizer: PreTrainedTokenizerBase
    if arguments.text_model is None:
        vocab_size = arguments.text_tower.vocab_size
        texts = [report for report in reports if report] or [_ONLY_TEXT]
        tokenizer = train_tokenizer(texts, vocab_size=vocab_size, max_length=max_length)
    else:
        tokenizer = load_text_tower(arguments.text_model)[1]
        warn_of_foreign_reports(arguments, tokenizer, reports)
        # Reports longer than the model was configured for are cut by the processor, pretrained tokenizer or not.
        tokenizer.model_max_length = min(tokenizer.model_max_length, max_length)
    return MeritProcessor(extractor, tokenizer)


def starting_model(arguments: PretrainingArguments, tokenizer: PreTrainedTokenizerBase) -> MeritForPreTraining:
    """A model with new weights, but for a pretrained text tower; torch's random state decides them."""
    config = starting_config(arguments)
    text: Any
    if arguments.text_model is None:
        fields = as_plain(arguments.text_tower)
        del fields["vocab_size"]  # decided by the tokenizer, which may have found fewer tokens
        text = small_text_config(tokenizer, **fields)
    else:
        text = load_text_tower(arguments.text_model)[0]
    model = MeritForPreTraining.from_ecg_text_pretrained(config.ecg_config, text, **_own_fields(config))
    return cast(MeritForPreTraining, model)


def _own_fields(config: MeritConfig) -> Mapping[str, Any]:
    """The fields of MeritConfig itself, towers apart."""
    names = {field.name for field in dataclasses.fields(config)} & set(MeritConfig.__annotations__)
    return {name: getattr(config, name) for name in sorted(names - {"ecg_config", "text_config"})}
