"""The one map from the words and codes for a person's sex to its one spelling."""

import numpy as np
import pytest

from merit_hf.io import EcgRecord
from merit_hf.io.sex import canonical_sex


@pytest.mark.parametrize(
    ("value", "sex"),
    [
        *[(word, "female") for word in ("F", "f", "Female", " FEMALE ", "W", "weiblich")],
        *[(word, "male") for word in ("M", "m", "Male", "MALE", "männlich")],
        *[(word, None) for word in (None, "", "U", "UN", "O", "X", "Unknown", "Undifferentiated", 0, 1, "1", 2.0)],
    ],
)
def test_words(value: object, sex: str | None) -> None:
    assert canonical_sex(value) == sex  # type: ignore[arg-type]
    if value is None or isinstance(value, str):
        assert EcgRecord(np.zeros((1, 5)), 100, ("I",), sex=value).sex == sex


def test_codes_of_a_source() -> None:
    codes = {"0": "male", "1": "female"}
    assert [canonical_sex(value, codes) for value in ("0", 1, 1.0, "1", "2", "F", None)] == [
        *("male", "female", "female", "female"),
        *(None, "female", None),
    ]
