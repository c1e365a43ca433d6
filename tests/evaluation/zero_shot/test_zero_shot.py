"""Zero-shot evaluation: cosines as in the pipeline, metrics from them, and what the untrained baseline is."""

import shutil

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from transformers import pipeline

from merit_hf import MeritEcgModel, MeritForPreTraining, MeritModel
from merit_hf.data.build.open import load_corpus
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.encoders.encoder import ModelEncoder
from merit_hf.evaluation.targets import task_targets
from merit_hf.evaluation.zero_shot.prompts import select_prompts
from merit_hf.evaluation.zero_shot.zero_shot import (
    ZeroShotScoring,
    load_zero_shot,
    untrained_model,
    zero_shot_result,
    zero_shot_scores,
)


@pytest.fixture(scope="module")
def checkpoint(tiny_run):
    return load_zero_shot(str(tiny_run), "cpu")


@pytest.fixture(scope="module")
def split(small_corpus) -> datasets.Dataset:
    return load_corpus(small_corpus, "train")


@pytest.fixture(scope="module")
def prompts(split) -> dict[str, list[str]]:
    return select_prompts("findings", task_targets(split, "findings").label_names)[0]


def test_cosines_are_those_of_the_pipeline(tiny_run, checkpoint, split, prompts):
    found = zero_shot_scores(*checkpoint, split, prompts, batch_size=7)
    assert found.shape == (len(split), len(prompts))
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    rows = [0, 3, 8]
    answers = pipe([split[row] for row in rows], candidate_labels=prompts, return_similarity=True)
    for row, answer in zip(rows, answers, strict=True):
        expected = {entry["label"]: entry["similarity"] for entry in answer}
        assert dict(zip(prompts, found[row], strict=True)) == pytest.approx(expected, abs=1e-6)
    assert np.std(found, axis=0).min() > 1e-4  # the model does tell ECGs apart


def test_contrast_scores_are_those_of_the_pipeline(tiny_run, checkpoint, split, prompts):
    found = zero_shot_scores(*checkpoint, split, prompts, scoring=ZeroShotScoring(negative_template="absence of {}"))
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu", multi_label=True)
    answer = pipe(split[3], candidate_labels=prompts, negative_template="absence of {}")
    expected = {entry["label"]: entry["score"] for entry in answer}
    assert dict(zip(prompts, found[3], strict=True)) == pytest.approx(expected, abs=1e-6)
    assert ZeroShotScoring(negative_template="no {}").score_kind == "probability"
    assert ZeroShotScoring().score_kind == "similarity"


def test_scores_of_an_ensemble_are_the_mean_over_single_prompts(checkpoint, split, prompts):
    found = zero_shot_scores(*checkpoint, split, prompts, scoring=ZeroShotScoring(ensemble="score"))
    for column, texts in enumerate(prompts.values()):
        if column in (0, 4):
            single = zero_shot_scores(*checkpoint, split, {text: [text] for text in texts})
            np.testing.assert_allclose(found[:, column], single.mean(axis=1), atol=1e-6)
    assert not np.allclose(found, zero_shot_scores(*checkpoint, split, prompts), atol=1e-4)


def test_ways_of_scoring_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="ensemble is 'mean', expected one of embedding, score"):
        ZeroShotScoring(ensemble="mean")
    with pytest.raises(ValueError, match=r"negative_template='no' must contain \{\}"):
        ZeroShotScoring(negative_template="no")


def test_batches_do_not_matter_and_the_model_is_left_as_it_was(checkpoint, split, prompts):
    model = checkpoint[0]
    model.train()
    try:
        one = zero_shot_scores(*checkpoint, split, prompts, batch_size=1)
        assert model.training
        many = zero_shot_scores(*checkpoint, split, prompts, batch_size=100)
    finally:
        model.eval()
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_long_recordings_are_averaged_over_windows(checkpoint, split, prompts):
    model, extractor, tokenizer = checkpoint
    half = type(extractor)(duration=5.0)
    whole = zero_shot_scores(model, half, tokenizer, split, prompts)
    record = record_from_row(split[2])
    with torch.no_grad():
        windows = [record.signal[:, :500], record.signal[:, 500:]]
        inputs = half(windows, sampling_rate=100, lead_names=record.lead_names, return_tensors="pt")
        mean = model.ecg_model(**inputs).pooler_output.mean(0)
    encoder = ModelEncoder(
        "tiny", "merit", model.ecg_model, lambda values, mask: model.ecg_model(values, mask).pooler_output, half, {}
    )
    np.testing.assert_allclose(encoder.features(split)[2], mean, atol=1e-5)
    single = []
    for window in windows:
        row = {**split[2], "signal": (1000 * window).round().astype(np.int16).reshape(-1), "num_samples": 500}
        row["adc_gain"] = [1000.0] * 12
        one = datasets.Dataset.from_list([row], features=split.features)
        single.append(zero_shot_scores(model, half, tokenizer, one, prompts)[0])
    np.testing.assert_allclose(whole[2], np.mean(single, axis=0), atol=1e-5)


def test_result_has_the_models_auroc_beside_the_mean_of_untrained_ones(checkpoint, split, prompts):
    model, extractor, tokenizer = checkpoint
    targets = task_targets(split, "findings")
    result = zero_shot_result(
        model,
        extractor,
        tokenizer,
        split,
        task="findings",
        split="train",
        prompts=dict(reversed(prompts.items())),  # the order of a prompts file does not matter
        model_name="RUN",
        config={},
        seeds=[0, 1],
        num_resamples=50,
    ).as_plain()
    scores = zero_shot_scores(model, extractor, tokenizer, split, prompts)
    untrained = [
        zero_shot_scores(untrained_model(model, seed), extractor, tokenizer, split, prompts) for seed in (0, 1)
    ]
    for column, label in enumerate(targets.label_names):
        if label in result["excluded_labels"]:
            assert targets.targets[:, column].sum() == 0
            continue
        assert result["per_label"][label]["auroc"] == pytest.approx(
            roc_auc_score(targets.targets[:, column], scores[:, column])
        )
        expected = np.mean([roc_auc_score(targets.targets[:, column], each[:, column]) for each in untrained])
        assert result["untrained"]["per_label"][label]["auroc"] == pytest.approx(expected)
    assert set(result["untrained"]) == set(result) - {"untrained"}
    assert set(result["untrained"]["per_label"]) == set(result["per_label"])
    assert result["n"] == len(targets.records)
    assert len(result["untrained"]["metrics"]["macro_auroc"]["values"]) == 2


def test_an_untrained_model_is_drawn_anew_but_for_what_stays_frozen(checkpoint):
    model = checkpoint[0]
    state = torch.random.get_rng_state()
    first, again, other = untrained_model(model, 0), untrained_model(model, 0), untrained_model(model, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weight in first.named_parameters():
        assert torch.equal(weight, again.get_parameter(name))
        if weight.ndim == 2:  # biases and norms start at constants
            assert not torch.equal(weight, model.get_parameter(name)), name
            assert not torch.equal(weight, other.get_parameter(name)), name
    assert not first.ecg_embeds_mean.any()
    assert model.ecg_embeds_mean.any()

    config = type(model.config).from_dict({**model.config.to_dict(), "text_trainable_layers": 0})
    frozen = MeritModel(config)
    fresh = untrained_model(frozen, 0)
    for name, weight in frozen.text_model.named_parameters():
        assert torch.equal(weight, fresh.text_model.get_parameter(name))
    layer = "ecg_model.layers.0.mlp.fc1.weight"
    assert not torch.equal(frozen.get_parameter(layer), fresh.get_parameter(layer))
    assert not torch.equal(frozen.text_projection.linear1.weight, fresh.text_projection.linear1.weight)


def test_labels_without_prompts_are_named(checkpoint, split, prompts):
    few = {label: texts for label, texts in prompts.items() if label != "LBBB"}
    with pytest.raises(ValueError, match=r"labels \['LBBB'\] of task 'findings' have no prompts"):
        zero_shot_result(
            *checkpoint, split, task="findings", split="train", prompts=few, model_name="RUN", config={}, seeds=[]
        )


def test_checkpoints_that_cannot_do_it_are_refused(tiny_run, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        load_zero_shot(str(tmp_path / "nowhere"))
    MeritEcgModel.from_pretrained(tiny_run).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="'merit_ecg' and has no text tower"):
        load_zero_shot(str(tmp_path / "encoder"))
    incomplete = tmp_path / "incomplete"
    shutil.copytree(tiny_run, incomplete)
    weights = load_file(incomplete / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("text_model.")}
    save_file(kept, incomplete / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks its text_model"):
        load_zero_shot(str(incomplete))
    (incomplete / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be opened"):
        load_zero_shot(str(incomplete))
    masked_only = MeritForPreTraining.from_pretrained(tiny_run)
    masked_only.config.contrastive_weight = 0.0
    masked_only.save_pretrained(tmp_path / "masked")
    shutil.copy(tiny_run / "processor_config.json", tmp_path / "masked")
    shutil.copy(tiny_run / "tokenizer.json", tmp_path / "masked")
    shutil.copy(tiny_run / "tokenizer_config.json", tmp_path / "masked")
    with pytest.raises(ValueError, match="contrastive_weight=0"):
        load_zero_shot(str(tmp_path / "masked"))
