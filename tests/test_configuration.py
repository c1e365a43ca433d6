"""Configurations: presets, sizes, and one clear error for what does not fit."""

import pytest
import torch
from transformers import BertConfig

from merit_hf.configuration_merit import MeritConfig, MeritEcgConfig
from merit_hf.modeling_merit import MeritEcgModel, MeritForPreTraining


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_base_is_the_table_of_the_paper_page() -> None:
    config = MeritConfig.from_preset("base")
    ecg = config.ecg_config
    assert (ecg.hidden_size, ecg.num_hidden_layers, ecg.num_attention_heads, ecg.intermediate_size) == (
        768,
        12,
        12,
        3072,
    )
    assert (ecg.num_leads, ecg.num_samples, ecg.patch_size, ecg.num_patches) == (12, 1000, (1, 50), 240)
    assert ecg.use_lead_separators
    assert (config.masking, config.mask_ratio, config.reconstruction_target) == ("tokens", 0.75, "patch_normalized")
    assert (config.projection_dim, config.text_config.model_type) == (256, "bert")
    assert config.logit_scale_init_value == pytest.approx(2.6592)
    with torch.device("meta"):
        model = MeritForPreTraining(config)
    width, layers = 768, 12
    layer = 4 * (width**2 + width) + 2 * width * 3072 + 3072 + width + 4 * width
    embedding = 2 * 50 + 50 * width + width + 2 * width + 12 * width + width
    assert count(model.ecg_model) == layers * layer + embedding + 4 * width == 85_108_324
    assert count(model.decoder) == pytest.approx(3.4e6, rel=0.02)


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 2.0), ("small", 21.0)])
def test_sizes_of_the_smaller_presets(preset: str, millions: float) -> None:
    with torch.device("meta"):
        model = MeritEcgModel(MeritConfig.from_preset(preset).ecg_config)
    assert count(model) / 1e6 == pytest.approx(millions, rel=0.02)


def test_classmethod_and_defaults_agree() -> None:
    assert MeritConfig.from_preset("base").to_dict() == MeritConfig().to_dict()


def test_overrides_replace_single_fields_of_a_preset() -> None:
    config = MeritConfig.from_preset("tiny", mask_ratio=0.5, ecg_config={"num_hidden_layers": 2})
    assert config.mask_ratio == 0.5
    assert config.ecg_config.num_hidden_layers == 2
    assert config.ecg_config.hidden_size == 192
    assert MeritConfig.from_preset("tiny").ecg_config.num_hidden_layers == 4


def test_mask_units_count_tokens_or_blocks() -> None:
    assert MeritConfig.from_preset("base").num_mask_units == 240
    assert MeritConfig.from_preset("tiny").num_mask_units == 12 * 40
    assert MeritConfig.from_preset("tiny").ecg_config.num_patches == 40


def test_round_trip_through_a_folder(tmp_path) -> None:
    config = MeritConfig.from_preset("tiny", text_config=BertConfig(hidden_size=64, num_attention_heads=2))
    config.save_pretrained(tmp_path)
    again = MeritConfig.from_pretrained(tmp_path)
    assert again.ecg_config.patch_size == (12, 25)
    assert again.text_config.hidden_size == 64
    assert again.to_dict() == config.to_dict()
    assert MeritEcgConfig.from_pretrained(tmp_path).hidden_size == 192


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_size": (5, 50)}, "num_leads=12 must be a multiple"),
        ({"patch_size": (1, 33)}, "num_samples=1000 must be a multiple"),
        ({"num_attention_heads": 7}, "multiple of num_attention_heads=7"),
        ({"patch_embedding": "mlp"}, "'linear', 'conv'"),
        ({"hidden_dropout": 1.5}, r"hidden_dropout=1.5 must lie in \[0, 1\)"),
    ],
)
def test_ecg_config_refuses(fields: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        MeritEcgConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masking": "random"}, "'tokens', 'blocks'"),
        ({"alignment_view": "half"}, "'full', 'visible'"),
        ({"mask_ratio": 1.0}, r"mask_ratio=1.0 must lie in \[0, 1\)"),
        ({"contrastive_weight": -1.0}, "contrastive_weight=-1.0 must be 0 or a positive number"),
        ({"text_trainable_layers": "top"}, "'top' must be a number of layers"),
        ({"masking": "blocks", "block_duration": 0.3}, "must divide num_samples=1000"),
        ({"decoder_hidden_size": 30}, "decoder_hidden_size=30"),
    ],
)
def test_config_refuses(fields: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        MeritConfig(**fields)


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="'huge'.*'tiny', 'small', 'base'"):
        MeritConfig.from_preset("huge")
