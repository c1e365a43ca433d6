"""Leads: their names and aliases, standard order, units, and how the limb leads follow from I and II.

Only names and arithmetic on leads live here: no files, no tensors of a model, no resampling.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

STANDARD_12: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve leads of a standard ECG in their usual order."""

OTHER_LEADS: tuple[str, ...] = (
    *("V1R", "V2R", "V3R", "V4R", "V5R", "V6R", "V7", "V8", "V9"),  # right-sided and posterior chest leads
    *("X", "Y", "Z"),  # Frank's orthogonal leads
    *("MLI", "MLII", "MLIII", "MCL1", "MCL6"),  # modified limb and chest leads of monitors: never taken for I, II, V1
    *("ES", "AS", "AI"),  # EASI
    "V",  # a monitor's chest lead of unstated position
)
"""Leads that are known by name but are not among the standard twelve; they are recognised and never renamed."""

LIMB_LEAD_WEIGHTS: dict[str, tuple[float, float]] = {
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
"""Weights of leads I and II for each limb lead that follows from them (Einthoven's law, Goldberger's leads)."""

_ALIASES = {name.upper(): name for name in STANDARD_12 + OTHER_LEADS}
_ALIASES |= {f"D{numeral}": numeral for numeral in ("I", "II", "III")}  # "derivation", Romance languages
_ALIASES |= {f"{prefix}{digit}": "I" * digit for prefix in ("D", "LEAD") for digit in (1, 2, 3)}
_ALIASES |= {f"V{axis}": axis for axis in ("X", "Y", "Z")}
# No "-" between prefix and name: "LEAD-aVR" may be lead aVR or its negative.
_PREFIX = re.compile(r"^(MDC_ECG_LEAD_|LEAD[ _:]*|E[CK]G[ _:]*(LEAD[ _:]*)?(?=[IAVDXYZM]))")
# Remarks that leave a lead what it is. Any other, such as "(inverted)" or "(V4R)", may change it and makes it unknown.
_HARMLESS_REMARK = re.compile(
    r"\s*\(\s*(einthoven|goldberger|wilson|standard|augmented|bipolar|unipolar|derived|calculated|computed|raw"
    r"|(un)?filtered|e[ck]g)\s*\)$",
    re.IGNORECASE,
)

# Multiplier and divisor to millivolts; both are whole numbers, so that one correctly rounded operation does it.
_MILLIVOLTS = {"mv": (1, 1), "uv": (1, 1000), "v": (1000, 1), "nv": (1, 1_000_000)}
_UNIT_NAME = re.compile(r"^(?:(milli|micro|nano|m|u|n)[\s_-]*)?(?:volts?|v)$")
_UNIT_PREFIXES = {"milli": "m", "micro": "u", "nano": "n"}


def _micro_signs() -> tuple[str, ...]:
    """The micro sign and the Greek mu, and what becomes of them where UTF-8 is read in another encoding."""
    signs = ["\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"]
    codecs = ("latin-1", "cp1252", "cp437", "cp850", "mac-roman", "gbk", "big5", "shift_jis", "euc-kr")
    garbled = [sign.encode("utf-8").decode(codec, "replace") for sign in signs for codec in codecs]
    twice = [text.encode("utf-8").decode("latin-1") for text in garbled[:1] + garbled[len(codecs) :][:1]]
    found = {text.casefold() for text in (*signs, *garbled, *twice) if "\N{REPLACEMENT CHARACTER}" not in text}
    return tuple(sorted(found, key=len, reverse=True))  # the longest first: one may contain another


_MICRO_SIGNS = _micro_signs()


@lru_cache(maxsize=4096)
def canonical_lead(name: str) -> str:
    """The one spelling of a lead name used everywhere: `"AVR"`, `"avr"`, `"Lead aVR"`, `"MDC_ECG_LEAD_AVR"` → `"aVR"`.

    Args:
        name: a lead's name. Case, surrounding blanks, a prefix ("Lead", "ECG", MDC) and a remark in brackets that does
            not change the lead, such as "(Einthoven)", do not matter.

    Raises:
        ValueError: the name is not that of a lead. Turned or moved leads, such as `"-aVR"`, `"LEAD-aVR"`,
            `"aVR (inverted)"` and `"V4 (V4R)"`, are among the unknown.
    """
    if not isinstance(name, str):
        raise ValueError(f"A lead name must be a string, got {name!r}. Pass lead_names=[...] such as {STANDARD_12}")
    key = _HARMLESS_REMARK.sub("", name.strip()).upper()
    for candidate in (key, _PREFIX.sub("", key)):
        if candidate in _ALIASES:
            return _ALIASES[candidate]
    raise ValueError(
        f"Unknown lead name {name[:40]!r}. Expected I, II, III, aVR, aVL, aVF, V1 to V6 (any case, also 'Lead II'), "
        "V3R, V7, MLII, X or the like. Rename it with lead_names=[...], or leave it out"
    )


@lru_cache(maxsize=1024)
def _canonical_leads(names: tuple[str, ...]) -> tuple[str, ...]:
    leads = tuple(canonical_lead(name) for name in names)
    twice = sorted({lead for lead in leads if leads.count(lead) > 1})
    if twice:
        raise ValueError(
            f"Lead names must differ from each other, but {', '.join(twice)} stands more than once in "
            f"{', '.join(names)}. Rename or leave out the copies with lead_names=[...]"
        )
    return leads


def canonical_leads(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical spelling of several different leads (see `canonical_lead`).

    Raises:
        ValueError: a name is unknown, or two names mean the same lead.
    """
    if isinstance(names, str):
        raise ValueError(f"lead_names must be a list of names, got the single string {names!r}. Write [{names!r}]")
    if not isinstance(names, Iterable):
        raise ValueError(f"lead_names must be a list of names, got {names!r}")
    names = tuple(str(name) if isinstance(name, np.str_) else name for name in names)
    if wrong := [name for name in names if not isinstance(name, str)]:  # may not even be hashable
        raise ValueError(
            f"A lead name must be a string, got {str(wrong[0])[:40]!r}. "
            f"Pass lead_names=[...] such as {list(STANDARD_12)}"
        )
    return _canonical_leads(names)


def derive_limb_lead(lead: str, lead_i: Any, lead_ii: Any) -> Any:
    """Lead III, aVR, aVL or aVF from leads I and II.

    III = II − I, aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2 (Einthoven; Goldberger).

    Args:
        lead: canonical name of the wanted lead, a key of `LIMB_LEAD_WEIGHTS`.
        lead_i: samples of lead I, an array or tensor of any shape.
        lead_ii: samples of lead II, same shape and unit.
    """
    if lead not in LIMB_LEAD_WEIGHTS:
        raise ValueError(f"Lead {lead!r} does not follow from I and II; only {', '.join(LIMB_LEAD_WEIGHTS)} do")
    weight_i, weight_ii = LIMB_LEAD_WEIGHTS[lead]
    return weight_i * lead_i + weight_ii * lead_ii


def canonical_units(units: str) -> str:
    """`"mV"`, `"uV"`, `"V"`, `"nV"` or `"zscore"` (a signal whose voltage is gone), whatever the spelling.

    Names ("microvolts", "mVolt") and the micro sign in any encoding are understood.

    Raises:
        ValueError: the unit is not a voltage and not `"zscore"`.
    """
    if isinstance(units, str) and (known := _known_units(units)) is not None:
        return known
    raise ValueError(f"Unknown units {str(units)[:40]!r}. Expected units= one of 'mV', 'uV', 'V', 'nV' or 'zscore'")


@lru_cache(maxsize=1024)
def _known_units(units: str) -> str | None:
    key = units.strip().strip("\0").casefold()
    if key == "zscore":
        return "zscore"
    for sign in _MICRO_SIGNS:
        if key.startswith(sign):
            key = f"u{key.removeprefix(sign)}"
            break
    found = _UNIT_NAME.match(key)
    return f"{_UNIT_PREFIXES.get(found[1], found[1] or '')}V" if found else None


def is_voltage(units: str | None) -> bool:
    """Whether this is a unit of voltage, in any spelling."""
    return isinstance(units, str) and _known_units(units) not in (None, "zscore")


def to_millivolts(values: Any, units: str) -> Any:
    """Converts samples (array or tensor) from a voltage unit to millivolts; `"mV"` and `"zscore"` come back as they
    are.

    The precision is that of the input: convert in float64 where equality to the last bit matters.
    """
    canonical = canonical_units(units)
    if canonical in ("mV", "zscore"):
        return values
    multiplier, divisor = _MILLIVOLTS[canonical.casefold()]
    return values / divisor if multiplier == 1 else values * multiplier


MISSING_COUNT = -32768
"""The count of 16 bits by which files mark a sample that is missing."""


def looks_like_counts(signal: Any) -> bool:
    """Whether an array holds counts of a converter and no voltages: whole numbers, as no ECG in mV consists of.

    Whole numbers stored as floating point count as well, unless they span fewer than four steps, as a flat or a
    calibration signal may.
    """
    values = np.asarray(signal)
    if values.dtype.kind in "iu":
        return True
    known = values[np.isfinite(values)]
    return bool(known.size and np.ptp(known) > 3 and (known == np.rint(known)).all())


def with_missing_counts(counts: Any) -> np.ndarray:
    """Counts as float64, NaN where they are -32768, by which files of 16 bits mark missing samples.

    Counts that need more than 16 bits are left as they are: there, -32768 may be a measured value.
    """
    values = np.array(counts, dtype=np.float64)
    if (
        values.size
        and np.fmin.reduce(values, axis=None) == MISSING_COUNT
        and np.fmax.reduce(values, axis=None) < 32768
    ):
        values[values == MISSING_COUNT] = np.nan
    return values


def shape_message(shape: tuple[int, ...], num_leads: int) -> str:
    """Says what is wrong with a signal's shape, given the number of lead names."""
    message = f"shape {tuple(shape)}, expected (leads, samples) = ({num_leads}, samples)"
    if len(shape) == 2 and shape[1] == num_leads:
        return f"{message}. It looks transposed, (samples, leads): pass it with its axes swapped."
    if len(shape) == 1 and num_leads == 1:
        return f"{message}. Pass signal[None, :]."
    return f"{message}. Give one entry of lead_names= for each row of signal."
