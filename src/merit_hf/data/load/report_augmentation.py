"""Which reports are learnt from, and which words of them are shown: filters and random phrase subsets.

Works on cleaned reports. Cleaning itself is in reports.py, changes of the signal are in augmentation.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merit_hf.command_line import option
from merit_hf.data.randomness import record_generator
from merit_hf.data.reports import clean_report, report_hash

# A full stop, semicolon or colon ends a phrase only before a space: "st.t changes" and "4.46" stay whole.
_BOUND = re.compile(r"(?<=[.;:!?])\s+|\n+|(?<=,)\s+")


@dataclass(frozen=True)
class ReportAugmentation:
    """Shows a part of a report instead of the whole, and leaves out reports that say nothing about the ECG.

    With a small corpus the same few sentences come back in thousands of reports; phrases shown alone teach what
    each of them means. The subsets of a report are a function of its text, so that equal reports share them and
    the texts that a text tower sees stay few.
    """

    probability: float = option(0.5, help="chance that a subset is shown instead of the whole report; 0 only filters")
    num_subsets: int = option(
        4, help="number of different subsets of one report; which one is shown changes from epoch to epoch"
    )
    max_phrase_words: int | None = option(
        None,
        help="longer phrases are cut between words, for reports written without punctuation; null leaves them whole",
        unit="words",
    )
    report_languages: tuple[str, ...] | None = option(
        None,
        help="languages (ISO 639-1, as in the corpus' report_language) that are used; null uses all, a list leaves "
        "out reports of unknown language",
    )
    min_words: int = option(0, help="fewest words of a report that is used", unit="words")
    excluded_reports: tuple[str, ...] = option(
        ("trace only", "trace only requested"),
        help="reports that count as missing, cleaned and without their final full stop",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be from 0 to 1, but is {self.probability}.")
        if self.num_subsets < 1:
            raise ValueError(
                f"num_subsets must be 1 or greater, but is {self.num_subsets}; probability: 0 shows none."
            )
        if self.max_phrase_words is not None and self.max_phrase_words < 1:
            raise ValueError(f"max_phrase_words must be 1 or greater, or null, but is {self.max_phrase_words}.")
        if self.min_words < 0:
            raise ValueError(f"min_words must be 0 or greater, but is {self.min_words}.")
        for name in ("report_languages", "excluded_reports"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} must be a list, such as [{value!r}], but is {value!r}.")
            if value is not None:
                object.__setattr__(self, name, tuple(value))

    def keeps(self, report: str, language: str | None) -> bool:
        """Whether a cleaned report is learnt from; if not, its record counts as one without a report."""
        if not report or report.rstrip(". ") in self.excluded_reports:
            return False
        if self.report_languages is not None and language not in self.report_languages:
            return False
        return len(report.split()) >= self.min_words

    def __call__(self, report: str, generator: np.random.Generator) -> str:
        """The text shown for a cleaned report: the whole, or one of its subsets, as `generator` decides."""
        draw, which = generator.random(), int(generator.integers(self.num_subsets))
        return self.subset(report, which) if draw < self.probability else report

    def subset(self, report: str, which: int) -> str:
        """Subset number `which` of a cleaned report: at least one and not all of its phrases, in their order.

        A report of a single phrase is returned as it is.
        """
        phrases = split_phrases(report, self.max_phrase_words)
        if len(phrases) < 2:
            return report
        generator = record_generator(0, which, report_hash(report), "report_subset")
        size = int(generator.integers(1, len(phrases)))
        return join_phrases([phrases[i] for i in sorted(generator.choice(len(phrases), size, replace=False))])


def usable_report(
    text: str | None, language: str | None, report_augmentation: ReportAugmentation | None = None
) -> str:
    """The cleaned report if there is one and the filter (if any) keeps it, else the empty string."""
    report = clean_report(text)
    return report if report_augmentation is None or report_augmentation.keeps(report, language) else ""


def split_phrases(report: str, max_words: int | None = None) -> list[str]:
    """Phrases of a cleaned report, without the marks that end them.

    A phrase ends with a full stop, semicolon, colon, question or exclamation mark before a space, with a line, or
    with a comma. Single words between commas ("in i, avl, v5") are not phrases: they stay with what they belong to.

    Args:
        report: cleaned report.
        max_words: longer phrases are cut into pieces of nearly equal length of at most this many words; None does
            not cut.
    """
    phrases: list[str] = []
    open_list = False  # whether the last phrase ended with a comma
    for part in _BOUND.split(report):
        phrase = part.rstrip(" .;:!?,")
        if not phrase:
            continue
        if open_list and (" " not in phrase or " " not in phrases[-1]):
            phrases[-1] = f"{phrases[-1]}, {phrase}"
        else:
            phrases.append(phrase)
        open_list = part.endswith(",")
    if max_words is None:
        return phrases
    return [piece for phrase in phrases for piece in _cut(phrase.split(), max_words)]


def join_phrases(phrases: Sequence[str]) -> str:
    """A report made of phrases, each a sentence, in the form of a cleaned report."""
    return ". ".join(phrases) + "."


def _cut(words: list[str], max_words: int) -> list[str]:
    number = -(-len(words) // max_words)
    return [" ".join(piece) for piece in np.array_split(np.array(words, dtype=object), number)]
