"""Whether a pretrained text tower knows the language of the reports it is given; a tower that does not still trains.

Two witnesses, in this order: the `language` of its model card, and its tokenizer. A tokenizer breaks words of a
language that it was not made for into many pieces: the words of ECG reports that `data/reports.py` lists fall into 1.4
pieces each in English, and 3.4 in German or Swedish, for the tokenizer of `all-MiniLM-L6-v2`, an English model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from huggingface_hub import ModelCard, try_to_load_from_cache
from transformers import PreTrainedTokenizerBase

from merit_hf.data.load.report_augmentation import usable_report
from merit_hf.data.reports import WORDS_OF_LANGUAGE, report_language

from .arguments import PretrainingArguments

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.05  # of the reports, from which a foreign language is worth a warning
MOST_ROW_GROUPS = 64  # of a corpus that are looked at, evenly spaced: some 8,000 records
MOST_PIECES = 2.0  # pieces a word, as a multiple of those in the tokenizer's best language, that it still knows
NAMES = {"de": "German", "en": "English", "sv": "Swedish", "fr": "French", "es": "Spanish", "zh": "Chinese"}
_CODES = {"eng": "en", "english": "en", "deu": "de", "ger": "de", "german": "de", "swe": "sv", "swedish": "sv"}
_SEVERAL = {"multilingual", "mul"}  # what cards say of models for no language in particular


def warn_of_foreign_reports(
    arguments: PretrainingArguments, tokenizer: PreTrainedTokenizerBase, reports: Iterable[str]
) -> None:
    """Logs one warning if a part of the reports that a run reads is in a language that its `text_model` does not know.

    Args:
        arguments: of the run, with a `text_model`.
        tokenizer: of that model.
        reports: cleaned reports, looked at where the corpus is no folder here that says their languages.
    """
    assert arguments.text_model is not None
    pairs = sampled_reports(arguments) or [(text, None) for text in islice(reports, MOST_ROW_GROUPS * 128)]
    if (warning := language_warning(pairs, arguments.text_model, tokenizer)) is not None:
        logger.warning("%s", warning)


def sampled_reports(arguments: PretrainingArguments) -> list[tuple[str, str | None]]:
    """Cleaned reports that the run reads and the language that the corpus states of each; empty if it is no folder."""
    shards = sorted(Path(arguments.corpus, "data").glob(f"{arguments.train_split}-*.parquet"))
    groups = [(path, group) for path in shards for group in range(pq.read_metadata(path).num_row_groups)]
    chosen = np.linspace(0, len(groups) - 1, min(len(groups), MOST_ROW_GROUPS)).astype(int)
    pairs = []
    for path, group in (groups[number] for number in chosen):
        table = pq.ParquetFile(path).read_row_group(group, columns=["report", "report_language"])
        languages = table["report_language"].to_pylist()
        for text, language in zip(table["report"].to_pylist(), languages, strict=True):
            pairs.append((usable_report(text, language, arguments.report_augmentation), language))
    return pairs


def language_warning(
    reports: Iterable[tuple[str, str | None]], text_model: str, tokenizer: PreTrainedTokenizerBase
) -> str | None:
    """What to say about the languages of a corpus and of a pretrained text tower; None where they fit.

    Args:
        reports: cleaned reports, empty where there is none, and the ISO 639-1 code of each as the corpus states it;
            None is told by the words.
        text_model: name on the Hugging Face Hub, or folder. Nothing is downloaded: of a name, the card counts if the
            cache has it.
        tokenizer: of that model.
    """
    counts = Counter(language or report_language(text) for text, language in reports if text)
    known, witness = card_languages(text_model), "as its model card says"
    foreign: set[str] = set()
    if known is not None:
        foreign = {language for language in counts if language and known and language not in known}
    else:
        pieces = pieces_per_word(tokenizer)
        best = min(pieces.values())
        known = {language for language, number in pieces.items() if number <= MOST_PIECES * best}
        foreign = {language for language in counts if language in pieces.keys() - known}
        figures = ", ".join(f"{number:.1f} in {_name(language)}" for language, number in sorted(pieces.items()))
        witness = f"as its tokenizer shows: pieces for a word are {figures}"
    share = sum(counts[language] for language in foreign) / max(1, counts.total())
    if share < LEAST_SHARE:
        return None
    ranked = sorted(foreign, key=lambda language: -counts[language])
    which = " and ".join(f"{_name(language)} ({language})" for language in ranked)
    return (
        f"{share:.0%} of the reports are {which}, but text tower {text_model} is for "
        f"{' and '.join(_name(language) for language in sorted(known))} ({witness}). It will hardly understand them: "
        "take a text_model that knows the language, or leave these reports out with "
        f"--report_augmentation.report_languages {' '.join(sorted(known))}"
    )


def card_languages(text_model: str) -> set[str] | None:
    """Languages that a model card states, as ISO 639-1 codes; empty: none in particular; None: it states none."""
    path: object = Path(text_model, "README.md")
    if not Path(text_model).is_dir():
        path = try_to_load_from_cache(text_model, "README.md")
    if not isinstance(path, (str, Path)) or not Path(path).is_file():
        return None
    try:
        stated = ModelCard(Path(path).read_text(encoding="utf-8")).data.get("language")
    except (ValueError, yaml.YAMLError):
        return None
    words = [stated] if isinstance(stated, str) else list(stated or [])
    codes = {str(word).lower().split("-")[0].split("_")[0] for word in words}
    if not codes:
        return None
    return set() if codes & _SEVERAL else {_CODES.get(code, code) for code in codes}


def pieces_per_word(
    tokenizer: PreTrainedTokenizerBase, words: Mapping[str, Iterable[str]] = WORDS_OF_LANGUAGE
) -> dict[str, float]:
    """Tokens into which a tokenizer breaks a word of ECG reports, on average by language.

    A word with a part that it does not know counts as many as it has letters.
    """
    means = {}
    for language, listed in words.items():
        pieces = {word: tokenizer.tokenize(word) for word in listed}
        means[language] = sum(
            len(word) if tokenizer.unk_token in found else len(found) for word, found in pieces.items()
        ) / len(pieces)
    return means


def _name(language: str) -> str:
    return NAMES.get(language, language)
