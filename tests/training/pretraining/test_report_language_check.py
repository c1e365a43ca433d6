"""Reports in a language that a pretrained text tower does not know, as its card or its tokenizer tells."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerBase

from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.table import TableCorpus
from merit_hf.data.load.report_augmentation import ReportAugmentation
from merit_hf.data.reports import WORDS_OF_LANGUAGE
from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.report_language_check import (
    card_languages,
    language_warning,
    pieces_per_word,
    warn_of_foreign_reports,
)
from merit_hf.training.pretraining.text_tower import train_tokenizer

GERMAN = ["sinusrhythmus normales ekg."] * 7
ENGLISH = ["sinus rhythm normal ecg."] * 3


def tokenizer_of(*languages: str) -> PreTrainedTokenizerBase:
    """Knows the letters of all languages, and the words of some."""
    letters = [" ".join(sorted(words)) for words in WORDS_OF_LANGUAGE.values()]
    words = [" ".join(sorted(WORDS_OF_LANGUAGE[language])) for language in languages]
    return train_tokenizer([*letters, *words * 8], vocab_size=4096, min_frequency=8)


@pytest.fixture(scope="module")
def english() -> PreTrainedTokenizerBase:
    return tokenizer_of("en")


def card(folder: Path, language: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(f"---\nlicense: mit\n{language}\n---\n# A model\n")
    return str(folder)


def test_pieces_per_word(english: PreTrainedTokenizerBase) -> None:
    pieces = pieces_per_word(english)
    assert pieces["en"] == pytest.approx(1.0, abs=0.3)
    assert min(pieces["de"], pieces["sv"]) > 2 * pieces["en"]
    both = pieces_per_word(tokenizer_of("en", "de"))
    assert both["de"] < 2 * both["en"] < both["sv"]
    # A word with a letter that is not known counts its letters.
    assert pieces_per_word(english, {"xx": ["ж" * 5]}) == {"xx": 5.0}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("language: en", {"en"}),
        ("language: [en, de-AT]", {"en", "de"}),
        ("language: English", {"en"}),
        ("language:\n- multilingual\n- en", set()),
        ("tags: [x]", None),
    ],
)
def test_card_languages(language: str, expected: set[str] | None, tmp_path: Path) -> None:
    assert card_languages(card(tmp_path / "model", language)) == expected


def test_no_card_is_no_witness(tmp_path: Path) -> None:
    assert card_languages(str(tmp_path)) is None
    assert card_languages("nobody/has-cached-this") is None
    (tmp_path / "README.md").write_text("---\nlanguage: [unclosed\n---\n")
    assert card_languages(str(tmp_path)) is None


def test_warning_by_card(english: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model = card(tmp_path / "model", "language: en")
    reports = [(text, "de") for text in GERMAN] + [(text, "en") for text in ENGLISH] + [("", None)]
    warning = language_warning(reports, model, english)
    assert warning is not None
    assert warning.startswith(
        f"70% of the reports are German (de), but text tower {model} is for English (as its model"
    )
    assert warning.endswith("--report_augmentation.report_languages en")
    assert language_warning(reports[7:], model, english) is None
    assert language_warning(reports, card(tmp_path / "model", "language: [de, en]"), english) is None
    assert language_warning(reports, card(tmp_path / "model", "language: multilingual"), english) is None
    french = [("rythme sinusal.", "fr")]
    assert "French (fr)" in str(language_warning(french, card(tmp_path / "model", "language: en"), english))


def test_warning_by_tokenizer(english: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    reports = [(text, None) for text in GERMAN + ENGLISH]  # their language is told by the words
    warning = str(language_warning(reports, str(tmp_path), english))
    assert warning.startswith("70% of the reports are German (de)")
    assert "as its tokenizer shows: pieces for a word are" in warning
    assert language_warning(reports, str(tmp_path), tokenizer_of("en", "de")) is None
    # Of a language whose words are not listed, a tokenizer says nothing.
    assert language_warning([("rythme sinusal.", "fr")], str(tmp_path), english) is None


def test_a_run_is_warned_once(
    english: PreTrainedTokenizerBase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        {"ecg_id": f"{number}", "split": "train", "report": text, "report_language": language}
        for number, (text, language) in enumerate([*((t, "de") for t in GERMAN), *((t, "en") for t in ENGLISH)])
    ]
    pd.DataFrame(lines).to_csv(tmp_path / "records.csv", index=False)
    np.save(tmp_path / "signals.npy", np.random.default_rng(0).normal(size=(10, 12, 50)))
    source = {"records": str(tmp_path / "records.csv"), "signals": str(tmp_path / "signals.npy")}
    write_corpus(TableCorpus(**source, sampling_rate=100.0), tmp_path / "C")
    model = card(tmp_path / "model", "language: en")

    def warned(**options: object) -> list[str]:
        caplog.clear()
        given = PretrainingArguments(corpus=str(tmp_path / "C"), output_dir="R", text_model=model, **options)
        with caplog.at_level(logging.WARNING):
            warn_of_foreign_reports(given, english, [])
        return [record.getMessage() for record in caplog.records]

    assert [text[:22] for text in warned()] == ["70% of the reports are"]
    assert warned(report_augmentation=ReportAugmentation(report_languages=("en",))) == []
