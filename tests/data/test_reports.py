"""Cleaning, hashing and telling the language of reports."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_hf.data.reports import clean_report, join_report, report_hash, report_language


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Sinus rhythm. Normal EKG", "sinus rhythm. normal ecg."),
        ("*** CRITICAL TEST RESULT ***  AV block", "critical test result av block."),
        ("== Sinus rhythm ==. ", "sinus rhythm."),
        ("UNBESTÄTIGTER  BERICHT\n\tEKG", "unbestätigter bericht ecg."),
        ("PEKGOR", "pekgor."),
        ("Borderline ECG..", "borderline ecg."),
        ("P wave 2*3", "p wave 2*3."),
        ("", ""),
        ("  \n", ""),
        ("***=", ""),
        (None, ""),
    ],
)
def test_clean_report(text: str | None, cleaned: str) -> None:
    assert clean_report(text) == cleaned


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    cleaned = clean_report(text)
    assert clean_report(cleaned) == cleaned
    assert cleaned == "" or cleaned.endswith(".")


def test_join_report_skips_what_is_empty() -> None:
    assert join_report(["Sinus rhythm.", None, "", "Normal ECG"]) == "Sinus rhythm. Normal ECG"
    assert join_report([None, " "]) is None


@given(st.text())
def test_report_hash_fits_into_a_non_negative_int64(text: str) -> None:
    assert 0 <= report_hash(text) < 2**63


def test_report_hash_is_the_same_in_every_process() -> None:
    # Written down once, and so by another process than this.
    assert report_hash("vorhofflimmern. µ.") == 3850144077053979924
    assert report_hash("") == 8238016292129134938


def test_report_hash_tells_reports_apart() -> None:
    reports = [f"sinus rhythm with rate {rate}." for rate in range(20_000)]
    assert len({report_hash(report) for report in reports}) == len(reports)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("sinusrhythmus linkstyp sonst normales ekg", "de"),
        ("SINUSRHYTHMUS, UNVOLLSTÄNDIGER RECHTSSCHENKELBLOCK", "de"),
        ("sinus rhythm. left axis deviation.", "en"),
        ("trace only requested.", "en"),
        ("sinusrhythm location type normal normal ekg 4.46 unconfirmed report", "en"),
        ("sinusrhythm lagetyp normal normal ekg", None),  # half translated
        ("sinusrytm vÄnster el-axel normalt ekg", "sv"),
        ("pacemaker ekg", None),
        ("  ", None),
        (None, None),
    ],
)
def test_report_language(text: str | None, language: str | None) -> None:
    assert report_language(text) == language


def test_report_language_on_real_reports(real_data: Path) -> None:
    """Reports that a human or another program marked as English are not told to be German, and nearly all are told."""
    with open(real_data / "ptb-xl-text" / "records.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    english = [report_language(line["report"]) for line in lines if line["report_source"] == "official_en"]
    assert len(english) > 1000
    assert "de" not in english
    assert english.count("en") > 0.98 * len(english)
    # Translations by machine: some are left in German, or halfway.
    translated = [report_language(line["report"]) for line in lines if line["report_source"] == "rtlp_en"]
    assert len(translated) > 10_000
    assert translated.count("en") > 0.95 * len(translated)
    german = [line["report"] for line in lines if "sinusrhythmus" in line["report"].lower().split()]
    assert sum(report_language(report) == "de" for report in german) > 0.98 * len(german) > 0
