"""Reports of simulated ECGs: the same finding in many words, as different readers would put it.

Only wording is here; the phrases of each finding are in `findings.py`. Like real reports, they name findings, leave
out nearly all numbers, sometimes omit a minor finding, and never state anything false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .findings import BY_CODE, NORMAL, NORMAL_PHRASES, Form

SINUS_PHRASES = (
    "sinus rhythm",
    "sinus rhythm",
    "rhythm is sinus",
    "sinus rhythm at normal rate",
    "regular sinus rhythm",
)
NORMAL_SINUS_PHRASES = ("sinus rhythm", "normal sinus rhythm", "regular sinus rhythm", "sinus rhythm with normal rate")
NORMAL_AXIS_PHRASES = ("normal axis", "axis normal", "normal qrs axis")
NORMAL_DETAILS = (
    "normal intervals",
    "normal conduction times",
    "normal st-t",
    "st-t segments normal",
    "no pathological changes",
)

# Said of one finding; {} is the phrase. The bare phrase is the most frequent, as in machine-made statements.
FRAMES = ("{}", "{}", "{}", "{}", "{}", "{} is present", "{} noted", "there is {}")
DISEASE_FRAMES = (*FRAMES, "evidence of {}", "consistent with {}")
CLOSINGS = ("abnormal ecg", "pathological ecg", "abnormal tracing", "summary: abnormal ecg")
REMARKS = (
    "clinical correlation is advised",
    "unconfirmed report",
    "please correlate clinically",
    "follow-up recommended",
    "to be reviewed by a physician",
    "read without clinical information",
)

SECTION_ORDER = ("rhythm", "ectopy", "conduction", "axis", "structure", "repolarisation")


def _one(options: Sequence[str], generator: np.random.Generator) -> str:
    return options[int(generator.integers(len(options)))]


def _phrase(code: str, form: Form, framed: bool, generator: np.random.Generator) -> str:
    own = form.phrases and (not BY_CODE[code].phrases or generator.random() < 0.5)
    phrase = _one(form.phrases if own else BY_CODE[code].phrases, generator)
    # A phrase of two clauses takes no frame: "st elevation, infarction possible noted" is not English.
    if not framed or "," in phrase:
        return phrase
    return _one(DISEASE_FRAMES if BY_CODE[code].section == "structure" else FRAMES, generator).format(phrase)


def _rate(heart_rate: float, generator: np.random.Generator) -> str:
    rounded = round(heart_rate)
    return _one(
        (f"rate {rounded}", f"ventricular rate {rounded}", f"heart rate about {5 * round(rounded / 5)} bpm"), generator
    )


def _joined(statements: list[str], generator: np.random.Generator) -> str:
    if generator.random() < 0.25:
        text = _one((", ", "; ", " - "), generator).join(statements)
    else:
        text = ". ".join(statements) + "."
    draw = generator.random()
    if draw < 0.60:
        return text
    if draw < 0.95:
        return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in text.split(". "))
    return text.upper()


def _normal_statements(generator: np.random.Generator) -> list[str]:
    statements = []
    if generator.random() < 0.85:
        statements.append(_one(NORMAL_SINUS_PHRASES, generator))
    if generator.random() < 0.30:
        statements.append(_one(NORMAL_AXIS_PHRASES, generator))
    if generator.random() < 0.30:
        statements.append(_one(NORMAL_DETAILS, generator))
    statements.append(_one(NORMAL_PHRASES, generator))
    return statements


def _finding_statements(
    codes: Sequence[str], forms: Mapping[str, Form], terse: bool, generator: np.random.Generator
) -> list[str]:
    sections = {code: BY_CODE[code].section for code in codes}
    told = [code for code in codes if len(codes) == 1 or not BY_CODE[code].minor or generator.random() >= 0.12]
    # The first thing a reader says is the rhythm; about the rest readers differ.
    order = [told[i] for i in generator.permutation(len(told))]
    if generator.random() < 0.7:
        order.sort(key=lambda code: SECTION_ORDER.index(sections[code]))
    order.sort(key=lambda code: sections[code] != "rhythm" and generator.random() < 0.95)
    statements = [_phrase(code, forms[code], not terse, generator) for code in order]
    if "rhythm" not in sections.values() and generator.random() < (0.5 if terse else 0.8):
        # With premature beats nobody calls the rhythm regular.
        regular = "ectopy" not in sections.values()
        statements.insert(0, _one(SINUS_PHRASES if regular else SINUS_PHRASES[:-1], generator))
    if "axis" not in sections.values() and not terse and generator.random() < 0.12:
        statements.append(_one(NORMAL_AXIS_PHRASES, generator))
    if generator.random() < 0.20:
        statements.append(_one(CLOSINGS, generator))
    return statements


def draw_report(
    codes: Sequence[str], forms: Mapping[str, Form], heart_rate: float, generator: np.random.Generator
) -> str:
    """The report of one recording.

    Args:
        codes: its findings, or `("NORM",)`.
        forms: the form in which each finding occurs.
        heart_rate: true ventricular rate per minute; mentioned in about one report of twelve.
    """
    terse = bool(generator.random() < 0.3)
    if tuple(codes) == (NORMAL,):
        statements = _normal_statements(generator)
        statements = statements[-1:] if terse and generator.random() < 0.5 else statements
    else:
        statements = _finding_statements(codes, forms, terse, generator)
    if generator.random() < 0.08:
        statements.insert(1, _rate(heart_rate, generator))
    if not terse and generator.random() < 0.20:
        statements.append(_one(REMARKS, generator))
    return _joined(statements, generator)
