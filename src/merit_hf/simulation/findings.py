"""The findings of the synthetic corpus: what each does to the parameters, how it is worded and what excludes it.

This is a table. A new finding is a new entry of `FINDINGS`; how parameters become a signal is in `simulator.py`, how
phrases become a report in `reports.py`. Criteria are those of the textbooks named there, a margin inside the
limit, so that every simulated case meets the definition of its label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .simulator import EcgParameters


@dataclass(frozen=True)
class Change:
    """A number drawn uniformly from `low` to `high` that replaces a parameter, is added to it or multiplies it."""

    how: Literal["replace", "add", "multiply"]
    low: float
    high: float

    def apply(self, value: float, generator: np.random.Generator) -> float:
        drawn = float(generator.uniform(self.low, self.high))
        return {"replace": drawn, "add": value + drawn, "multiply": value * drawn}[self.how]


def between(low: float, high: float) -> Change:
    """Replace the parameter by a value in the range."""
    return Change("replace", low, high)


def plus(low: float, high: float) -> Change:
    """Add a value in the range to the parameter."""
    return Change("add", low, high)


def times(low: float, high: float) -> Change:
    """Multiply the parameter by a value in the range."""
    return Change("multiply", low, high)


@dataclass(frozen=True)
class Form:
    """One way in which a finding occurs. `share`: how often, relative to the other forms.

    `changes`: parameter name to a `Change`, or to the value it takes. `phrases`: wordings for this form alone, used
    beside those of the finding.
    """

    changes: Mapping[str, Change | str | int | tuple[int, ...]]
    phrases: tuple[str, ...] = ()
    share: float = 1.0


@dataclass(frozen=True)
class Finding:
    """A diagnostic statement of the corpus.

    `section`: place in a report. `prevalence`: default share of records. `lasting`: stays with the patient in later
    recordings. `minor`: a report may leave it out. `excludes`: codes that cannot occur with it (either side may
    say so).
    """

    code: str
    name: str
    section: Literal["rhythm", "conduction", "axis", "structure", "repolarisation", "ectopy"]
    prevalence: float
    forms: tuple[Form, ...]
    phrases: tuple[str, ...] = ()
    excludes: frozenset[str] = frozenset()
    lasting: bool = False
    minor: bool = False


NORMAL = "NORM"

FINDINGS: tuple[Finding, ...] = (
    Finding(
        "STACH",
        "sinus tachycardia",
        "rhythm",
        0.08,
        (Form({"heart_rate": between(104, 148), "rr_variation": between(0.003, 0.015)}),),
        (
            "sinus tachycardia",
            "sinus rhythm with fast rate, sinus tachycardia",
            "rapid sinus rhythm",
            "tachycardia of sinus origin",
        ),
        frozenset({"SBRAD", "AFIB", "AFLT"}),
    ),
    Finding(
        "SBRAD",
        "sinus bradycardia",
        "rhythm",
        0.08,
        (Form({"heart_rate": between(38, 56)}),),
        (
            "sinus bradycardia",
            "marked sinus bradycardia",
            "slow sinus rhythm",
            "sinus rhythm with slow rate, sinus bradycardia",
        ),
        frozenset({"STACH", "AFIB", "AFLT"}),
    ),
    Finding(
        "AFIB",
        "atrial fibrillation",
        "rhythm",
        0.10,
        (
            Form(
                {"rhythm": "fibrillation", "heart_rate": between(64, 98)},
                (
                    "atrial fibrillation with controlled ventricular response",
                    "atrial fibrillation with normal ventricular rate",
                ),
                2.0,
            ),
            Form(
                {"rhythm": "fibrillation", "heart_rate": between(110, 155)},
                (
                    "atrial fibrillation with rapid ventricular response",
                    "rapid atrial fibrillation",
                    "tachycardic atrial fibrillation",
                ),
                1.2,
            ),
            Form(
                {"rhythm": "fibrillation", "heart_rate": between(46, 58)},
                ("atrial fibrillation with slow ventricular response", "bradycardic atrial fibrillation"),
                0.6,
            ),
        ),
        (
            "atrial fibrillation",
            "atrial fibrillation, irregular ventricular response",
            "irregularly irregular rhythm without p waves, atrial fibrillation",
        ),
        frozenset({"AFLT", "1AVB", "PVC"}),
    ),
    Finding(
        "AFLT",
        "atrial flutter",
        "rhythm",
        0.08,
        (
            Form(
                {"rhythm": "flutter", "flutter_ratios": (2,)},
                ("atrial flutter with 2:1 conduction", "atrial flutter with 2 to 1 av block"),
            ),
            Form({"rhythm": "flutter", "flutter_ratios": (3,)}, ("atrial flutter with 3:1 conduction",), 0.5),
            Form(
                {"rhythm": "flutter", "flutter_ratios": (4,)},
                ("atrial flutter with 4:1 conduction", "atrial flutter with 4 to 1 av block"),
            ),
            Form(
                {"rhythm": "flutter", "flutter_ratios": (2, 4, 4)},
                ("atrial flutter with variable av block", "atrial flutter with variable conduction"),
                0.7,
            ),
        ),
        (
            "atrial flutter",
            "typical atrial flutter, sawtooth flutter waves",
            "flutter waves in the inferior leads, atrial flutter",
        ),
        frozenset({"1AVB", "PVC"}),
    ),
    Finding(
        "1AVB",
        "first degree AV block",
        "conduction",
        0.09,
        (Form({"pr_interval": between(214, 300)}),),
        (
            "first degree av block",
            "1st degree av block",
            "prolonged pr interval",
            "av block first degree",
            "first degree atrioventricular block",
        ),
        frozenset({"STACH"}),
        lasting=True,
    ),
    Finding(
        "LBBB",
        "left bundle branch block",
        "conduction",
        0.08,
        (
            Form(
                {
                    "conduction": "left_bundle",
                    "qrs_duration": between(124, 162),
                    # Secondary repolarisation: ST and T point away from the late left-backward forces.
                    "st_left": plus(-0.14, -0.05),
                    "st_anterior": plus(0.06, 0.16),
                    "t_left": between(-0.45, -0.22),
                    "t_inferior": between(-0.20, 0.02),
                    "t_anterior": between(0.28, 0.50),
                    "axis": plus(-20, -4),
                }
            ),
        ),
        (
            "left bundle branch block",
            "complete left bundle branch block",
            "lbbb",
            "wide qrs with left bundle branch block pattern",
        ),
        frozenset({"RBBB", "LVH", "ASTE", "STD", "TINV", "LQT", "RAD"}),
        lasting=True,
    ),
    Finding(
        "RBBB",
        "right bundle branch block",
        "conduction",
        0.08,
        (
            Form(
                {
                    "conduction": "right_bundle",
                    "qrs_duration": between(122, 156),
                    "t_left": between(0.24, 0.38),
                    "t_anterior": between(-0.30, -0.10),
                }
            ),
        ),
        (
            "right bundle branch block",
            "complete right bundle branch block",
            "rbbb",
            "wide qrs with right bundle branch block pattern",
        ),
        frozenset({"LQT", "TINV", "ASTE"}),
        lasting=True,
    ),
    Finding(
        "LAD",
        "left axis deviation",
        "axis",
        0.08,
        (Form({"axis": between(-72, -35)}),),
        ("left axis deviation", "abnormal left axis deviation", "axis deviated to the left"),
        frozenset({"RAD"}),
        lasting=True,
        minor=True,
    ),
    Finding(
        "RAD",
        "right axis deviation",
        "axis",
        0.07,
        (Form({"axis": between(100, 140)}),),
        ("right axis deviation", "abnormal right axis deviation", "axis deviated to the right"),
        lasting=True,
        minor=True,
    ),
    Finding(
        "LVH",
        "left ventricular hypertrophy",
        "structure",
        0.09,
        (
            Form(
                {
                    "qrs_amplitude": times(1.4, 1.8),
                    "posterior_force": between(1.35, 1.80),
                    "rotation": plus(-14, -4),
                    "qrs_duration": plus(4, 14),
                    "st_left": plus(-0.18, -0.04),
                    "st_inferior": plus(-0.06, 0.0),
                    "st_anterior": plus(0.04, 0.12),
                    "t_left": between(-0.40, -0.12),
                    "t_inferior": between(-0.16, 0.04),
                    "t_anterior": between(0.26, 0.44),
                },
                (
                    "left ventricular hypertrophy with strain pattern",
                    "left ventricular hypertrophy with repolarization abnormality",
                    "lvh with secondary st-t changes",
                ),
                2.0,
            ),
            Form(
                {
                    "qrs_amplitude": times(1.5, 1.9),
                    "posterior_force": between(1.40, 1.80),
                    "rotation": plus(-14, -4),
                    "qrs_duration": plus(4, 14),
                    "t_left": times(0.4, 0.8),
                },
                (
                    "voltage criteria for left ventricular hypertrophy",
                    "high voltage suggesting left ventricular hypertrophy",
                ),
                1.0,
            ),
        ),
        ("left ventricular hypertrophy", "lvh", "criteria for left ventricular hypertrophy"),
        frozenset({"RAD", "STD", "TINV", "ASTE"}),
        lasting=True,
    ),
    Finding(
        "ASTE",
        "anterior ST elevation",
        "repolarisation",
        0.08,
        (
            Form(
                {
                    "st_anterior": plus(0.14, 0.34),
                    "st_left": plus(0.02, 0.14),
                    "st_inferior": plus(-0.10, 0.0),
                    "t_anterior": times(1.0, 1.7),
                    # The wall that is dying gives up its early forward forces.
                    "septal_force": times(0.1, 0.7),
                }
            ),
        ),
        (
            "anterior st elevation",
            "st elevation in the anterior leads",
            "st segment elevation in v1 to v4, acute anterior infarction possible",
            "st elevation in leads v2 to v4",
            "anterior st elevation, consider acute anterior myocardial infarction",
        ),
        frozenset({"ISTE", "STD", "TINV"}),
    ),
    Finding(
        "ISTE",
        "inferior ST elevation",
        "repolarisation",
        0.08,
        (
            Form(
                {
                    "st_inferior": plus(0.24, 0.50),
                    "st_left": plus(-0.12, 0.08),
                    "st_anterior": plus(-0.12, 0.0),
                    "t_inferior": times(1.1, 1.7),
                }
            ),
        ),
        (
            "inferior st elevation",
            "st elevation in the inferior leads",
            "st segment elevation in ii, iii and avf, acute inferior infarction possible",
            "st elevation in leads ii iii avf",
            "inferior st elevation, consider acute inferior myocardial infarction",
        ),
        frozenset({"STD", "TINV"}),
    ),
    Finding(
        "STD",
        "ST depression",
        "repolarisation",
        0.08,
        (
            Form(
                {
                    "st_left": plus(-0.22, -0.10),
                    "st_inferior": plus(-0.20, -0.07),
                    "st_anterior": plus(-0.12, -0.03),
                    "t_left": times(0.4, 1.0),
                },
            ),
        ),
        (
            "st depression",
            "st depression in the lateral leads",
            "inferolateral st depression",
            "st segment depression, possible ischemia",
            "horizontal st depression in v4 to v6",
        ),
    ),
    Finding(
        "TINV",
        "T wave inversion",
        "repolarisation",
        0.09,
        (
            Form(
                {"t_anterior": between(-0.42, -0.20), "t_left": between(0.0, 0.12)},
                (
                    "anterior t wave inversion",
                    "t wave inversion in v2 to v4",
                    "inverted t waves in the anterior leads",
                ),
            ),
            Form(
                {"t_left": between(-0.36, -0.15), "t_anterior": between(0.0, 0.14)},
                (
                    "lateral t wave inversion",
                    "t wave inversion in i, avl, v5 and v6",
                    "inverted t waves in the lateral leads",
                ),
            ),
            Form(
                {"t_inferior": between(-0.50, -0.28), "t_left": between(0.14, 0.26)},
                (
                    "inferior t wave inversion",
                    "t wave inversion in ii, iii and avf",
                    "inverted t waves in the inferior leads",
                ),
            ),
        ),
        ("t wave inversion", "negative t waves", "abnormal t waves, t wave inversion"),
        frozenset({"STD"}),
    ),
    Finding(
        "LQT",
        "prolonged QT interval",
        "repolarisation",
        0.07,
        (Form({"qtc_interval": between(476, 550)}),),
        ("prolonged qt interval", "qt prolongation", "long qt interval", "prolonged qt"),
        frozenset({"STACH", "AFIB", "AFLT"}),
        minor=True,
    ),
    Finding(
        "PVC",
        "premature ventricular complexes",
        "ectopy",
        0.09,
        (
            Form(
                {"num_ectopic": 1},
                (
                    "single premature ventricular complex",
                    "one ventricular extrasystole",
                    "isolated ventricular premature beat",
                ),
            ),
            Form(
                {"num_ectopic": 3},
                ("frequent premature ventricular complexes", "multiple ventricular extrasystoles", "frequent pvcs"),
            ),
            Form({"num_ectopic": 2}, ("occasional premature ventricular complexes", "occasional pvcs")),
        ),
        (
            "premature ventricular complexes",
            "ventricular extrasystoles",
            "ventricular premature beats",
            "ventricular ectopic beats",
        ),
    ),
)

BY_CODE: dict[str, Finding] = {finding.code: finding for finding in FINDINGS}
CODES: tuple[str, ...] = (NORMAL, *BY_CODE)
DEFAULT_PREVALENCE: dict[str, float] = {NORMAL: 0.20, **{finding.code: finding.prevalence for finding in FINDINGS}}

# How a report says that all is well, in place of any finding.
NORMAL_PHRASES = (
    "normal ecg",
    "within normal limits",
    "normal tracing",
    "no abnormalities",
    "normal electrocardiogram",
    "ecg within normal limits",
)


def compatible(code: str, present: Iterable[str]) -> bool:
    """Whether the finding can occur together with all those present."""
    return all(
        code != other and other not in BY_CODE[code].excludes and code not in BY_CODE[other].excludes
        for other in present
    )


def check_prevalence(prevalence: Mapping[str, float]) -> dict[str, float]:
    """The default shares with those given in their place."""
    unknown = sorted(set(prevalence) - set(CODES))
    if unknown:
        raise ValueError(f"prevalence of unknown findings {unknown}; the codes are {', '.join(CODES)}")
    for code, share in prevalence.items():
        if not 0 <= share <= 1:
            raise ValueError(f"prevalence of {code} is {share}, expected a share from 0 to 1")
    merged = {**DEFAULT_PREVALENCE, **prevalence}
    if merged[NORMAL] < 1 and not any(merged[code] for code in BY_CODE):
        raise ValueError(
            f"prevalence of {NORMAL} is {merged[NORMAL]} and of every finding 0; give some finding a share"
        )
    return merged


def draw_findings(
    generator: np.random.Generator, prevalence: Mapping[str, float], patient: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Codes of one recording in the order of `CODES`; `(NORM,)` if there is nothing to find.

    `prevalence` as from `check_prevalence`: with its share for NORM nothing is drawn. Otherwise every finding has
    its own chance, in random order, as long as nothing excludes it, and the draw is repeated until there is one. The
    shares that come about are therefore near, not equal, to those asked for. `patient`: codes of the patient's first
    recording, if this is a later one; its lasting findings stay, others come and go, and no lasting one is added.
    """
    drawn: set[str] = set()
    if generator.random() >= prevalence[NORMAL]:
        # Only 1 - NORM of the recordings come here, so each share is raised to stay the same of all.
        chances = {code: min(1.0, prevalence[code] / (1 - prevalence[NORMAL])) for code in BY_CODE}
        while not drawn:
            for position in generator.permutation(len(FINDINGS)):
                code = FINDINGS[position].code
                if generator.random() < chances[code] and compatible(code, drawn):
                    drawn.add(code)
    if patient is not None:
        lasting = {code for code in patient if code != NORMAL and BY_CODE[code].lasting}
        passing = {code for code in drawn if not BY_CODE[code].lasting and compatible(code, lasting)}
        drawn = lasting | passing
    return tuple(code for code in CODES if code in drawn) or (NORMAL,)


def draw_form(code: str, generator: np.random.Generator) -> Form:
    """One of the forms of a finding, by share."""
    forms = BY_CODE[code].forms
    shares = np.array([form.share for form in forms])
    return forms[int(generator.choice(len(forms), p=shares / shares.sum()))]


def apply_form(form: Form, parameters: EcgParameters, generator: np.random.Generator) -> EcgParameters:
    """The parameters as the finding leaves them."""
    changed = {
        name: change.apply(getattr(parameters, name), generator) if isinstance(change, Change) else change
        for name, change in form.changes.items()
    }
    return replace(parameters, **changed)  # type: ignore[arg-type]
