"""Sex of a person, from the words and codes that files, tables and corpora use: one map for all of them."""

from collections.abc import Mapping

SEXES = ("female", "male")
_WORDS = {
    **dict.fromkeys(("f", "female", "w", "woman", "weiblich", "kvinna"), "female"),
    **dict.fromkeys(("m", "male", "man", "männlich"), "male"),
}


def canonical_sex(value: str | int | float | None, codes: Mapping[str, str] | None = None) -> str | None:
    """The sex that a source states, in the one spelling used here.

    Args:
        value: as the source has it: F, M, Female, MALE, weiblich, ... Numbers mean something different in every source
            (1 is male in SCP-ECG and female in PTB-XL), so they count only if `codes` says what they mean.
        codes: what the source's own codes mean, such as {"0": "male", "1": "female"}; they come before the words.

    Returns:
        "female", "male", or None where the source does not say, says something else, or uses a code not in `codes`.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    return (codes or {}).get(text) or _WORDS.get(text.lower())
