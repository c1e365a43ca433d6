"""Encoders give the features they say, of the tensors everything else sees; the cache never answers for another."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model, pipeline

from merit_hf import MeritEcgModel, MeritFeatureExtractor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.encoders.encoder import cached_features, ecgs_digest, load_encoder
from merit_hf.evaluation.encoders.random_convolutions import RandomConvolutions


@pytest.fixture(scope="module")
def split(small_corpus):
    return load_corpus(small_corpus, "validation")


def test_merit_features_are_those_of_the_feature_extraction_pipeline(tiny_run, split):
    found = load_encoder(str(tiny_run), device="cpu").features(split, batch_size=4)
    assert found.dtype == np.float32
    assert found.shape == (len(split), 16)
    model = MeritEcgModel.from_pretrained(tiny_run).eval()
    extractor = MeritFeatureExtractor()
    with torch.no_grad():
        expected = [
            model(**extractor(record_from_row(row), return_tensors="pt")).pooler_output[0].numpy() for row in split
        ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert pipeline("ecg-feature-extraction", model=str(tiny_run), device="cpu") is not None


def test_any_saved_form_of_the_encoder_gives_the_same_features(tiny_run, split, tmp_path):
    MeritEcgModel.from_pretrained(tiny_run).save_pretrained(tmp_path)
    MeritFeatureExtractor().save_pretrained(tmp_path)
    first, second = load_encoder(str(tiny_run), device="cpu"), load_encoder(str(tmp_path), device="cpu")
    np.testing.assert_array_equal(first.features(split), second.features(split))
    assert first.identity() == second.identity()


def test_untrained_weights_follow_from_the_seed(tiny_run, split):
    state = torch.random.get_rng_state()
    features = [
        load_encoder(str(tiny_run), kind="untrained", device="cpu", seed=seed).features(split) for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.01
    assert np.abs(features[0] - load_encoder(str(tiny_run), device="cpu").features(split)).max() > 0.01


def test_random_convolutions_are_maximum_and_positive_share_of_each_response():
    kernels = RandomConvolutions(num_leads=3, num_samples=120, num_kernels=20, seed=3)
    values = torch.randn(5, 3, 120, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[4, :, 90:] = False
    values = values * mask
    found = kernels(values, mask).numpy()
    assert found.shape == (5, 40)
    column = 0
    for dilation, weights, biases in zip(kernels.dilations, kernels.weights, kernels.biases, strict=True):
        for weight, bias in zip(weights.numpy(), biases.numpy(), strict=True):
            assert np.linalg.norm(weight) == pytest.approx(1.0, abs=1e-5)
            np.testing.assert_allclose(weight.sum(axis=1), 0.0, atol=1e-5)
            for record, length in ((0, 120), (4, 90)):
                padded = np.pad(values[record].numpy(), ((0, 0), (4 * dilation, 4 * dilation)))
                response = np.full(length, float(bias))
                for tap in range(9):
                    response += weight[:, tap] @ padded[:, tap * dilation : tap * dilation + length]
                assert found[record, column] == pytest.approx(response.max(), abs=1e-4)
                assert found[record, 20 + column] == pytest.approx((response > 0).mean(), abs=1.5 / length)
            column += 1
    assert column == 20


def test_random_convolutions_see_the_leads_they_drew_and_need_no_checkpoint(split):
    seen = torch.cat([weight.abs().sum(-1) > 0 for weight in RandomConvolutions(12, 1000, seed=0).weights])
    counts = seen.sum(dim=1)
    assert counts.min() == 1
    assert counts.max() == 12
    assert (counts == 1).float().mean() > 0.2
    first = load_encoder(kind="random_convolutions", device="cpu", num_kernels=10)
    again = load_encoder(kind="random_convolutions", device="cpu", num_kernels=10)
    slower = load_encoder(kind="random_convolutions", device="cpu", num_kernels=10, sampling_rate=50)
    np.testing.assert_array_equal(first.features(split, batch_size=2), again.features(split))
    assert slower.features(split).shape == (len(split), 20)
    assert slower.identity() != first.identity()
    with pytest.raises(ValueError, match="at least 9"):
        RandomConvolutions(12, 8)


def test_features_are_computed_once_and_again_when_weights_or_ecgs_change(tiny_run, split, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    cache = tmp_path / "cache"
    encoder = load_encoder(str(run), device="cpu")
    computed = []
    original = type(encoder).features

    def counted(self, *args, **kwargs):
        computed.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(encoder), "features", counted)
    first = cached_features(encoder, split, cache)
    np.testing.assert_array_equal(first, cached_features(load_encoder(str(run), device="cpu"), split, cache))
    np.testing.assert_array_equal(first, original(encoder, split))
    assert len(computed) == 1

    weights = load_file(run / "model.safetensors")
    weights["ecg_model.pooler_layernorm.bias"] += 0.5
    save_file(weights, run / "model.safetensors", metadata={"format": "pt"})
    changed = cached_features(load_encoder(str(run), device="cpu"), split, cache)
    np.testing.assert_allclose(changed, first + 0.5, atol=1e-5)
    other = split.select(list(reversed(range(len(split)))))
    np.testing.assert_allclose(cached_features(encoder, other, cache), first[::-1], atol=1e-6)
    encoder.feature_extractor.normalization = "zscore_record"
    cached_features(encoder, split, cache)
    assert len(computed) == 4
    assert len(list(cache.iterdir())) == 4

    # A file cut short is made anew, and labels and reports are no part of what an encoder sees.
    encoder.feature_extractor.normalization = "zscore"
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(first, cached_features(encoder, split, cache))
    assert len(computed) == 5
    assert ecgs_digest(split) == ecgs_digest(split.remove_columns(["report", "findings"]))


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=200).save_pretrained(folder)
    return folder


def test_a_sound_model_hears_every_lead(sound_model, split):
    found = load_encoder(kind=f"hf:{sound_model}", device="cpu").features(split.select([0, 1]))
    model = Wav2Vec2Model.from_pretrained(sound_model).eval()
    own = Wav2Vec2FeatureExtractor.from_pretrained(sound_model)
    values = MeritFeatureExtractor(sampling_rate=200)(record_from_row(split[1]), return_tensors="np")["input_values"][
        0
    ]
    states = []
    for lead in values:
        with torch.no_grad():
            inputs = own(lead, sampling_rate=200, return_tensors="pt")["input_values"]
            states.append(model(inputs).last_hidden_state[0].mean(dim=0).numpy())
    np.testing.assert_allclose(found[1], np.mean(states, axis=0), atol=1e-4)


def test_what_cannot_be_an_encoder_is_refused(tiny_run, sound_model, tmp_path):
    with pytest.raises(ValueError, match="expected one of merit, untrained, random_convolutions, hf:NAME"):
        load_encoder(str(tiny_run), kind="resnet")
    with pytest.raises(ValueError, match="needs a checkpoint"):
        load_encoder(kind="untrained")
    with pytest.raises(ValueError, match="cannot be opened"):
        load_encoder(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="sampling_rate=50"):
        load_encoder(str(tiny_run), sampling_rate=50)
    with pytest.raises(ValueError, match="--encoder merit"):
        load_encoder(kind=f"hf:{tiny_run}")
    incomplete = tmp_path / "incomplete"
    shutil.copytree(tiny_run, incomplete)
    weights = load_file(incomplete / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "layers.0" not in name}
    save_file(kept, incomplete / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights: 16 of MeritEcgModel's weights"):
        load_encoder(str(incomplete))
    deaf = tmp_path / "deaf"
    shutil.copytree(sound_model, deaf)
    (deaf / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="cannot be opened as AutoModel with an AutoFeatureExtractor"):
        load_encoder(kind=f"hf:{deaf}")
