"""The picture of what a model fills into hidden parts: what was hidden, what is drawn, and what is refused."""

import numpy as np
import pytest
import torch

import merit_hf
from merit_hf import MeritConfig, MeritEcgConfig, MeritFeatureExtractor, MeritForPreTraining
from merit_hf.plotting.reconstruction import Reconstruction, plot_reconstruction, reconstruct
from merit_hf.training.pretraining.text_tower import small_text_config, train_tokenizer


def tiny_model(**fields) -> MeritForPreTraining:
    tokenizer = train_tokenizer(["sinus rhythm."] * 4, vocab_size=100, max_length=16)
    config = MeritConfig(
        ecg_config=MeritEcgConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, patch_size=(1, 50)
        ),
        text_config=small_text_config(tokenizer, hidden_size=16, num_hidden_layers=1),
        projection_dim=8,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        max_text_length=16,
        **fields,
    )
    return MeritForPreTraining(config)


@pytest.mark.parametrize(
    "fields",
    [
        {"masking": "blocks", "mask_ratio": 0.6, "block_duration": 0.5, "reconstruction_target": "signal"},
        {"masking": "tokens", "mask_ratio": 0.75, "reconstruction_target": "patch_normalized"},
    ],
    ids=["blocks", "tokens"],
)
def test_what_is_hidden_does_not_reach_the_model(fields):
    model = tiny_model(**fields)
    record = merit_hf.load_sample()
    before = reconstruct(model.train(), MeritFeatureExtractor(normalization="none"), record, seed=3)
    assert model.training
    assert before.hidden.mean() == pytest.approx(fields["mask_ratio"], abs=0.01)
    assert np.isfinite(before.filled).all()
    # Other samples in the hidden parts, and a new mask from the same seed: the answer for "signal" is the same.
    record = merit_hf.EcgRecord(before.truth + 5.0 * before.hidden, 100.0, before.lead_names)
    after = reconstruct(model, MeritFeatureExtractor(normalization="none"), record, seed=3)
    np.testing.assert_array_equal(after.hidden, before.hidden)
    shift = after.filled - before.filled
    if fields["reconstruction_target"] == "signal":
        np.testing.assert_allclose(shift, 0.0, atol=1e-5)
    else:  # the true level of a patch is put back, and moved by 5
        np.testing.assert_allclose(shift[before.hidden], 5.0, atol=1e-3)
        np.testing.assert_allclose(shift[~before.hidden], 0.0, atol=1e-5)


def test_the_loss_of_pretraining_is_the_error_of_the_picture():
    model = tiny_model(masking="blocks", block_duration=0.5, reconstruction_target="signal").eval()
    extractor = MeritFeatureExtractor()
    shown = reconstruct(model, extractor, merit_hf.load_sample(), seed=1)
    noise = torch.rand((1, model.config.num_mask_units), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = model(
            **extractor(merit_hf.load_sample(), return_tensors="pt"), noise=noise, text_pooled=torch.zeros(1, 16)
        ).reconstruction_loss
    assert shown.error * shown.truth[shown.hidden].var() == pytest.approx(float(loss), rel=1e-5)


def by_name(axes, name: str):
    (line,) = [line for line in axes.lines if line.get_gid() == name]
    return line.get_xydata()


def test_picture_leaves_hidden_parts_blank_and_draws_the_answer_only_there():
    truth = np.tile(np.sin(np.arange(400) / 10.0), (2, 1))
    hidden = np.zeros((2, 400), dtype=bool)
    hidden[1, 100:200] = True
    real = np.ones((2, 400), dtype=bool)
    answer = Reconstruction(truth, np.zeros_like(truth), hidden, real, 100.0, ("I", "II"))
    figure = plot_reconstruction(answer, start=0.5, duration=2.0)
    left, right = figure.axes
    seen, filled, drawn = by_name(left, "seen 1"), by_name(right, "filled 1"), by_name(right, "truth 1")
    assert seen[0, 0] == pytest.approx(0.5)
    assert len(seen) == 200
    np.testing.assert_array_equal(np.isnan(seen[:, 1]), hidden[1, 50:250])
    np.testing.assert_array_equal(np.isnan(filled[:, 1]), ~hidden[1, 50:250])
    np.testing.assert_allclose(np.ptp(drawn[:, 1]), np.ptp(truth[1, 50:250]))
    assert "13 % is hidden" in left.get_title(loc="left") or "12 % is hidden" in left.get_title(loc="left")
    assert [label.get_text() for label in left.get_yticklabels()] == ["I", "II"]


def test_absent_leads_are_left_out():
    real = np.ones((2, 400), dtype=bool)
    real[0] = False
    hidden = real & (np.arange(400) < 100)
    truth = np.tile(np.sin(np.arange(400) / 10.0), (2, 1))
    figure = plot_reconstruction(Reconstruction(truth, truth, hidden, real, 100.0, ("I", "II")))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["II"]


def test_constant_hidden_parts_are_refused():
    hidden = np.ones((1, 100), dtype=bool)
    with pytest.raises(ValueError, match="hidden parts are constant"):
        plot_reconstruction(Reconstruction(np.ones((1, 100)), np.ones((1, 100)), hidden, hidden, 100.0, ("I",)))


def test_a_model_that_never_learnt_to_fill_in_is_refused():
    with pytest.raises(ValueError, match="reconstruction_weight=0"):
        reconstruct(tiny_model(reconstruction_weight=0.0), MeritFeatureExtractor(), merit_hf.load_sample())


def test_a_window_outside_the_record_is_refused():
    answer = Reconstruction(*(np.ones((1, 100)),) * 2, *(np.ones((1, 100), dtype=bool),) * 2, 100.0, ("I",))
    with pytest.raises(ValueError, match=r"start=2.0 .* a record of 1 s"):
        plot_reconstruction(answer, start=2.0)
