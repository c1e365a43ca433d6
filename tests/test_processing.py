"""MeritProcessor joins extractor and tokenizer, and is kept on disk with both."""

import json
import warnings

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer, PreTrainedTokenizerFast

from merit_hf import MeritFeatureExtractor, MeritProcessor
from merit_hf.io import EcgRecord


@pytest.fixture
def processor():
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    words = [*special.values(), "sinus", "rhythm", "normal", "ecg"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=4, model_input_names=["input_ids", "attention_mask"], **special
    )
    return MeritProcessor(MeritFeatureExtractor(duration=2.0, truncation="random"), fast)


@pytest.fixture
def record():
    return EcgRecord(np.random.default_rng(0).standard_normal((2, 1500)), 500, ("I", "II"))


def test_each_part_does_its_own(processor, record):
    processor.feature_extractor.truncation = "first"
    texts = ["sinus rhythm", "normal"]
    made = processor(ecg=[record, record], text=texts, return_tensors="pt")
    expected = processor.feature_extractor([record, record], return_tensors="pt")
    assert set(made) == set(processor.model_input_names)
    assert torch.equal(made["input_values"], expected["input_values"])
    assert torch.equal(made["padding_mask"], expected["padding_mask"])
    assert made["input_ids"].tolist() == [[2, 3], [4, 1]]
    assert made["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_texts_that_are_cut_are_warned_of(processor):
    with pytest.warns(UserWarning, match="1 of 2 texts are cut at 4 tokens"):
        processor(text=["normal ecg", "sinus rhythm normal ecg sinus rhythm"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor(text=["normal ecg"])
        assert len(processor(text="normal " * 9, truncation=True)["input_ids"]) == 4


def test_one_part_alone(processor, record):
    assert set(processor(ecg=record)) == {"input_values", "padding_mask"}
    assert set(processor(text="normal ecg")) == {"input_ids", "attention_mask"}
    with pytest.raises(ValueError, match="ecg=, text= or both"):
        processor()


def test_arguments_reach_the_part_that_knows_them(processor, record):
    made = processor(
        ecg=record.signal,
        text=["normal", "normal normal normal normal normal normal"],
        sampling_rate=500,
        lead_names=("I", "II"),
        generator=np.random.default_rng(1),
        max_length=3,
        return_tensors="np",
    )
    same = processor.feature_extractor(record, generator=np.random.default_rng(1), return_tensors="np")
    np.testing.assert_array_equal(made["input_values"], same["input_values"])
    assert made["input_ids"].shape == (2, 3)
    assert processor(text=["normal " * 9])["input_ids"][0] == [4, 4, 4, 4]  # the tokenizer's own limit
    with pytest.raises(ValueError, match="no argument audio"):
        processor(text="normal", audio=[0.0])


def test_a_generator_is_drawn_from_and_not_copied(processor, record):
    generator = np.random.default_rng(1)
    first = processor(ecg=record, generator=generator, return_tensors="pt")
    second = processor(ecg=record, generator=generator, return_tensors="pt")
    assert not torch.equal(first["input_values"], second["input_values"])


def test_it_survives_being_saved(processor, record, tmp_path):
    processor.feature_extractor.truncation = "center"
    processor.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"processor_config.json", "tokenizer.json"} <= names
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"] == "MeritProcessor"
    expected = processor(ecg=record, text="sinus ecg", return_tensors="pt")
    for loaded in (MeritProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is MeritProcessor
        again = loaded(ecg=record, text="sinus ecg", return_tensors="pt")
        assert all(torch.equal(again[name], expected[name]) for name in expected)
    assert AutoFeatureExtractor.from_pretrained(tmp_path).to_dict() == processor.feature_extractor.to_dict()
    assert AutoTokenizer.from_pretrained(tmp_path)("sinus ecg")["input_ids"] == [2, 5]
