"""Tokenizers and text towers: made from a corpus, the same every time, or loaded with one clear error."""

import hashlib
import os
import random
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from merit_hf.training.pretraining.text_tower import (
    SPECIAL_TOKENS,
    load_text_tokenizer,
    load_text_tower,
    small_text_config,
    train_tokenizer,
)

FINDINGS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "t wave inversion", "old infarct"]
TEXTS = [f"{first}, {second}. rate {60 + number} bpm." for number, (first, second) in enumerate(
    [(first, second) for first in FINDINGS for second in FINDINGS]
)]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=120, max_length=16)


def files(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class TestTokenizer:
    def test_order_of_texts_and_process_do_not_matter(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path / "here")
        shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
        train_tokenizer(iter(shuffled), vocab_size=120, max_length=16).save_pretrained(tmp_path / "shuffled")
        # the trainer's hash maps are seeded anew in every process
        program = (
            "import sys; from merit_hf.training.pretraining.text_tower import train_tokenizer; "
            "texts = sys.stdin.read().splitlines(); "
            "train_tokenizer(texts, vocab_size=120, max_length=16).save_pretrained(sys.argv[1])"
        )
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "process")],
            input="\n".join(TEXTS),
            text=True,
            check=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"},
        )
        expected = files(tmp_path / "here")
        assert "tokenizer.json" in expected
        for name in ("shuffled", "process"):
            assert files(tmp_path / name) == expected

    def test_it_reads_like_bert(self, tokenizer):
        assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
        batch = tokenizer(["Sinus RHYTHM.", "atrial fibrillation, old infarct."], padding=True)
        assert set(batch) == {"input_ids", "attention_mask"}
        tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
        assert tokens[0] == "[CLS]"
        assert "[SEP]" in tokens
        assert tokens[-1] == "[PAD]"
        assert tokenizer.decode(batch["input_ids"][1], skip_special_tokens=True).replace(" ", "") == (
            "atrialfibrillation,oldinfarct."
        )
        assert train_tokenizer(TEXTS, vocab_size=400).tokenize("sinus rhythm") == ["sinus", "rhythm"]
        assert tokenizer("ж")["input_ids"] == [2, tokenizer.unk_token_id, 3]
        assert tokenizer("")["input_ids"] == [2, 3]

    def test_single_characters_are_ordinary_tokens(self, tokenizer):
        ids = tokenizer("a b")["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == "a b"
        assert set(tokenizer.all_special_tokens) == set(SPECIAL_TOKENS)

    def test_sizes_are_respected(self, tokenizer):
        assert len(tokenizer) == 120
        assert len(tokenizer("atrial " * 50, truncation=True)["input_ids"]) == 16

    def test_it_survives_saving(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        again = AutoTokenizer.from_pretrained(tmp_path)
        assert again(TEXTS) == tokenizer(TEXTS)
        assert again.model_max_length == 16

    def test_impossible_requests_are_refused(self):
        with pytest.raises(ValueError, match="corpus with reports"):
            train_tokenizer(["", "  "])
        with pytest.raises(ValueError, match="vocab_size is 10"):
            train_tokenizer(TEXTS, vocab_size=10)


class TestSmallTower:
    def test_config_fits_the_tokenizer(self, tokenizer):
        config = small_text_config(tokenizer, hidden_size=32, num_hidden_layers=1, hidden_dropout_prob=0.2)
        assert (config.vocab_size, config.max_position_embeddings, config.pad_token_id) == (120, 16, 0)
        assert (config.intermediate_size, config.hidden_dropout_prob) == (128, 0.2)
        model = BertModel(config, add_pooling_layer=False)
        batch = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
        assert model(**batch).last_hidden_state.shape == (25, 16, 32)

    def test_a_tokenizer_without_a_limit(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        unlimited = AutoTokenizer.from_pretrained(tmp_path)
        unlimited.model_max_length = int(1e30)
        assert small_text_config(unlimited).max_position_embeddings == 512


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 120,
}
TOWERS = {
    "bert": lambda: BertModel(BertConfig(**SMALL)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=120, dim=16, n_layers=2, n_heads=2, hidden_dim=16)
    ),
    "t5": lambda: T5Model(T5Config(vocab_size=120, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)),
}


class TestLoading:
    @pytest.mark.parametrize("kind", TOWERS)
    def test_any_type_of_encoder(self, kind, tokenizer, tmp_path):
        saved = TOWERS[kind]().eval()
        saved.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        model, loaded_tokenizer = load_text_tower(str(tmp_path))
        model.eval()
        batch = loaded_tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
        encoder = saved.get_encoder() if kind == "t5" else saved
        expected = encoder(**batch).last_hidden_state
        torch.testing.assert_close(model(**batch).last_hidden_state, expected)
        assert not any("pooler" in name or "decoder" in name for name, _ in model.named_parameters())

    def test_half_precision_checkpoints_become_float32(self, tokenizer, tmp_path):
        TOWERS["bert"]().to(torch.bfloat16).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        assert load_text_tower(str(tmp_path))[0].dtype == torch.float32

    def test_a_tokenizer_that_cannot_pad_uses_its_end_token(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        bare = AutoTokenizer.from_pretrained(tmp_path)
        bare.pad_token, bare.eos_token = None, "[SEP]"
        bare.save_pretrained(tmp_path)
        assert load_text_tokenizer(str(tmp_path)).pad_token == "[SEP]"
        bare.eos_token = None
        bare.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="pad_token"):
            load_text_tokenizer(str(tmp_path))

    def test_nothing_there(self, tmp_path):
        for name in (str(tmp_path / "missing"), str(tmp_path), "nobody/has-this-model"):
            with pytest.raises(ValueError, match="text_model") as caught:
                load_text_tower(name)
            assert repr(name) in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_weights_missing_altogether(self, tokenizer, tmp_path):
        BertConfig(**SMALL).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="no text encoder could be loaded"):
            load_text_tower(str(tmp_path))

    def test_weights_that_are_incomplete_are_refused(self, tokenizer, tmp_path):
        model = TOWERS["bert"]()
        weights = {name: value for name, value in model.state_dict().items() if "layer.1.output" not in name}
        model.save_pretrained(tmp_path, state_dict=weights)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"lacks 4 of its weights, such as 'encoder\.layer\.1\.output"):
            load_text_tower(str(tmp_path))

    def test_weights_of_another_shape_are_refused(self, tokenizer, tmp_path):
        TOWERS["bert"]().save_pretrained(tmp_path)
        BertConfig(**{**SMALL, "intermediate_size": 32}).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="text_model"):
            load_text_tower(str(tmp_path))

    def test_tokenizer_missing(self, tmp_path):
        TOWERS["bert"]().save_pretrained(tmp_path)
        assert isinstance(AutoModel.from_pretrained(tmp_path), BertModel)
        with pytest.raises(ValueError, match="vocabulary"):
            load_text_tower(str(tmp_path))

    def test_tokenizer_of_another_model(self, tokenizer, tmp_path):
        BertModel(BertConfig(**{**SMALL, "vocab_size": 100})).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="120 tokens, but the text encoder has 100"):
            load_text_tower(str(tmp_path))
