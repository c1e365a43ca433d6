"""Age of a person in years, from the ways in which files of ECG devices write ages and dates.

Reading dates and reckoning with them live here; who the person is never does.
"""

import re
from datetime import date, datetime

from merit_hf.limits_merit import AGE_RANGE

from .numbers import read_number

_YEARS = {"Y": 1.0, "A": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25, "H": 1 / 8766}
_DATES = (
    (re.compile(r"^(\d{4})[-/]?(\d{2})[-/]?(\d{2})"), (1, 2, 3)),  # year first, in DICOM, HL7 and ISO 8601
    (re.compile(r"^(\d{2})[-/](\d{2})[-/](\d{4})"), (3, 1, 2)),  # month first, in MUSE
)


def read_date(text: str | None) -> date | None:
    """Date at the beginning of `19530508`, `1953-05-08` or `05-08-1953` (month first); None if none is there."""
    for pattern, (year, month, day) in _DATES:
        if found := pattern.match((text or "").strip()):
            try:
                return date(int(found[year]), int(found[month]), int(found[day]))
            except ValueError:
                return None
    return None


def read_time(day: str | None, clock: str | None = None) -> str | None:
    """Beginning of a recording in ISO 8601, of a date and a clock time or of both in one; None if no date is there."""
    on = read_date(day)
    if on is None:
        return None
    digits = re.sub(r"[^\d]", "", (clock or re.sub(r"^[\d]{8}|^[\d-]{10}", "", (day or "").strip()).split("+")[0]))[:6]
    try:
        return datetime.combine(on, datetime.strptime(digits, "%H%M%S").time()).isoformat()
    except ValueError:
        return on.isoformat()


def age_in_years(value: str | float | None, units: str | None = "years") -> float | None:
    """An age given as a number and a unit (years, months, weeks, days, hours; HL7's "a"); None if it is none.

    Days are counted as 1/365.25 years.
    """
    number = read_number(value) if isinstance(value, str) else value
    factor = _YEARS.get((units or "years").strip().upper()[:1])
    if number is None or factor is None:
        return None
    low, high = AGE_RANGE
    years = float(number) * factor
    return years if low <= years < high else None


def age_at(born: str | None, at: str | None) -> float | None:
    """Completed years between two dates, as `read_date` takes them; None if one is missing or they make no age."""
    birth, day = read_date(born), read_date(at)
    if birth is None or day is None:
        return None
    return age_in_years(day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day)))
