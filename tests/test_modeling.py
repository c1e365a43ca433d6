"""The models: what a masked pass sees, what absent signal changes (nothing), which checkpoint opens in which class."""

import math
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, RobertaConfig, T5Config

from merit_hf.configuration_merit import MeritConfig, MeritEcgConfig
from merit_hf.modeling_merit import (
    MeritEcgModel,
    MeritForEcgClassification,
    MeritForPreTraining,
    MeritModel,
    require_complete,
)

TEXT = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
LEAD_WISE = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_leads": 4,
    "num_samples": 200,
    "patch_size": (1, 20),
}
JOINT = {**LEAD_WISE, "patch_size": (4, 25), "patch_embedding": "conv", "use_lead_separators": False}
DECODER = {
    "projection_dim": 16,
    "decoder_hidden_size": 24,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 48,
}


def make_config(ecg: dict | None = None, **fields) -> MeritConfig:
    defaults = {"text_trainable_layers": "all", **DECODER}
    return MeritConfig(ecg_config=ecg or LEAD_WISE, text_config=TEXT, **{**defaults, **fields})


def make_batch(batch: int = 5, leads: int = 4, samples: int = 200, dtype=torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(batch, leads, samples, generator=generator, dtype=dtype)
    ids = torch.randint(5, 60, (batch, 6), generator=generator)
    return {
        "input_values": values,
        "padding_mask": torch.ones_like(values, dtype=torch.bool),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "report_ids": torch.arange(batch),
    }


def seeded(cls: type, config) -> torch.nn.Module:
    torch.manual_seed(0)
    return cls(config).eval()


def tokens_seen(model: MeritForPreTraining, **inputs) -> list[int]:
    """Tokens that enter the encoder at each of its passes."""
    seen = []
    handle = model.ecg_model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    model(**inputs)
    handle.remove()
    return seen


# What passes the encoder


def test_only_visible_tokens_pass_the_encoder() -> None:
    # 4 leads × 10 patches; a quarter is 2 (rounded down) of each lead, and 2 separators.
    batch = make_batch()
    assert tokens_seen(seeded(MeritForPreTraining, make_config(alignment_view="visible")), **batch) == [4 * (2 + 2)]
    assert tokens_seen(seeded(MeritForPreTraining, make_config()), **batch) == [4 * (2 + 2), 4 * (10 + 2)]


@pytest.mark.filterwarnings("ignore:a contrastive batch of 1")
def test_base_encodes_84_of_264_tokens() -> None:
    ecg = MeritConfig().ecg_config.to_dict() | {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2}
    model = seeded(MeritForPreTraining, make_config(ecg))
    assert tokens_seen(model, **make_batch(1, 12, 1000)) == [84, 264]


def test_a_branch_of_weight_zero_is_not_run() -> None:
    batch = make_batch()
    masked = seeded(MeritForPreTraining, make_config(contrastive_weight=0.0))
    signal_only = {key: batch[key] for key in ("input_values", "padding_mask")}
    assert tokens_seen(masked, **signal_only) == [16]
    output = masked(**signal_only)
    assert output.contrastive_loss is None
    assert output.semantic_information is None
    aligned = seeded(MeritForPreTraining, make_config(reconstruction_weight=0.0))
    assert tokens_seen(aligned, **batch) == [48]
    assert aligned(**batch).reconstruction_loss is None


def test_token_drop_thins_the_alignment_pass_in_training_only() -> None:
    model = seeded(MeritForPreTraining, make_config(reconstruction_weight=0.0, alignment_token_drop=0.5))
    assert tokens_seen(model, **make_batch()) == [48]
    assert tokens_seen(model.train(), **make_batch()) == [4 * (5 + 2)]


def test_listing_every_token_changes_nothing() -> None:
    model = seeded(MeritEcgModel, MeritEcgConfig(**LEAD_WISE))
    batch = make_batch()
    everything = torch.arange(40).expand(5, -1)
    plain = model(batch["input_values"])
    listed = model(batch["input_values"], visible_indices=everything, visible_mask=torch.ones(5, 40, dtype=torch.bool))
    torch.testing.assert_close(listed.last_hidden_state, plain.last_hidden_state)
    torch.testing.assert_close(listed.pooler_output, plain.pooler_output)


@pytest.mark.parametrize(("ecg", "masking"), [(LEAD_WISE, "tokens"), (JOINT, "tokens"), (JOINT, "blocks")])
def test_hidden_samples_do_not_reach_the_prediction(ecg: dict, masking: str) -> None:
    config = make_config(ecg, masking=masking, contrastive_weight=0.0, reconstruction_target="signal")
    model = seeded(MeritForPreTraining, config)
    batch = make_batch()
    noise = torch.rand(5, config.num_mask_units, generator=torch.Generator().manual_seed(1))
    values = batch["input_values"]
    output = model(values, noise=noise)
    if masking == "blocks":
        hidden = output.mask.bool().reshape(5, 4, -1).repeat_interleave(25, dim=-1)
    else:
        leads, samples = config.ecg_config.patch_size
        hidden = (
            output.mask.bool().reshape(5, 4 // leads, 1, -1, 1).expand(-1, -1, leads, -1, samples).reshape(5, 4, 200)
        )
    assert 0 < hidden.float().mean() < 1
    other = model(values + 100 * hidden, target_values=values, noise=noise)
    torch.testing.assert_close(other.reconstruction, output.reconstruction, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.loss, output.loss)
    # The loss is over the hidden samples, mean of each record first.
    error = ((output.reconstruction - values).square() * hidden).sum((1, 2)) / hidden.sum((1, 2))
    torch.testing.assert_close(output.reconstruction_loss, error.mean())


def test_gradient_of_the_loss_reaches_hidden_samples_of_the_target_only() -> None:
    config = make_config(JOINT, masking="blocks", contrastive_weight=0.0, reconstruction_target="signal")
    model = seeded(MeritForPreTraining, config)
    values = make_batch()["input_values"]
    target = values.clone().requires_grad_()
    output = model(values, target_values=target)
    output.loss.backward()
    hidden = output.mask.bool().reshape(5, 4, -1).repeat_interleave(25, dim=-1)
    assert torch.equal(target.grad != 0, hidden)


def test_the_target_is_the_clean_signal() -> None:
    model = seeded(MeritForPreTraining, make_config(contrastive_weight=0.0))
    batch = make_batch()
    noise = torch.rand(5, 40)
    clean = batch["input_values"]
    noisy = clean + 0.3 * torch.randn_like(clean)
    output = model(noisy, target_values=clean, noise=noise)
    assert output.reconstruction_loss != model(noisy, noise=noise).reconstruction_loss


def test_patch_normalised_target_ignores_level_and_gain() -> None:
    model = seeded(MeritForPreTraining, make_config(contrastive_weight=0.0))
    batch, noise = make_batch(), torch.rand(5, 40)
    clean = batch["input_values"]
    first = model(clean, target_values=clean, noise=noise).loss
    torch.testing.assert_close(model(clean, target_values=50 * clean + 3, noise=noise).loss, first, rtol=1e-4, atol=0)


# Absent signal


@pytest.mark.parametrize("ecg", [LEAD_WISE, JOINT])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_absent_leads_and_padded_time_are_not_looked_at(ecg: dict, attention: str) -> None:
    config = make_config(ecg, masking="blocks" if ecg is JOINT else "tokens")
    model = seeded(MeritForPreTraining, config)
    model.set_attn_implementation(attention)
    batch = make_batch()
    mask = batch["padding_mask"]
    mask[0, 1] = False
    mask[1, :, 125:] = False
    mask[2, 1:] = False
    noise = torch.rand(5, config.num_mask_units)
    wild = batch["input_values"].masked_fill(~mask, 1e4)
    first, second = model(**batch, noise=noise), model(**{**batch, "input_values": wild}, noise=noise)
    for name in ("loss", "reconstruction_loss", "contrastive_loss", "ecg_embeds"):
        torch.testing.assert_close(first[name], second[name])
    assert torch.isfinite(first.loss)


def test_padding_a_lead_wise_record_equals_leaving_the_time_out() -> None:
    model = seeded(MeritEcgModel, MeritEcgConfig(**{**LEAD_WISE, "use_lead_separators": False}))
    values = make_batch()["input_values"]
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[:, :, 120:] = False
    padded, short = model(values, mask), model(values[..., :120])
    torch.testing.assert_close(padded.pooler_output, short.pooler_output, atol=1e-5, rtol=1e-5)


def test_a_patch_counts_if_it_is_real_for_half_of_its_time() -> None:
    model = seeded(MeritEcgModel, MeritEcgConfig(**LEAD_WISE))
    mask = torch.zeros(1, 4, 200, dtype=torch.bool)
    mask[0, 0, :30] = True
    mask[0, 1, :29] = True
    assert model.patch_mask(mask).reshape(4, 10).sum(-1).tolist() == [2, 1, 0, 0]


def test_a_single_lead_says_something_where_patches_span_all_leads() -> None:
    model = seeded(MeritEcgModel, MeritEcgConfig(**JOINT))
    values = make_batch()["input_values"]
    mask = torch.zeros_like(values, dtype=torch.bool)
    mask[:, 1, :90] = True
    assert model.patch_mask(mask).sum(-1).tolist() == [4] * len(values)  # of 25 samples each; the fourth has 15
    with torch.no_grad():
        pooled = model(values, mask).pooler_output
        other_leads = model(values.roll(1, dims=0).where(~mask, values), mask).pooler_output
    assert torch.equal(pooled, other_leads)
    assert (pooled[1:] - pooled[:1]).abs().max(-1).values.min() > 1e-3


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_record_without_any_signal_gives_no_nan(attention: str) -> None:
    for ecg, masking in ((LEAD_WISE, "tokens"), (JOINT, "blocks")):
        model = seeded(MeritForPreTraining, make_config(ecg, masking=masking)).train()
        model.set_attn_implementation(attention)
        batch = make_batch()
        batch["padding_mask"][1] = False
        output = model(**batch)
        output.loss.backward()
        assert torch.isfinite(output.loss)
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


# Objective


@pytest.mark.parametrize("view", ["full", "visible"])
def test_total_loss_is_the_weighted_sum(view: str) -> None:
    weights = {"reconstruction_weight": 0.5, "contrastive_weight": 2.0, "regularizer_weight": 0.3}
    model = seeded(MeritForPreTraining, make_config(alignment_view=view, **weights))
    output = model(**make_batch())
    regularizer = (1 - (output.ecg_embeds * output.text_embeds).sum(-1)).mean()
    expected = 0.5 * output.reconstruction_loss + 2 * output.contrastive_loss + 0.3 * regularizer
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.semantic_information, math.log(5) - output.contrastive_loss)
    torch.testing.assert_close(output.structure_information, -0.5 * output.reconstruction_loss.log())


def test_every_parameter_that_trains_gets_a_gradient() -> None:
    for fields in (
        {},
        {"alignment_view": "visible"},
        {"ecg": JOINT, "masking": "blocks"},
        {"text_trainable_layers": 0},
    ):
        model = seeded(MeritForPreTraining, make_config(**fields)).train()
        model(**make_batch()).loss.backward()
        missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, (fields, missing)


def test_records_without_report_train_the_structure_only() -> None:
    model = seeded(MeritForPreTraining, make_config())
    batch, noise = make_batch(), torch.rand(5, 40)
    batch["report_ids"] = torch.tensor([3, -1, 4, -1, 5])
    output = model(**batch, noise=noise)
    paired = [0, 2, 4]
    few = model(**{key: value[paired] for key, value in batch.items()}, noise=noise[paired])
    torch.testing.assert_close(output.contrastive_loss, few.contrastive_loss)
    torch.testing.assert_close(output.semantic_information, math.log(3) - output.contrastive_loss)
    everyone = model(**{**batch, "report_ids": torch.arange(5)}, noise=noise)
    torch.testing.assert_close(output.reconstruction_loss, everyone.reconstruction_loss)


def test_a_contrastive_batch_with_one_report_is_warned_of() -> None:
    batch = {**make_batch(3), "report_ids": torch.tensor([-1, 4, -1])}
    with pytest.warns(UserWarning, match="batch of 1, as 2 of 3 have no report, has no negatives"):
        output = seeded(MeritForPreTraining, make_config())(**batch)
    assert float(output.contrastive_loss) == 0.0


def test_a_contrastive_batch_of_one_is_warned_of() -> None:
    batch = make_batch(1)
    for model in (seeded(MeritForPreTraining, make_config()), seeded(MeritModel, make_config())):
        arguments = {"return_loss": True} if type(model) is MeritModel else {}
        with pytest.warns(UserWarning, match="a contrastive batch of 1 has no negatives: its loss is 0"):
            output = model(**batch, **arguments)
        assert float(getattr(output, "contrastive_loss", output.loss)) == pytest.approx(0.0, abs=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model(**make_batch(2), **arguments)
    with warnings.catch_warnings():  # what counts is the batch of all processes
        warnings.simplefilter("error", UserWarning)
        output = seeded(MeritForPreTraining, make_config())(**batch, gather=lambda rows: torch.cat([rows, rows]))
    assert float(output.contrastive_loss) == pytest.approx(math.log(2), abs=1e-5)


def test_temperature_is_capped_and_can_be_fixed() -> None:
    model = seeded(MeritModel, make_config(logit_scale_init_value=6.0, learn_logit_scale=False))
    assert model.inverse_temperature().item() == pytest.approx(100)
    assert not model.logit_scale.requires_grad


def test_structure_and_semantics_move_their_own_read_out() -> None:
    """One oscillation seen by four leads, its frequency named by the report: only paired reports raise the semantic
    read-out, and the other leads tell what is hidden either way."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(200) / 100
    gains = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]

    def batch(shuffled: bool) -> dict[str, torch.Tensor]:
        label = torch.randint(0, 8, (32,), generator=generator)
        phase = 6.28 * torch.rand(32, 1, 1, generator=generator)
        values = gains * torch.sin(2 * math.pi * (label[:, None, None] + 1) * time + phase) * 2**0.5
        named = label[torch.randperm(32, generator=generator)] if shuffled else label
        ids = torch.stack([torch.full((32,), 2), named + 10], dim=1)
        return {"input_values": values, "input_ids": ids, "attention_mask": torch.ones_like(ids)}

    blocks = {"masking": "blocks", "reconstruction_target": "signal", "mask_ratio": 0.5}
    read_outs = {}
    for shuffled in (False, True):
        torch.manual_seed(0)
        model = MeritForPreTraining(make_config(JOINT, text_pooling="mean", **blocks)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(100):
            optimizer.zero_grad()
            output = model(**batch(shuffled))
            output.loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            fresh = [model(**batch(shuffled)) for _ in range(8)]
        read_outs[shuffled] = tuple(
            torch.stack([output[name] for output in fresh]).mean().item()
            for name in ("semantic_information", "structure_information")
        )
    assert read_outs[False][0] > 1.0  # of ln 8 = 2.08 nats
    assert abs(read_outs[True][0]) < 0.2
    assert min(read_outs[False][1], read_outs[True][1]) > 0.5


# Text towers


@pytest.mark.parametrize(
    "text",
    [
        RobertaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64),
        DistilBertConfig(vocab_size=60, dim=32, n_layers=1, n_heads=2, hidden_dim=64),
        T5Config(vocab_size=60, d_model=32, num_layers=1, num_heads=2, d_kv=16, d_ff=64),
    ],
    ids=lambda config: config.model_type,
)
def test_any_text_encoder_serves_as_text_tower(text) -> None:
    config = MeritConfig(ecg_config=LEAD_WISE, text_config=text, text_trainable_layers="all", **DECODER)
    model = seeded(MeritForPreTraining, config)
    model(**make_batch()).loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_pooling_of_the_text_ignores_padding() -> None:
    for pooling in ("cls", "mean", "last"):
        model = seeded(MeritModel, make_config(text_pooling=pooling))
        ids = torch.randint(5, 60, (2, 6))
        padded = torch.cat([ids, torch.zeros(2, 4, dtype=torch.long)], dim=1)
        mask = torch.cat([torch.ones_like(ids), torch.zeros(2, 4, dtype=torch.long)], dim=1)
        short = model.get_text_features(ids, torch.ones_like(ids)).pooler_output
        torch.testing.assert_close(model.get_text_features(padded, mask).pooler_output, short, atol=1e-5, rtol=1e-5)


def test_trainable_text_layers_are_the_top_ones() -> None:
    def trainable(layers: int | str) -> set[str]:
        model = seeded(MeritModel, make_config(text_trainable_layers=layers))
        return {name for name, p in model.text_model.named_parameters() if p.requires_grad}

    assert trainable(0) == set()
    top = trainable(1)
    assert top
    assert all(name.startswith("encoder.layer.1.") for name in top)
    assert any(name.startswith("embeddings.") for name in trainable("all"))
    with pytest.raises(ValueError, match="tower of 2 layers"):
        trainable(3)


def test_a_frozen_text_tower_has_no_dropout_in_training() -> None:
    model = seeded(MeritModel, make_config(text_trainable_layers=0)).train()
    ids = torch.randint(5, 60, (2, 6))
    first, second = (model.get_text_features(ids).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)


def test_joining_two_pretrained_towers_keeps_their_weights(tmp_path) -> None:
    ecg, text = seeded(MeritEcgModel, MeritEcgConfig(**LEAD_WISE)), seeded(BertModel, BertConfig(**TEXT))
    ecg.save_pretrained(tmp_path / "ecg")
    text.save_pretrained(tmp_path / "text")
    by_path = MeritModel.from_ecg_text_pretrained(str(tmp_path / "ecg"), str(tmp_path / "text"), projection_dim=8)
    by_model = MeritForPreTraining.from_ecg_text_pretrained(ecg, text, **DECODER)
    for model in (by_path, by_model):
        for name, value in ecg.state_dict().items():
            assert torch.equal(model.ecg_model.state_dict()[name], value)
        assert torch.equal(model.text_model.embeddings.word_embeddings.weight, text.embeddings.word_embeddings.weight)
    assert by_path.config.projection_dim == 8
    new = MeritModel.from_ecg_text_pretrained(MeritEcgConfig(**LEAD_WISE), text, **DECODER)
    assert torch.equal(new.text_model.encoder.layer[0].output.dense.bias, text.encoder.layer[0].output.dense.bias)


# Embeddings


def test_logits_are_centred_and_the_loss_is_not() -> None:
    model, batch = seeded(MeritModel, make_config()), make_batch()
    with torch.no_grad():
        before = model(**batch, return_loss=True)
        model.ecg_embeds_mean.copy_(0.3 * torch.randn(model.config.projection_dim))
        model.text_embeds_mean.copy_(0.3 * torch.randn(model.config.projection_dim))
        after = model(**batch, return_loss=True)
    scale = model.logit_scale.exp()
    torch.testing.assert_close(before.logits_per_ecg, scale * before.ecg_embeds @ before.text_embeds.T)
    centred = scale * model.zero_shot_similarity(after.ecg_embeds, after.text_embeds)
    torch.testing.assert_close(after.logits_per_ecg, centred)
    torch.testing.assert_close(after.logits_per_text, centred.T)
    assert (after.logits_per_ecg - before.logits_per_ecg).abs().max() > 0.01
    assert torch.equal(after.loss, before.loss)
    assert torch.equal(after.ecg_embeds, before.ecg_embeds)


def test_zero_shot_similarity_centres_both_sides() -> None:
    model = seeded(MeritModel, make_config())
    ecg, text = torch.randn(4, 16), torch.randn(3, 16)
    cosine = torch.nn.functional.cosine_similarity(ecg[:, None], text[None], dim=-1)
    torch.testing.assert_close(model.zero_shot_similarity(ecg, text), cosine)
    mean_ecg, mean_text = 0.1 * torch.randn(16), 0.1 * torch.randn(16)
    model.ecg_embeds_mean.copy_(mean_ecg)
    model.text_embeds_mean.copy_(mean_text)
    unit = torch.nn.functional.normalize
    centred = torch.nn.functional.cosine_similarity(
        (unit(ecg, dim=-1) - mean_ecg)[:, None], (unit(text, dim=-1) - mean_text)[None], dim=-1
    )
    torch.testing.assert_close(model.zero_shot_similarity(ecg, text), centred)


def test_logits_are_scaled_cosines_of_the_features() -> None:
    model = seeded(MeritModel, make_config())
    batch = make_batch()
    output = model(**batch, return_loss=True)
    ecg = model.get_ecg_features(batch["input_values"], batch["padding_mask"]).pooler_output
    text = model.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output
    cosine = torch.nn.functional.cosine_similarity(ecg[:, None], text[None], dim=-1)
    torch.testing.assert_close(output.logits_per_ecg, cosine * math.exp(2.6592))
    labels = torch.arange(5)
    loss = torch.nn.functional.cross_entropy
    expected = 0.5 * (loss(output.logits_per_ecg, labels) + loss(output.logits_per_text, labels))
    torch.testing.assert_close(output.loss, expected)


def test_patch_features_drop_the_separators() -> None:
    for separators in (True, False):
        model = seeded(MeritEcgModel, MeritEcgConfig(**{**LEAD_WISE, "use_lead_separators": separators}))
        states = model(make_batch()["input_values"]).last_hidden_state
        features = model.patch_features(states)
        assert features.shape == (5, 4, 10, 48)
        torch.testing.assert_close(
            model.pooler_layernorm(features.mean((1, 2))), model(make_batch()["input_values"]).pooler_output
        )


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = seeded(MeritForPreTraining, make_config())
    model.ecg_embeds_mean.normal_()
    model.save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize("cls", [MeritEcgModel, MeritModel, MeritForPreTraining])
def test_every_class_finds_every_key_of_a_pretraining_checkpoint(checkpoint, cls: type) -> None:
    folder, original = checkpoint
    model, info = cls.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.missing_weights == ()
    require_complete(model)
    prefix = "ecg_model." if cls is MeritEcgModel else ""
    for name, value in model.state_dict().items():
        assert torch.equal(value, original.state_dict()[prefix + name]), name


def test_the_classifier_lacks_its_head_alone(checkpoint) -> None:
    folder, original = checkpoint
    model = MeritForEcgClassification.from_pretrained(folder, num_labels=5)
    assert model.missing_weights == ("classifier.0.bias", "classifier.0.weight")
    require_complete(model, allowed=("classifier.",))
    with pytest.raises(ValueError, match=r"classifier\.0"):
        require_complete(model)
    weight = original.ecg_model.layers[0].mlp.fc1.weight
    assert torch.equal(model.ecg_model.layers[0].mlp.fc1.weight, weight)


def test_a_classifier_checkpoint_opens_as_encoder(tmp_path) -> None:
    config = MeritEcgConfig(**LEAD_WISE, classifier_head="mlp", num_labels=3)
    original = seeded(MeritForEcgClassification, config)
    original.save_pretrained(tmp_path)
    model = MeritEcgModel.from_pretrained(tmp_path)
    require_complete(model)
    assert torch.equal(model.layernorm.weight, original.ecg_model.layernorm.weight)


@pytest.mark.parametrize("tower", ["ecg_model", "text_model"])
def test_a_checkpoint_without_a_tower_is_refused(checkpoint, tmp_path, tower: str) -> None:
    folder, original = checkpoint
    original.config.save_pretrained(tmp_path)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith(tower)}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = MeritModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"lacks its {tower}"):
        require_complete(model)


def test_auto_classes_open_a_pretraining_checkpoint(checkpoint) -> None:
    import merit_hf  # noqa: F401  registers

    folder, _ = checkpoint
    model = AutoModel.from_pretrained(folder)
    assert type(model) is MeritModel
    assert model.missing_weights == ()


def test_meta_device_initialisation_equals_plain_initialisation(tmp_path) -> None:
    """Weights that a checkpoint lacks are drawn as at construction, positions and buffers included."""
    config = make_config()
    model = seeded(MeritForPreTraining, config)
    model.save_pretrained(tmp_path)
    save_file({"logit_scale": torch.tensor(1.5)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = MeritForPreTraining.from_pretrained(tmp_path)
    assert loaded.logit_scale.item() == 1.5
    for (name, fresh), (_, plain) in zip(loaded.named_parameters(), model.named_parameters(), strict=True):
        assert torch.isfinite(fresh).all(), name
        if plain.numel() > 200:
            assert fresh.std().item() == pytest.approx(plain.std().item(), rel=0.25, abs=1e-3), name
    assert not loaded.ecg_embeds_mean.any()


# Classifier and bad input


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        (None, torch.tensor([[0.0, 1.0, 1.0]] * 5)),
        ("single_label_classification", torch.tensor([0, 1, 2, 0, 1])),
        ("regression", torch.randn(5, 3)),
    ],
)
def test_classification_losses(head: str, problem: str | None, labels: torch.Tensor) -> None:
    config = MeritEcgConfig(**LEAD_WISE, classifier_head=head, num_labels=3, problem_type=problem)
    output = seeded(MeritForEcgClassification, config)(make_batch()["input_values"], labels=labels)
    functional = torch.nn.functional
    expected = {
        None: functional.binary_cross_entropy_with_logits,
        "single_label_classification": functional.cross_entropy,
        "regression": functional.mse_loss,
    }[problem](output.logits, labels)
    assert output.logits.shape == (5, 3)
    torch.testing.assert_close(output.loss, expected)


def test_bad_input_is_named() -> None:
    model = seeded(MeritForPreTraining, make_config())
    batch = make_batch()
    with pytest.raises(ValueError, match=r"3 leads × 200 samples.*expected 4 leads"):
        model.ecg_model(torch.randn(2, 3, 200))
    with pytest.raises(ValueError, match=r"\(4, 200\) must be \(batch, leads, samples\)"):
        model.ecg_model(torch.randn(4, 200))
    with pytest.raises(ValueError, match=r"noise of shape \(5, 3\) must be \(5, 40\)"):
        model(**batch, noise=torch.rand(5, 3))
    with pytest.raises(ValueError, match="needs reports"):
        model(batch["input_values"])
    with pytest.raises(ValueError, match="needs input_ids and input_values"):
        seeded(MeritModel, make_config())(input_values=batch["input_values"])
    same = seeded(MeritForPreTraining, make_config(positives="same_report"))
    batch.pop("report_ids")
    with pytest.raises(ValueError, match="needs report_ids"):
        same(**batch)
