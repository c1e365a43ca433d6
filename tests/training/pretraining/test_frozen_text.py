"""Kept states of a frozen text tower: the same numbers, each text encoded once."""

import pytest
import torch

from merit_hf import MeritForPreTraining
from merit_hf.training.pretraining.frozen_text import FrozenTextFeatures

TEXTS = ["sinus rhythm.", "atrial fibrillation.", "left bundle branch block. no st elevation."]


@pytest.fixture
def frozen(tiny_run):
    model = MeritForPreTraining.from_pretrained(tiny_run, text_trainable_layers=0)
    model.freeze_text_tower()
    return model.train()


@pytest.fixture
def batch(tiny_run):
    from merit_hf import MeritProcessor

    tokenizer = MeritProcessor.from_pretrained(tiny_run).tokenizer
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    generator = torch.Generator().manual_seed(0)
    return {
        "input_values": torch.randn(3, 12, 1000, generator=generator),
        "padding_mask": torch.ones(3, 12, 1000, dtype=torch.bool),
        "report_ids": torch.arange(3),
        "noise": torch.rand(3, 120, generator=generator),
        **tokens,
    }


def test_losses_and_gradients_are_those_of_the_texts(frozen, batch):
    plain = frozen(**batch)
    plain.loss.backward()
    expected = {name: p.grad.clone() for name, p in frozen.named_parameters() if p.grad is not None}
    frozen.zero_grad()
    kept = frozen(**FrozenTextFeatures(frozen)(batch))
    kept.loss.backward()
    torch.testing.assert_close(kept.loss, plain.loss)
    torch.testing.assert_close(kept.text_embeds, plain.text_embeds, atol=1e-6, rtol=1e-5)
    assert any(name.startswith("text_projection") for name in expected)
    for name, parameter in frozen.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_a_text_is_encoded_once_and_alone(frozen, batch, monkeypatch):
    calls = []
    pool = frozen.pool_text
    monkeypatch.setattr(
        frozen, "pool_text", lambda ids, *rest, **named: calls.append(ids) or pool(ids, *rest, **named)
    )
    features = FrozenTextFeatures(frozen)
    first = features(batch)["text_pooled"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = features(
            {**batch, "input_ids": batch["input_ids"].flip(0), "attention_mask": batch["attention_mask"].flip(0)}
        )
    assert torch.equal(again["text_pooled"].flip(0), first)  # whatever the batch, and to the last bit
    assert [len(ids) for ids in calls] == [1, 1, 1]
    assert all(int(ids[0, -1]) != 0 for ids in calls)  # no padding
    assert "input_ids" not in again


def test_memory_is_bounded(frozen, batch):
    features = FrozenTextFeatures(frozen, most_texts=1)
    torch.testing.assert_close(features(batch)["text_pooled"], features(batch)["text_pooled"], atol=0, rtol=0)
    assert len(features._kept) == 1


def test_only_frozen_towers_are_served(tiny_run):
    trained = MeritForPreTraining.from_pretrained(tiny_run, text_trainable_layers="all")
    assert not FrozenTextFeatures.serves(trained)
    with pytest.raises(ValueError, match="text_trainable_layers='all'"):
        FrozenTextFeatures(trained)


def test_nothing_is_encoded_where_texts_do_not_count(frozen, batch):
    frozen.config.contrastive_weight = 0.0
    assert FrozenTextFeatures(frozen)(batch) is batch
