"""Ages, dates and reports as devices write them."""

from datetime import date

import pytest

from merit_hf.io.age import age_at, age_in_years, read_date, read_time
from merit_hf.io.statements import report_of


@pytest.mark.parametrize("text", ["19530508", "1953-05-08", "19530508091000.123-0500", "05-08-1953", "05/08/1953"])
def test_dates(text):
    assert read_date(text) == date(1953, 5, 8)


@pytest.mark.parametrize("text", [None, "", "1953", "19531308", "yesterday"])
def test_what_is_no_date(text):
    assert read_date(text) is None
    assert read_time(text) is None
    assert age_at(text, "20200101") is None


def test_times():
    assert read_time("20021122091005.120+0000") == "2002-11-22T09:10:05"
    assert read_time("05-10-2021", "13:15:18") == "2021-05-10T13:15:18"
    assert read_time("2020-05-18", "15:48:11") == "2020-05-18T15:48:11"
    assert read_time("2020-05-18") == "2020-05-18"


def test_ages():
    assert age_at("19530508", "20021122") == 49
    assert age_at("1953-11-23", "2002-11-22") == 48
    assert age_at("2030-01-01", "2002-11-22") is None
    assert age_in_years("042", "Y") == 42
    assert age_in_years("18", "MONTHS") == 1.5
    assert age_in_years("46", "a") == 46
    for value, unit in [("x", "Y"), (None, "Y"), ("999", "Y"), ("-1", "Y"), ("nan", "Y"), ("5", "parsec")]:
        assert age_in_years(value, unit) is None


def test_reports_are_statements_without_signatures():
    statements = ["Normal  sinus\nrhythm", None, " ", "---", "Normal ECG.", "Normal ECG"]
    signatures = [
        "Confirmed by Doe, John (123456) on 05/10/2021",
        "*** Unconfirmed ***",
        "Unconfirmed Diagnosis",
        "Referred by: X",
        "Electronically signed by Y",
    ]
    assert report_of(statements + signatures) == "Normal sinus rhythm. Normal ECG"
    assert report_of(signatures) is None
