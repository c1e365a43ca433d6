"""Prompt files: the packaged ones, selection by task, and one clear error for every kind of bad file."""

import json

import pytest

from merit_hf.data.reports import clean_report
from merit_hf.evaluation.prompts import load_prompts, packaged_prompts, select_prompts


@pytest.mark.parametrize("name", packaged_prompts())
def test_packaged_prompts_read_like_reports(name):
    for labels in load_prompts(name).values():
        for code, texts in labels.items():
            assert texts == [clean_report(text) for text in texts], code
            assert len(set(texts)) == len(texts), code


def test_super_classes_have_several_prompts_of_their_own():
    prompts, source = select_prompts("super_class", ["NORM", "MI", "STTC", "CD", "HYP"])
    assert source == "ptb_xl"
    assert list(prompts) == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert all(5 <= len(texts) <= 8 for texts in prompts.values())
    every = [text for texts in prompts.values() for text in texts]
    assert len(set(every)) == len(every)


def test_synthetic_findings_have_prompts_for_every_label():
    from merit_hf.data.synthetic import SyntheticCorpus

    labels = SyntheticCorpus(num_records=10).tasks()["findings"]
    prompts, source = select_prompts("findings", labels)
    assert source == "synthetic"
    assert list(prompts) == list(labels)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"rhythm": {"AFIB": ["atrial fibrillation."], "SR": ["sinus rhythm."]}}))
    assert load_prompts(path)["rhythm"]["SR"] == ["sinus rhythm."]
    assert select_prompts("rhythm", ["SR"], path) == ({"SR": ["sinus rhythm."]}, str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "form"),
        ("{}", "form"),
        ('{"rhythm": {}}', "'rhythm'"),
        ('{"rhythm": {"SR": []}}', "'SR'"),
        ('{"rhythm": {"SR": "sinus rhythm"}}', "'SR'"),
        ('{"rhythm": {"SR": [" "]}}', "'SR'"),
        ('{"rhythm": {"SR": ["a"], "SR": ["b"]}}', "stand twice"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"neither a file nor one of the packaged names.*ptb_xl"):
        load_prompts("ptbxl")
    with pytest.raises(ValueError, match=r"lack the labels \['WOLF'\].*--prompts"):
        select_prompts("super_class", ["NORM", "WOLF"])
    with pytest.raises(ValueError, match=r"no packaged prompts for task 'weather'"):
        select_prompts("weather", ["RAIN"])
    with pytest.raises(ValueError, match=r"have no task 'weather', only \['super_class'\]"):
        select_prompts("weather", ["RAIN"], "ptb_xl")
