"""The text side of a run: a pretrained text encoder by name, or a tokenizer and a small encoder made from a corpus.

How texts become batches is in data/collator.py; how a tower is joined to an ECG encoder is in modeling_merit.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from merit_hf.modeling_merit import text_tower_class, without_pooler

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of their numbers, as BERT has them
_PREFIX = "##"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 4096, max_length: int = 128, min_frequency: int = 2
) -> PreTrainedTokenizerFast:
    """Trains a lower-case WordPiece tokenizer with BERT's special tokens.

    The same texts, in any order, give the same tokenizer, byte for byte.

    Args:
        texts: cleaned reports; empty ones are passed over.
        vocab_size: largest number of tokens.
        max_length: longest input of the text tower in tokens, kept as `model_max_length`.
        min_frequency: occurrences that a pair of pieces needs to be joined.

    Raises:
        ValueError: if there is no text, or if the characters of the texts alone exceed `vocab_size`.
    """
    tokenizer = _untrained({token: number for number, token in enumerate(SPECIAL_TOKENS)})
    sentences = sorted(text for text in texts if text.strip())
    if not sentences:
        raise ValueError(
            "texts has no report to train a tokenizer on: name a pretrained tower (text_model), or use a corpus with "
            "reports."
        )
    # The trainer numbers what it meets in the order of a randomly seeded hash map, and breaks ties by number.
    # Naming all single pieces beforehand, in a fixed order, leaves nothing to chance.
    characters = sorted({char for text in set(sentences) for char in tokenizer.normalizer.normalize_str(text)} - {" "})
    pieces = [*SPECIAL_TOKENS, *characters, *(_PREFIX + char for char in characters)]
    if len(pieces) > vocab_size:
        raise ValueError(
            f"vocab_size is {vocab_size}, but the {len(characters)} characters of the texts need {len(pieces)} tokens."
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        show_progress=False,
        special_tokens=pieces,
        continuing_subword_prefix=_PREFIX,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    # A fresh tokenizer with this vocabulary: in the trained one every single character would count as a special token.
    vocabulary = dict(sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1]))
    return PreTrainedTokenizerFast(
        tokenizer_object=_untrained(vocabulary),
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _untrained(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", continuing_subword_prefix=_PREFIX))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_PREFIX)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def small_text_config(
    tokenizer: PreTrainedTokenizerBase,
    hidden_size: int = 128,
    num_hidden_layers: int = 2,
    num_attention_heads: int = 2,
    intermediate_size: int | None = None,
    **overrides: Any,
) -> BertConfig:
    """Configuration of a small BERT that fits a tokenizer; its weights are new.

    Args:
        tokenizer: gives the vocabulary, the padding token and the longest input.
        hidden_size, num_hidden_layers, num_attention_heads: size of the tower.
        intermediate_size: width of the feed-forward layers; four times `hidden_size` by default.
        overrides: further fields of `BertConfig`.
    """
    length = tokenizer.model_max_length
    fields: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        "intermediate_size": intermediate_size or 4 * hidden_size,
        # a tokenizer that states no limit holds a huge number here
        "max_position_embeddings": length if length <= 8192 else 512,
        "type_vocab_size": 1,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return BertConfig(**{**fields, **overrides})


def load_text_tokenizer(id_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a pretrained text encoder; without a padding token of its own it pads with its end token.

    Raises:
        ValueError: if it cannot be found or read, or has nothing to pad with.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(id_or_path)
    except (OSError, ValueError, KeyError) as error:
        raise _not_there("tokenizer", id_or_path, error) from error
    # Where there are no tokenizer files, transformers makes a tokenizer of special tokens and nothing else.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError(
            f"the tokenizer of {id_or_path!r} has no vocabulary; its files seem to be missing: {_ADVICE}."
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {id_or_path!r} has no padding token (pad_token): add one to it.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_text_tower(id_or_path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A pretrained text encoder of any Hugging Face type, in float32, and its tokenizer.

    Of an encoder–decoder only the encoder is taken; a pooler is left out.

    Args:
        id_or_path: name on the Hugging Face Hub, or a folder.

    Raises:
        ValueError: if model or tokenizer cannot be found or read, or if weights are missing or of another shape.
    """
    try:
        config = AutoConfig.from_pretrained(id_or_path)
        tower: Any = text_tower_class(config)
        model, info = tower.from_pretrained(
            id_or_path, config=config, dtype="float32", output_loading_info=True, **without_pooler(config)
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _not_there("text encoder", id_or_path, error) from error
    missing = sorted({*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])})
    if missing:
        raise ValueError(
            f"the text encoder {id_or_path!r} lacks {len(missing)} of its weights, such as {missing[0]!r}: {_ADVICE}."
        )
    tokenizer = load_text_tokenizer(id_or_path)
    known = len(model.get_input_embeddings().weight)
    if len(tokenizer) > known:
        raise ValueError(
            f"the tokenizer of {id_or_path!r} has {len(tokenizer)} tokens, but the text encoder has {known}: they do "
            "not belong together."
        )
    return model, tokenizer


_ADVICE = "give text_model a folder with config.json, weights and tokenizer, or a model of the Hugging Face Hub"


def _not_there(what: str, id_or_path: str, error: Exception) -> ValueError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ValueError(f"no {what} could be loaded from {id_or_path!r} ({reason}): {_ADVICE}.")
