"""The typed sections of the YAML files mirror the classes that they configure: the same names and defaults."""

import dataclasses
import inspect
import subprocess
import sys

import pytest
from transformers import BertConfig

from merit_hf import MeritConfig, MeritEcgConfig, MeritFeatureExtractor
from merit_hf.configuration_merit import PRESETS
from merit_hf.training.model_arguments import (
    EncoderArguments,
    FeatureExtractorArguments,
    ModelArguments,
    NewEncoderArguments,
    TextTowerArguments,
)
from merit_hf.training.pretraining.text_tower import small_text_config, train_tokenizer

CLASS_CONSTANTS = {"model_type", "base_config_key", "sub_configs_defaults"}
# Said once, by the feature extractor, or of a classifier alone.
NOT_OF_ENCODER = {"num_leads", "num_samples", "sampling_rate", "classifier_head", "thresholds", "calibration"}


def stated(arguments_class: type, preset: str) -> dict[str, object]:
    """What --help says the value of each field is, if it is left out."""
    found = {}
    for field in dataclasses.fields(arguments_class):
        otherwise = field.metadata["otherwise"]
        found[field.name] = otherwise[preset] if isinstance(otherwise, dict) else otherwise
        assert field.default is None or field.name == "ecg_config"
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_model_and_encoder_state_the_values_of_every_preset(preset: str) -> None:
    config = MeritConfig.from_preset(preset)
    model, encoder = stated(ModelArguments, preset), stated(EncoderArguments, preset)
    assert set(model) == set(MeritConfig.__annotations__) - CLASS_CONSTANTS - {"text_config"} | {"preset"}
    assert set(encoder) == set(MeritEcgConfig.__annotations__) - CLASS_CONSTANTS - NOT_OF_ENCODER
    del model["preset"], model["ecg_config"]
    assert model == {name: getattr(config, name) for name in model}
    assert encoder == {name: getattr(config.ecg_config, name) for name in encoder}
    assert stated(NewEncoderArguments, preset) == {**encoder, "preset": "tiny"}


def test_feature_extractor_states_the_parameters_of_the_class() -> None:
    parameters = inspect.signature(MeritFeatureExtractor.__init__).parameters
    expected = {name: item.default for name, item in parameters.items() if name not in ("self", "kwargs")}
    assert stated(FeatureExtractorArguments, "") == expected


def test_small_text_tower_has_the_defaults_of_its_config() -> None:
    tokenizer = train_tokenizer(["sinus rhythm.", "sinus rhythm."], vocab_size=60)
    stated_fields = dataclasses.asdict(TextTowerArguments())
    assert stated_fields.pop("vocab_size") == inspect.signature(train_tokenizer).parameters["vocab_size"].default
    given, left_out = small_text_config(tokenizer, **stated_fields), small_text_config(tokenizer)
    assert isinstance(given, BertConfig)
    assert given.to_dict() == left_out.to_dict()


def test_arguments_can_be_explained_without_torch() -> None:
    code = (
        "import sys; import merit_hf.training.pretraining.arguments, merit_hf.training.finetuning.arguments; "
        "print([name for name in ('torch', 'transformers', 'accelerate') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
