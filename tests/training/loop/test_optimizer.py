"""Which parameters decay, and the learning rates of the groups."""

import pytest
import torch
from torch import nn

from merit_hf import MeritEcgConfig, MeritForEcgClassification
from merit_hf.training.loop.optimizer import (
    build_optimizer,
    layerwise_parameter_groups,
    parameter_groups,
    set_learning_rate,
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ecg_model = nn.Sequential(nn.Conv1d(2, 3, 5), nn.GroupNorm(1, 3), nn.Linear(3, 4))
        self.text_model = nn.Sequential(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 4))
        self.mask_token = nn.Parameter(torch.ones(4, 4))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))


def names_of(model: nn.Module, group: dict) -> set[str]:
    members = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in members}


def test_only_matrices_and_filters_decay() -> None:
    model = Small()
    groups = parameter_groups(model, 1e-3, None, 0.05)
    decaying = {name for group in groups if group["weight_decay"] for name in names_of(model, group)}
    assert decaying == {"ecg_model.0.weight", "ecg_model.2.weight", "text_model.2.weight"}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_frozen_parameters_are_left_out_and_the_text_tower_has_its_own_rate() -> None:
    model = Small()
    model.text_model[0].requires_grad_(False)
    groups = parameter_groups(model, 1e-3, 1e-5, 0.05)
    optimizer = build_optimizer(groups, (0.9, 0.95), 1e-8)
    set_learning_rate(optimizer, 0.5)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names_of(model, group)}
    assert "text_model.0.weight" not in rates
    assert {rate for name, rate in rates.items() if name.startswith("text_model.")} == {0.5e-5}
    assert {rate for name, rate in rates.items() if not name.startswith("text_model.")} == {0.5e-3}


def test_decay_is_decoupled_from_the_gradient() -> None:
    model = Small()
    optimizer = build_optimizer(parameter_groups(model, 1e-2, None, 0.5), (0.9, 0.95), 1e-8)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(model.ecg_model[2].weight, before["ecg_model.2.weight"] * (1 - 1e-2 * 0.5))
    assert torch.equal(model.mask_token, before["mask_token"])
    assert torch.equal(model.logit_scale, before["logit_scale"])


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter"):
        parameter_groups(Small().requires_grad_(False), 1e-3, None, 0.0)


def test_lower_layers_learn_more_slowly() -> None:
    size = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    model = MeritForEcgClassification(MeritEcgConfig(**size, num_labels=2))
    groups = layerwise_parameter_groups(model, 1e-2, 0.5, 0.1)
    optimizer = build_optimizer(groups, (0.9, 0.95), 1e-8)
    assert set_learning_rate(optimizer, 1.0) == 1e-2  # what the log shows is the head's
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names_of(model, group)}
    assert rates.keys() == {name for name, _ in model.named_parameters()}
    expected = {"classifier": 1e-2, "ecg_model.layernorm": 1e-2, "ecg_model.pooler_layernorm": 1e-2}
    expected |= {"ecg_model.layers.2": 5e-3, "ecg_model.layers.1": 2.5e-3, "ecg_model.layers.0": 1.25e-3}
    expected |= {"ecg_model.embeddings": 6.25e-4}
    for prefix, rate in expected.items():
        found = {value for name, value in rates.items() if name.startswith(prefix + ".")}
        assert sorted(found) == pytest.approx([rate])
    alike = layerwise_parameter_groups(model, 1e-2, 1.0, 0.1)
    assert {group["peak_lr"] for group in alike} == {1e-2}
    assert {group["weight_decay"] for group in alike} == {0.0, 0.1}


def test_a_frozen_encoder_leaves_the_head() -> None:
    model = MeritForEcgClassification(MeritEcgConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    model.ecg_model.requires_grad_(False)
    groups = layerwise_parameter_groups(model, 1e-2, 0.5, 0.0)
    assert [names_of(model, group) for group in groups] == [{"classifier.0.weight", "classifier.0.bias"}]
