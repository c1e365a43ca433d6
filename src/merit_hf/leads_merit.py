"""Leads: their names and aliases, standard order, units, and how the limb leads follow from I and II.

Only names and arithmetic on leads live here: no files, no tensors of a model, no resampling.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

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
_PREFIXES = re.compile(r"^(MDC_ECG_LEAD_|LEAD[ _-]*|ECG[ _-]*(LEAD[ _-]*)?(?=[IAVD]))")
_REMARK = re.compile(r"\s*\((?!\s*[mnuµμ]?v\s*\))[^()]*\)$", re.IGNORECASE)  # "Lead I (Einthoven)", not "I (uV)"

# Multiplier and divisor to millivolts; both are whole numbers, so that one correctly rounded operation does it.
_MILLIVOLTS = {"mv": (1, 1), "uv": (1, 1000), "v": (1000, 1), "nv": (1, 1_000_000)}
_UNIT_ALIASES = {
    "millivolt": "mv",
    "millivolts": "mv",
    "microvolt": "uv",
    "microvolts": "uv",
    "µv": "uv",  # micro sign
    "μv": "uv",  # Greek mu
    "volt": "v",
    "volts": "v",
    "nanovolt": "nv",
    "nanovolts": "nv",
}


@lru_cache(maxsize=4096)
def canonical_lead(name: str) -> str:
    """The one spelling of a lead name used everywhere: `"AVR"`, `"avr"`, `"Lead aVR"`, `"MDC_ECG_LEAD_AVR"` → `"aVR"`.

    Args:
        name: a lead's name; case, surrounding blanks, a "Lead" or MDC prefix and a remark in brackets do not matter.

    Raises:
        ValueError: the name is not that of a lead. Inverted leads such as `"-aVR"` are among the unknown.
    """
    if not isinstance(name, str):
        raise ValueError(f"A lead name must be a string, got {name!r}. Pass lead_names=[...] such as {STANDARD_12}.")
    key = _REMARK.sub("", name.strip()).upper()
    for candidate in (key, _PREFIXES.sub("", key)):
        if candidate in _ALIASES:
            return _ALIASES[candidate]
    raise ValueError(
        f"Unknown lead name {name!r}. Expected one of {', '.join(STANDARD_12)} (any case, also 'Lead II', "
        f"'MDC_ECG_LEAD_AVR'), or {', '.join(OTHER_LEADS)}. Rename it with lead_names=[...], or leave it out."
    )


@lru_cache(maxsize=1024)
def _canonical_leads(names: tuple[str, ...]) -> tuple[str, ...]:
    leads = tuple(canonical_lead(name) for name in names)
    twice = sorted({lead for lead in leads if leads.count(lead) > 1})
    if twice:
        raise ValueError(
            f"Lead names must differ from each other, but {', '.join(twice)} stands more than once in "
            f"{', '.join(names)}. Rename or leave out the copies with lead_names=[...]."
        )
    return leads


def canonical_leads(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical spelling of several different leads (see `canonical_lead`).

    Raises:
        ValueError: a name is unknown, or two names mean the same lead.
    """
    if isinstance(names, str):
        raise ValueError(f"lead_names must be a list of names, got the single string {names!r}. Write [{names!r}].")
    return _canonical_leads(tuple(names))


def derive_limb_lead(lead: str, lead_i: Any, lead_ii: Any) -> Any:
    """Lead III, aVR, aVL or aVF from leads I and II.

    III = II − I, aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2 (Einthoven; Goldberger).

    Args:
        lead: canonical name of the wanted lead, a key of `LIMB_LEAD_WEIGHTS`.
        lead_i: samples of lead I, an array or tensor of any shape.
        lead_ii: samples of lead II, same shape and unit.
    """
    if lead not in LIMB_LEAD_WEIGHTS:
        raise ValueError(f"Lead {lead!r} does not follow from I and II; only {', '.join(LIMB_LEAD_WEIGHTS)} do.")
    weight_i, weight_ii = LIMB_LEAD_WEIGHTS[lead]
    return weight_i * lead_i + weight_ii * lead_ii


def canonical_units(units: str) -> str:
    """`"mV"`, `"uV"`, `"V"`, `"nV"` or `"zscore"` (a signal whose voltage is gone), whatever the spelling.

    Raises:
        ValueError: the unit is not a voltage and not `"zscore"`.
    """
    if isinstance(units, str) and (known := _known_units(units)) is not None:
        return known
    raise ValueError(f"Unknown units {units!r}. Expected units= one of 'mV', 'uV', 'V', 'nV' or 'zscore'.")


@lru_cache(maxsize=1024)
def _known_units(units: str) -> str | None:
    key = units.strip().casefold()
    key = _UNIT_ALIASES.get(key, key)
    if key == "zscore":
        return "zscore"
    return key[:-1] + "V" if key in _MILLIVOLTS else None


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


def shape_message(shape: tuple[int, ...], num_leads: int) -> str:
    """Says what is wrong with a signal's shape, given the number of lead names."""
    message = f"shape {tuple(shape)}, expected (leads, samples) = ({num_leads}, samples)"
    if len(shape) == 2 and shape[1] == num_leads:
        return f"{message}. It looks transposed, (samples, leads): pass it with its axes swapped."
    if len(shape) == 1 and num_leads == 1:
        return f"{message}. Pass signal[None, :]."
    return f"{message}. Give one entry of lead_names= for each row of signal."
