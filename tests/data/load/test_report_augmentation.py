"""Which reports are used and which parts of them are shown."""

import numpy as np
import pytest

from merit_hf.data.load.report_augmentation import ReportAugmentation, join_phrases, split_phrases, usable_report
from merit_hf.data.reports import clean_report

REPORT = (
    "sinus rhythm. left axis deviation; t waves inverted in i, avl, v5. st.t changes, possible old infarct. qt 0.44 s."
)
PHRASES = [
    "sinus rhythm",
    "left axis deviation",
    "t waves inverted in i, avl, v5",
    "st.t changes",
    "possible old infarct",
    "qt 0.44 s",
]


def generator(seed=0):
    return np.random.default_rng(seed)


def test_phrases_end_at_marks_and_lists_of_leads_stay_whole():
    assert split_phrases(REPORT) == PHRASES


@pytest.mark.parametrize("report", ["", ".", " ;. "])
def test_nothing_has_no_phrases(report):
    assert split_phrases(report) == []


def test_long_phrases_are_cut_into_nearly_equal_pieces_on_request():
    report = "sinus rhythm position type normal unspecific abnormal t. normal"
    assert split_phrases(report, 3) == ["sinus rhythm position", "type normal unspecific", "abnormal t", "normal"]
    assert split_phrases(report) == ["sinus rhythm position type normal unspecific abnormal t", "normal"]


def test_subsets_are_proper_parts_in_order_and_in_the_form_of_a_cleaned_report():
    augmentation = ReportAugmentation(num_subsets=50)
    seen = set()
    for which in range(50):
        subset = augmentation.subset(REPORT, which)
        assert clean_report(subset) == subset
        phrases = split_phrases(subset)
        places = [PHRASES.index(phrase) for phrase in phrases]
        assert places == sorted(set(places))
        assert 1 <= len(places) < len(PHRASES)
        seen.add(subset)
    assert len(seen) > 20
    assert {len(split_phrases(subset)) for subset in seen} == {1, 2, 3, 4, 5}


def test_equal_reports_share_their_few_subsets():
    augmentation = ReportAugmentation(probability=1, num_subsets=3)
    first = {augmentation(REPORT, generator(seed)) for seed in range(100)}
    second = {augmentation(REPORT, generator(seed)) for seed in range(100, 200)}
    assert first == second
    assert len(first) == 3
    assert REPORT not in first


def test_probability_is_the_share_of_subsets():
    augmentation = ReportAugmentation(probability=0.3)
    share = np.mean([augmentation(REPORT, generator(seed)) != REPORT for seed in range(3000)])
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 3000))
    whole = ReportAugmentation(probability=0)
    assert all(whole(REPORT, generator(seed)) == REPORT for seed in range(50))


def test_a_single_phrase_is_shown_whole():
    assert ReportAugmentation(probability=1)("atrial fibrillation.", generator()) == "atrial fibrillation."


def test_join_is_the_inverse_of_split():
    assert split_phrases(join_phrases(PHRASES)) == ["sinus rhythm", "left axis deviation", *PHRASES[2:]]


@pytest.mark.parametrize(
    ("fields", "text", "language", "kept"),
    [
        ({}, "Sinus rhythm. Normal ECG", "en", True),
        ({}, "Sinusrhythmus. Normales EKG", "de", True),
        ({}, None, None, False),
        ({}, " . ", "en", False),
        ({}, "Trace only requested.", "en", False),
        ({}, "TRACE ONLY", None, False),
        ({}, "trace only requested, sinus rhythm", "en", True),
        ({"excluded_reports": []}, "Trace only requested.", "en", True),
        ({"excluded_reports": ["sinus rhythm"]}, "Sinus rhythm", "en", False),
        ({"report_languages": ["en"]}, "Sinusrhythmus. Normales EKG", "de", False),
        ({"report_languages": ["en"]}, "Sinus rhythm. Normal ECG", "en", True),
        ({"report_languages": ["en", "de"]}, "Sinusrhythmus. Normales EKG", "de", True),
        ({"report_languages": ["en"]}, "Sinus rhythm. Normal ECG", None, False),
        ({"min_words": 4}, "Sinus rhythm. Normal ECG", "en", True),
        ({"min_words": 5}, "Sinus rhythm. Normal ECG", "en", False),
    ],
)
def test_filter(fields, text, language, kept):
    report = usable_report(text, language, ReportAugmentation(**fields))
    assert report == (clean_report(text) if kept else "")


def test_without_a_filter_every_report_is_used():
    assert usable_report("Trace only", None) == "trace only."
    assert usable_report(None, "en") == ""


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"probability": 1.5}, "probability"),
        ({"num_subsets": 0}, "num_subsets"),
        ({"max_phrase_words": 0}, "max_phrase_words"),
        ({"min_words": -1}, "min_words"),
        ({"report_languages": "en"}, "report_languages"),
        ({"excluded_reports": "trace only"}, "excluded_reports"),
    ],
)
def test_impossible_fields_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        ReportAugmentation(**fields)
