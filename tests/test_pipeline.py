"""The pipelines: inputs, scores, windows, the cache of label embeddings, features, and refused checkpoints."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, pipeline

import merit_hf
from merit_hf import EcgRecord, MeritFeatureExtractor, MeritModel
from merit_hf.objective_merit import normalize_embeds
from merit_hf.pipeline_merit import (
    EcgFeatureExtractionPipeline,
    EcgZeroShotClassificationPipeline,
    embed_prompts,
    register_pipelines,
)

LABELS = ["normal ECG", "atrial fibrillation", "left bundle branch block"]


def signal(seconds: float = 10, sampling_rate: int = 500, seed: int = 0, leads: int = 12) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.cumsum(generator.normal(size=(leads, int(seconds * sampling_rate))), axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def zero_shot(tiny_run):
    return pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")


@pytest.fixture(scope="module")
def features(tiny_run):
    return pipeline("ecg-feature-extraction", model=str(tiny_run), device="cpu")


@pytest.fixture(scope="module")
def parts(tiny_run):
    """Model, extractor and tokenizer, opened without a pipeline."""
    processor = AutoProcessor.from_pretrained(tiny_run)
    return MeritModel.from_pretrained(tiny_run).eval(), processor.feature_extractor, processor.tokenizer


def expected_similarity(parts, windows, texts_by_label) -> torch.Tensor:
    """Centred cosines (windows, labels) computed step by step with NumPy's help, apart from the pipeline."""
    model, extractor, tokenizer = parts
    inputs = extractor(windows, sampling_rate=500, return_tensors="pt")
    with torch.no_grad():
        ecg = model.get_ecg_features(**inputs).pooler_output
        text = []
        for texts in texts_by_label:
            embeds = [model.get_text_features(**tokenizer(t, return_tensors="pt")).pooler_output[0] for t in texts]
            text.append(torch.stack([e / e.norm() for e in embeds]).mean(0))
    ecg = ecg / ecg.norm(dim=-1, keepdim=True) - model.ecg_embeds_mean
    text = torch.stack([t / t.norm() for t in text]) - model.text_embeds_mean
    return (ecg / ecg.norm(dim=-1, keepdim=True)) @ (text / text.norm(dim=-1, keepdim=True)).T


def by_label(answers, key="score"):
    return {answer["label"]: answer[key] for answer in answers}


def assert_same_answers(first, second, tolerance=1e-5):
    assert by_label(first) == pytest.approx(by_label(second), abs=tolerance)


# -- scores


def test_scores_are_the_softmax_of_scaled_centred_cosines(zero_shot, parts):
    answers = zero_shot(signal(), sampling_rate=500, candidate_labels=LABELS, return_similarity=True)
    texts = [["normal ecg."], ["atrial fibrillation."], ["left bundle branch block."]]
    cosines = expected_similarity(parts, [signal()], texts)[0]
    assert by_label(answers, "similarity") == pytest.approx(dict(zip(LABELS, cosines.tolist(), strict=True)), abs=1e-5)
    scores = torch.softmax(parts[0].logit_scale.exp() * cosines, dim=0)
    assert by_label(answers) == pytest.approx(dict(zip(LABELS, scores.tolist(), strict=True)), abs=1e-5)
    assert sum(answer["score"] for answer in answers) == pytest.approx(1)
    assert [answer["score"] for answer in answers] == sorted((a["score"] for a in answers), reverse=True)
    assert len({round(answer["similarity"], 3) for answer in answers}) == 3  # the model does tell texts apart


def test_multi_label_scores_each_label_against_its_contrast_text(zero_shot, parts):
    answers = zero_shot(signal(), sampling_rate=500, candidate_labels=LABELS, multi_label=True)
    scale = parts[0].logit_scale.exp()
    for label in LABELS:
        text = f"{label.lower()}."
        pair = expected_similarity(parts, [signal()], [[text], [f"no {text}"]])[0]
        assert by_label(answers)[label] == pytest.approx(
            float(torch.softmax(scale * pair, dim=0)[0].detach()), abs=1e-5
        )
    alone = zero_shot(signal(), sampling_rate=500, candidate_labels=[LABELS[1]], multi_label=True)
    assert alone[0]["score"] == pytest.approx(by_label(answers)[LABELS[1]], abs=1e-6)
    other = zero_shot(
        signal(),
        sampling_rate=500,
        candidate_labels=LABELS,
        multi_label=True,
        negative_template="sinus rhythm without {}",
    )
    assert by_label(other) != pytest.approx(by_label(answers), abs=1e-4)


def test_answers_are_plain_and_similarity_comes_on_request(zero_shot):
    answers = zero_shot(signal(), sampling_rate=500, candidate_labels=LABELS)
    assert all(set(answer) == {"score", "label"} for answer in answers)
    json.dumps(answers)


def test_several_prompts_are_averaged(zero_shot, parts):
    prompts = {"NORM": ["sinus rhythm.", "normal ecg."], "AFIB": "atrial fibrillation."}
    answers = zero_shot(signal(), sampling_rate=500, candidate_labels=prompts, return_similarity=True)
    cosines = expected_similarity(parts, [signal()], [prompts["NORM"], [prompts["AFIB"]]])[0]
    assert by_label(answers, "similarity") == pytest.approx(
        {"NORM": cosines[0].item(), "AFIB": cosines[1].item()}, abs=1e-5
    )


def test_labels_in_all_their_forms(zero_shot):
    def ask(labels, **options):
        return zero_shot(signal(), sampling_rate=500, candidate_labels=labels, **options)

    listed = ask(LABELS)
    assert_same_answers(ask(", ".join(LABELS)), listed, 1e-6)
    assert_same_answers(ask({label: f"{label}." for label in LABELS}), listed, 1e-6)
    assert by_label(ask([f"{label}." for label in LABELS])) == pytest.approx(
        {f"{label}.": score for label, score in by_label(listed).items()}, abs=1e-6
    )
    assert_same_answers(
        ask(LABELS, hypothesis_template="sinus rhythm. {}"), ask({n: f"sinus rhythm. {n}" for n in LABELS}), 1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "candidate_labels= is missing"),
        ({"candidate_labels": []}, "one or more non-empty"),
        ({"candidate_labels": ["a", " "]}, "non-empty"),
        ({"candidate_labels": ["a", "a"]}, "distinct"),
        ({"candidate_labels": {"a": []}}, r"\['a'\] need a prompt"),
        ({"candidate_labels": None}, "candidate_labels=None must be a list"),
        ({"candidate_labels": range(3)}, r"candidate_labels must be .* non-empty strings, got \[0, 1, 2\]"),
        ({"candidate_labels": 3}, "candidate_labels=3 must be a list"),
        ({"candidate_labels": b"a,b"}, "candidate_labels=b'a,b' must be a list"),
        ({"candidate_labels": ["a", None]}, "non-empty strings, got"),
        ({"candidate_labels": {"a": "x", 3: "y"}}, "non-empty strings, got"),
        ({"candidate_labels": {"a": None}}, r"\['a'\] need a prompt"),
        ({"candidate_labels": {"a": ["x", " "]}}, r"\['a'\] need a prompt"),
        ({"candidate_labels": ["a", "..."]}, "non-empty"),
        ({"candidate_labels": ["AF", "af."]}, r"'AF' and 'af.' mean the same text"),
        ({"candidate_labels": {"A": "sinus.", "B": ["Sinus."]}}, "'A' and 'B' mean the same text"),
        ({"candidate_labels": " , "}, "non-empty"),
        ({"candidate_labels": [f"finding {k}" for k in range(99)] * 2}, "distinct"),
        ({"candidate_labels": ["a"], "hypothesis_template": None}, "hypothesis_template=None must contain {}"),
        ({"candidate_labels": ["a"], "hypothesis_template": "an ecg"}, "hypothesis_template='an ecg' must contain {}"),
        ({"candidate_labels": ["a"], "negative_template": "no"}, "negative_template='no' must contain {}"),
        (
            {"candidate_labels": ["a"], "hypotesis_template": "{}"},
            r"does not know the arguments \['hypotesis_template'\]",
        ),
    ],
)
def test_bad_arguments_are_named(zero_shot, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        zero_shot(signal(), sampling_rate=500, **options)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_labels_may_come_from_anything_one_can_go_through(zero_shot):
    records = [signal(), signal(seed=1)]
    expected = zero_shot(records, sampling_rate=500, candidate_labels=LABELS)
    for labels in (tuple(LABELS), (label for label in LABELS), np.array(LABELS), dict.fromkeys(LABELS).keys()):
        answers = zero_shot(records, sampling_rate=500, candidate_labels=labels)
        assert [by_label(answer) for answer in answers] == [by_label(answer) for answer in expected]
        assert {type(answer["label"]) for answer in answers[0]} == {str}
    prompts = {label: iter([f"{label}."]) for label in LABELS}
    assert_same_answers(zero_shot(records, sampling_rate=500, candidate_labels=prompts)[1], expected[1], 1e-6)


def test_one_label_alone_is_scored_against_its_contrast_text(zero_shot):
    alone = zero_shot(signal(), sampling_rate=500, candidate_labels=[LABELS[0]])
    assert alone == zero_shot(signal(), sampling_rate=500, candidate_labels=[LABELS[0]], multi_label=True)
    assert 0.001 < alone[0]["score"] < 0.999


def test_scores_are_those_of_the_model_itself(zero_shot, parts):
    model, extractor, tokenizer = parts
    inputs = extractor(signal(), sampling_rate=500, return_tensors="pt")
    texts = tokenizer([f"{label.lower()}." for label in LABELS], padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs, input_ids=texts["input_ids"], attention_mask=texts["attention_mask"])
    scores = dict(zip(LABELS, output.logits_per_ecg.softmax(-1)[0].tolist(), strict=True))
    assert by_label(zero_shot(signal(), sampling_rate=500, candidate_labels=LABELS)) == pytest.approx(scores, abs=1e-5)
    plain = torch.softmax(model.logit_scale.exp() * output.ecg_embeds @ output.text_embeds.T, dim=-1)[0]
    assert (plain - output.logits_per_ecg.softmax(-1)[0]).abs().max() > 0.01  # centring is no detail here


def test_texts_that_are_cut_are_named_once(tiny_run):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    arguments = {"sampling_rate": 500, "candidate_labels": ["normal ecg", "atrial fibrillation " * 20]}
    with pytest.warns(UserWarning, match=r"label 'atrial .* is cut at max_text_length=32") as caught:
        pipe([signal(), signal(seed=1)], **arguments)
    assert len([each for each in caught if "max_text_length" in str(each.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe(signal(), **arguments)


def test_arguments_of_the_constructor_are_defaults(tiny_run):
    pipe = pipeline(
        "ecg-zero-shot-classification", model=str(tiny_run), device="cpu", candidate_labels=LABELS, sampling_rate=500
    )
    assert {answer["label"] for answer in pipe(signal())} == set(LABELS)
    assert [answer["label"] for answer in pipe(signal(), candidate_labels=["a"])] == ["a"]


# -- the cache


def test_label_embeddings_are_computed_once(tiny_run, monkeypatch):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    seen = []
    original = pipe.model.get_text_features

    def counted(input_ids, *args, **kwargs):
        seen.append(len(input_ids))
        return original(input_ids, *args, **kwargs)

    monkeypatch.setattr(pipe.model, "get_text_features", counted)
    first = pipe([signal(seed=seed) for seed in range(5)], sampling_rate=500, candidate_labels=LABELS)
    assert sum(seen) == 3
    again = pipe(signal(seed=0), sampling_rate=500, candidate_labels=LABELS[::-1])
    assert sum(seen) == 3
    assert_same_answers(again, first[0])
    pipe(signal(), sampling_rate=500, candidate_labels=[*LABELS, "sinus rhythm"])
    assert sum(seen) == 4
    pipe(signal(), sampling_rate=500, candidate_labels=LABELS, hypothesis_template="ecg shows {}.")
    assert sum(seen) == 7  # other texts, so other embeddings


def negate(model):
    for parameter in model.text_projection.parameters():
        parameter.mul_(-1.0)


def negate_behind_the_counter(model):
    for parameter in model.text_projection.parameters():
        parameter.data.mul_(-1.0)  # which leaves the version of the parameter as it is


def load_other_weights(model):
    state = {name: -weight for name, weight in model.text_projection.state_dict().items()}
    model.text_projection.load_state_dict(state)


def change_one_number_through_numpy(model):
    model.text_projection.linear2.bias.detach().numpy()[0] += 5.0


def change_the_embedding_of_words(model):
    weight = model.get_input_embeddings().weight
    weight.copy_(weight.flip(0))  # the sum of its numbers stays as it is


def exchange_numbers_through_numpy(model):
    weight = model.text_projection.linear2.weight.detach().numpy()
    weight[:] = weight[::-1].copy()  # neither the sum of the bits nor the version changes


class Adapter(torch.nn.Module):
    """A low-rank change of a linear layer, which can be switched off, as adapters are."""

    def __init__(self, base):
        super().__init__()
        self.base, self.scale = base, 0.0
        self.change = torch.nn.Linear(base.in_features, base.out_features)

    def forward(self, values):
        return self.base(values) + self.scale * self.change(values)


def switch_an_adapter_on(model):
    model.text_projection.linear1.scale = 30.0


def add_a_hook(model):
    model.text_projection.linear2.register_forward_hook(lambda module, given, made: -made)


def pool_otherwise(model):
    model.config.text_pooling = "mean" if model.config.text_pooling != "mean" else "cls"


@pytest.mark.parametrize(
    "change",
    [
        negate,
        negate_behind_the_counter,
        load_other_weights,
        change_one_number_through_numpy,
        change_the_embedding_of_words,
        exchange_numbers_through_numpy,
        switch_an_adapter_on,
        add_a_hook,
        pool_otherwise,
    ],
)
def test_label_embeddings_follow_the_weights(tiny_run, change):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    arguments = {"sampling_rate": 500, "candidate_labels": LABELS}
    pipe.model.text_projection.linear1 = Adapter(pipe.model.text_projection.linear1)
    before = pipe(signal(), **arguments)
    with torch.no_grad():
        change(pipe.model)
    fresh = EcgZeroShotClassificationPipeline(
        pipe.model, tokenizer=pipe.tokenizer, feature_extractor=pipe.feature_extractor
    )
    assert pipe(signal(), **arguments) == fresh(signal(), **arguments)
    assert by_label(pipe(signal(), **arguments)) != pytest.approx(by_label(before), abs=1e-3)


def test_another_model_and_a_model_in_training_answer_as_they_should(tiny_run):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    arguments = {"sampling_rate": 500, "candidate_labels": LABELS}
    before = pipe(signal(), **arguments)
    first, other = pipe.model, MeritModel.from_pretrained(tiny_run)
    with torch.no_grad():
        negate(other)
    pipe.model = other.train()
    changed = pipe(signal(), **arguments)
    assert changed == pipe(signal(), **arguments)  # no dropout
    assert pipe.model.training
    assert by_label(changed) != pytest.approx(by_label(before), abs=1e-3)
    pipe.model = first
    assert pipe(signal(), **arguments) == before


def test_label_embeddings_follow_the_weights_between_two_answers(tiny_run):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    arguments = {"sampling_rate": 500, "candidate_labels": LABELS}
    answers = pipe(iter([signal(), signal()]), **arguments)
    first = next(answers)
    with torch.no_grad():
        negate(pipe.model)
    second = next(answers)
    assert second == pipe(signal(), **arguments)
    assert by_label(second) != pytest.approx(by_label(first), abs=1e-3)


def test_the_text_side_is_the_same_as_long_as_nothing_changes(tiny_run):
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    pipe(signal(), sampling_rate=500, candidate_labels=LABELS)
    before = pipe._embedded_by
    pipe(signal(), sampling_rate=500, candidate_labels=LABELS)
    assert pipe._embedded_by is before


@pytest.mark.parametrize(
    "labels",
    [["normal ecg", "normal  ECG"], ["normal ecg", "\tnormal\necg "], {"A": ["x.", "y."], "B": ["Y.", "x."]}],
)
def test_labels_that_mean_the_same_are_refused(zero_shot, labels):
    with pytest.raises(ValueError, match="mean the same text"):
        zero_shot(signal(), sampling_rate=500, candidate_labels=labels)


def test_labels_that_become_the_same_tokens_are_warned_of(zero_shot):
    with pytest.warns(UserWarning, match="become the same tokens, so the model cannot tell them apart"):
        zero_shot(signal(), sampling_rate=500, candidate_labels=["\N{BROKEN HEART}", "\N{SNOWMAN}"])


def test_the_cache_does_not_grow_without_end(tiny_run, monkeypatch):
    monkeypatch.setattr("merit_hf.pipeline_merit._MAX_CACHED_LABELS", 4)
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run), device="cpu")
    expected = pipe(signal(), sampling_rate=500, candidate_labels=LABELS)
    for number in range(6):
        pipe(signal(), sampling_rate=500, candidate_labels=[f"finding {number}", LABELS[0]])
        assert len(pipe._label_embeds) <= 4
    assert_same_answers(pipe(signal(), sampling_rate=500, candidate_labels=LABELS), expected, 1e-6)


# -- inputs


def test_every_kind_of_input_gives_the_same_answer(zero_shot, tmp_path):
    array = signal()
    names = merit_hf.STANDARD_12
    record = EcgRecord(array, 500, names)
    shuffled = [3, 1, 2, 0, *range(11, 3, -1)]
    inputs = {
        "record": record,
        "dict": {"signal": array, "sampling_rate": 500, "lead_names": names, "units": "mV"},
        "audio-like dict": {"array": array, "sampling_rate": 500},
        "path in a dict": {"path": write_wfdb(tmp_path, record)},
        "leads in another order": {
            "signal": array[shuffled],
            "sampling_rate": 500,
            "lead_names": [names[lead] for lead in shuffled],
        },
        "array file": {"path": save_array(tmp_path, array), "sampling_rate": 500, "lead_names": names},
        "microvolts": {"signal": 1000.0 * array.astype(np.float64), "sampling_rate": 500, "units": "uV"},
    }
    expected = zero_shot(array, sampling_rate=500, candidate_labels=LABELS)
    assert_same_answers(zero_shot(torch.from_numpy(array), sampling_rate=500, candidate_labels=LABELS), expected, 1e-6)
    for name, item in inputs.items():
        # A file holds 16-bit counts, everything else the samples themselves.
        tolerance = 1e-3 if name == "path in a dict" else 1e-5
        assert_same_answers(zero_shot(item, candidate_labels=LABELS), expected, tolerance)
    together = zero_shot(list(inputs.values()), candidate_labels=LABELS)
    assert len(together) == len(inputs)
    for answers in together:
        assert_same_answers(answers, expected, 1e-3)


def save_array(folder, array: np.ndarray) -> str:
    np.save(folder / "array.npy", array)
    return str(folder / "array.npy")


def write_wfdb(folder, record: EcgRecord) -> str:
    import wfdb

    wfdb.wrsamp(
        "ecg",
        fs=record.sampling_rate,
        units=["mV"] * len(record.lead_names),
        sig_name=list(record.lead_names),
        p_signal=record.signal.T.astype(np.float64),
        fmt=["16"] * len(record.lead_names),
        write_dir=str(folder),
    )
    return str(folder / "ecg")


def test_a_row_of_a_corpus_is_the_record_it_stands_for(features):
    from merit_hf.data.row import record_from_row, row_from_record

    row = row_from_record(EcgRecord(signal(), 500, merit_hf.STANDARD_12), ecg_id="1", patient_id="1")
    row["signal"] = row["signal"].reshape(-1).tolist()
    assert features(row) == features(record_from_row(row))


def test_a_file_of_ptb_xl_gives_what_its_samples_give(zero_shot, real_data):
    import wfdb

    path = real_data / "ptb-xl" / "records500" / "00000" / "00001_hr"
    record = wfdb.rdrecord(str(path), physical=True)
    expected = zero_shot(
        record.p_signal.T, sampling_rate=500, lead_names=record.sig_name, units="mV", candidate_labels=LABELS
    )
    for name in (path, str(path), f"{path}.hea", f"{path}.dat"):
        assert_same_answers(zero_shot(name, candidate_labels=LABELS), expected, 1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_batches_give_what_single_calls_give(zero_shot, batch_size):
    # Lengths differ, so records of one and of several windows meet in one batch.
    arrays = [signal(seconds, seed=seed) for seed, seconds in enumerate((10, 25, 4, 31, 10))]
    single = [zero_shot(array, sampling_rate=500, candidate_labels=LABELS) for array in arrays]
    batched = zero_shot(arrays, sampling_rate=500, candidate_labels=LABELS, batch_size=batch_size)
    for one, other in zip(single, batched, strict=True):
        assert_same_answers(one, other, 1e-6)
    streamed = zero_shot(
        (array for array in arrays), sampling_rate=500, candidate_labels=LABELS, batch_size=batch_size
    )
    for one, other in zip(single, streamed, strict=True):
        assert_same_answers(one, other, 1e-6)


def test_no_inputs_no_answers(zero_shot, features):
    assert zero_shot([], candidate_labels=LABELS) == []
    assert features([]) == []


@pytest.mark.parametrize(
    ("item", "options", "message"),
    [
        (signal(), {}, "sampling_rate=500"),
        (signal()[None], {"sampling_rate": 500}, r"\(1, 12, 5000\)"),
        (signal().T, {"sampling_rate": 500}, "transposed"),
        (signal(leads=3), {"sampling_rate": 500}, "lead_names="),
        ({"signal": signal(), "sampling_rate": 500, "leads": ["I"]}, {}, "leads"),
        ({"sampling_rate": 500}, {}, "'signal' or 'path'"),
        ({"signal": signal(), "path": "ecg", "sampling_rate": 500}, {}, "'signal' or 'path'"),
        (3.5, {}, "from float"),
        (np.full((12, 5000), np.nan), {"sampling_rate": 500}, "nothing to see"),
        (1e6 * signal(), {"sampling_rate": 500}, "no ECG exceeds 1000 mV"),
        (np.where(np.eye(12, 5000) > 0, np.inf, signal()), {"sampling_rate": 500}, "infinite value in lead I"),
        (1e-30 * signal(), {"sampling_rate": 500}, "no lead varies by more than"),
        (signal(), {"sampling_rate": 5}, "sampling_rate is 5 Hz"),
        (signal().astype(np.int16), {"sampling_rate": 500}, "whole numbers"),
        (signal().round(), {"sampling_rate": 500}, "whole numbers"),
        (signal(0.7), {"sampling_rate": 500}, "0.7 s of signal in the best lead are too little"),
        (signal(1.9), {"sampling_rate": 500}, "expected 2 s or more"),
        ({"signal": signal()[:1, :13], "lead_names": ["II"]}, {"sampling_rate": 500}, "too little"),
        (np.where(np.arange(5000) < 500, signal(), np.nan), {"sampling_rate": 500}, "1 s of signal .* too little"),
        ("no/such/file", {}, "no/such/file"),
    ],
)
def test_bad_inputs_are_named(features, item, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        features(item, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert features(item, on_error="return", **options) == {"error": str(caught.value)}


def test_nested_lists_are_no_arrays(features):
    with pytest.raises(ValueError, match=r"inputs\[0\]: cannot read an ECG from list"):
        features([[1.0, 2.0], [3.0, 4.0]], sampling_rate=500)


# -- windows


def test_long_recordings_are_scored_by_windows_and_averaged(zero_shot, parts):
    long = signal(25)
    windows = [long[:, :5000], long[:, 5000:10000], long[:, -5000:]]
    answers = zero_shot(long, sampling_rate=500, candidate_labels=LABELS, return_similarity=True)
    each = [
        zero_shot(window, sampling_rate=500, candidate_labels=LABELS, return_similarity=True) for window in windows
    ]
    for label in LABELS:
        for key in ("score", "similarity"):
            mean = np.mean([by_label(answer, key)[label] for answer in each])
            assert by_label(answers, key)[label] == pytest.approx(mean, abs=1e-6)
    assert len({round(by_label(answer)[LABELS[0]], 6) for answer in each}) == 3


# -- features


def test_features_are_the_encoders_own(features, parts):
    model, extractor, _ = parts
    inputs = extractor(signal(), sampling_rate=500, return_tensors="pt")
    with torch.no_grad():
        output = model.ecg_model(**inputs)
    tokens = model.ecg_model.patch_features(output.last_hidden_state)[0]
    expected = {"pooled": output.pooler_output[0], "lead": tokens.mean(dim=1), "token": tokens}
    for level, values in expected.items():
        found = features(signal(), sampling_rate=500, level=level, return_tensors=True)
        torch.testing.assert_close(found, values, atol=1e-6, rtol=1e-5)
        assert features(signal(), sampling_rate=500, level=level) == found.tolist()
    assert features(signal(), sampling_rate=500) == features(signal(), sampling_rate=500, level="pooled")
    assert expected["lead"].shape == (12, 16)
    assert expected["token"].shape == (12, 10, 16)


def test_absent_leads_and_padded_time_are_zero_and_not_averaged(features):
    array = signal(5)[:2]
    options = {"sampling_rate": 500, "lead_names": ["V1", "V2"], "return_tensors": True}
    leads, tokens = (features(array, level=level, **options) for level in ("lead", "token"))
    assert (leads[:6] == 0).all()
    assert (leads[8:] == 0).all()
    assert (tokens[6:8, 5:] == 0).all()
    assert (tokens[6:8, :5].abs().sum(-1) > 0).all()
    torch.testing.assert_close(leads[6:8], tokens[6:8, :5].mean(dim=1), atol=1e-6, rtol=1e-5)


def test_features_of_long_recordings(features):
    long = signal(20)
    long[3, :5000] = 1.0  # a lead that is flat, so absent, in the first window only
    options = {"sampling_rate": 500, "return_tensors": True}
    first, second = long[:, :5000], long[:, 5000:]
    for level in ("pooled", "lead", "token"):
        whole, parts = (
            features(long, level=level, **options),
            [features(p, level=level, **options) for p in (first, second)],
        )
        if level == "token":
            expected = torch.cat(parts, dim=1)
        else:
            expected = torch.stack(parts).mean(0)
            if level == "lead":
                expected[3] = parts[1][3]
        torch.testing.assert_close(whole, expected, atol=1e-6, rtol=1e-5)


def test_unknown_level_is_named(features):
    with pytest.raises(ValueError, match="level='row' is not known"):
        features(signal(), sampling_rate=500, level="row")


def test_an_encoder_alone_gives_features_but_no_labels(tiny_run, tmp_path, features):
    from merit_hf import MeritEcgModel

    MeritEcgModel.from_pretrained(tiny_run).save_pretrained(tmp_path)
    MeritFeatureExtractor().save_pretrained(tmp_path)
    alone = pipeline("ecg-feature-extraction", model=str(tmp_path), device="cpu")
    assert alone(signal(), sampling_rate=500) == features(signal(), sampling_rate=500)
    with pytest.raises(ValueError, match="MeritEcgModel has no text tower"):
        EcgZeroShotClassificationPipeline(alone.model, feature_extractor=alone.feature_extractor)


# -- the same tensors as everywhere, and prompts


def test_the_model_sees_what_the_extractor_makes(zero_shot, features, monkeypatch):
    for pipe, method in ((zero_shot, "get_ecg_features"), (features, "ecg_model")):
        seen = {}
        original = getattr(pipe.model, method)

        def spy(input_values, padding_mask, seen=seen, original=original):
            seen.update(input_values=input_values, padding_mask=padding_mask)
            return original(input_values, padding_mask=padding_mask)

        with monkeypatch.context() as patch:
            # The encoder is a module, so the spy goes where modules are called.
            if method == "ecg_model":
                patch.setattr(original, "forward", spy_forward(original, seen))
            else:
                patch.setattr(pipe.model, method, spy)
            options = {"candidate_labels": LABELS} if pipe is zero_shot else {}
            pipe(signal(), sampling_rate=500, **options)
        expected = MeritFeatureExtractor()(signal(), sampling_rate=500, return_tensors="pt")
        assert torch.equal(seen["input_values"], expected["input_values"])
        assert torch.equal(seen["padding_mask"], expected["padding_mask"])


def spy_forward(module, seen):
    original = module.forward

    def forward(input_values, padding_mask=None, **kwargs):
        seen.update(input_values=input_values, padding_mask=padding_mask)
        return original(input_values, padding_mask=padding_mask, **kwargs)

    return forward


def test_prompt_embeddings(parts):
    model, _, tokenizer = parts
    prompts = {"A": ["sinus rhythm.", "normal ecg."], "B": ["Atrial Fibrillation."], "C": ["normal ecg."]}
    embeds = embed_prompts(model, tokenizer, prompts)
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(embed_prompts(model, tokenizer, prompts, batch_size=1), embeds, atol=1e-6, rtol=1e-5)
    alone = embed_prompts(
        model, tokenizer, {"x": ["sinus rhythm."], "y": ["normal ecg."], "z": ["atrial fibrillation."]}
    )
    torch.testing.assert_close(embeds[0], normalize_embeds(alone[:2].mean(0)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(embeds[1:], alone[[2, 1]], atol=1e-6, rtol=1e-5)
    model.train()
    try:
        torch.testing.assert_close(embed_prompts(model, tokenizer, prompts), embeds)  # without dropout
        assert model.training
    finally:
        model.eval()
    with pytest.raises(ValueError, match="label 'A' needs a list"):
        embed_prompts(model, tokenizer, {"A": "sinus rhythm."})


# -- checkpoints


@pytest.mark.parametrize(
    ("task", "prefix", "tower"),
    [
        ("ecg-zero-shot-classification", "text_model.", "text_model"),
        ("ecg-zero-shot-classification", "ecg_model.", "ecg_model"),
        ("ecg-feature-extraction", "ecg_model.layers.0.", "ecg_model"),
    ],
)
def test_an_incomplete_checkpoint_is_refused(tiny_run, tmp_path, task, prefix, tower):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith(prefix)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lacks its {tower}"):
        pipeline(task, model=str(folder), device="cpu")


def test_parts_that_are_missing_are_named(parts):
    with pytest.raises(ValueError, match="needs feature_extractor="):
        EcgFeatureExtractionPipeline(parts[0], device="cpu")
    with pytest.raises(ValueError, match="needs tokenizer="):
        EcgZeroShotClassificationPipeline(parts[0], feature_extractor=parts[1], device="cpu")


def test_a_saved_pipeline_opens_again_without_remote_code(zero_shot, tmp_path):
    zero_shot.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())
    again = pipeline("ecg-zero-shot-classification", model=str(tmp_path), device="cpu")
    arguments = {"sampling_rate": 500, "candidate_labels": LABELS}
    assert_same_answers(again(signal(), **arguments), zero_shot(signal(), **arguments), 1e-6)


def test_registering_twice_changes_nothing(caplog):
    register_pipelines()
    register_pipelines()
    assert "already registered" not in caplog.text


@pytest.mark.slow
def test_as_remote_code_arrays_work_and_a_path_says_what_to_install(tiny_run):
    """The flat files, alone in a folder and without the package, as the Hub would ship them."""
    code = f"""
import importlib, sys, types
from pathlib import Path
sys.modules["merit_hf"] = None                      # not installed
package = types.ModuleType("remote")
package.__path__ = [{str(next(iter(merit_hf.__path__)))!r}]
sys.modules["remote"] = package
pipeline_merit = importlib.import_module("remote.pipeline_merit")
modeling = importlib.import_module("remote.modeling_merit")
extraction = importlib.import_module("remote.feature_extraction_merit")
import numpy as np
run = {str(tiny_run)!r}
pipe = pipeline_merit.EcgFeatureExtractionPipeline(
    modeling.MeritEcgModel.from_pretrained(run), feature_extractor=extraction.MeritFeatureExtractor(), device="cpu"
)
array = np.random.default_rng(0).normal(size=(12, 5000))
assert len(pipe(array, sampling_rate=500)) == 16
try:
    pipe("some/record")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install merit-hf" in done.stdout
