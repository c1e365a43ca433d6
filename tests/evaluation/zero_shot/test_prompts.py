"""Prompt files: the packaged ones, selection by task, and one clear error for every kind of bad file."""

import json
import re

import pytest

from merit_hf.data.corpora.diagnosis_codes import diagnosis_codes
from merit_hf.data.corpora.ptb_xl import ScpStatements
from merit_hf.data.reports import clean_report
from merit_hf.evaluation.zero_shot.prompts import (
    EVERY_TASK,
    LABEL_NAMES,
    PACKAGED_PROMPTS,
    load_prompts,
    prompts_note,
    select_prompts,
    split_at_commas,
)

PATHOLOGY = re.compile(
    "tachy|brady|block|infarct|isch|hypertroph|strain|depress|elevat|invert|flat|low|fibrillation|flutter|premature|"
    "extrasystol|prolong|deviation|abnormal|enlarge|pathological befund"
)


@pytest.mark.parametrize("name", PACKAGED_PROMPTS.names())
def test_packaged_prompts_read_like_reports(name):
    for labels in load_prompts(name).values():
        for code, texts in labels.items():
            assert texts == [clean_report(text) for text in texts], code
            assert len(set(texts)) == len(texts), code


@pytest.mark.parametrize("name", PACKAGED_PROMPTS.names())
def test_labels_of_a_task_have_several_prompts_and_share_none(name):
    for task, labels in load_prompts(name).items():
        texts = [text for several in labels.values() for text in several]
        assert len(set(texts)) == len(texts), task
        assert all(3 <= len(several) <= 8 for several in labels.values()), task


@pytest.mark.parametrize("name", [name for name in PACKAGED_PROMPTS.names() if not name.endswith("_de")])
def test_a_normal_ecg_is_not_said_to_have_a_finding(name):
    for labels in load_prompts(name).values():
        for text in labels.get("NORM", []):
            # "No definite pathology" names none; all other words of pathology would.
            assert not PATHOLOGY.search(text.replace("no abnormalities", "")), text


def test_every_label_of_ptb_xl_has_prompts(real_data):
    sizes = {"super_class": 5, "sub_class": 23, "form": 19, "rhythm": 12, "all": 71}
    universe = ScpStatements.read(real_data / "ptb-xl" / "scp_statements.csv").universe
    assert {task: len(labels) for task, labels in universe.items()} == sizes
    packaged = load_prompts("ptb_xl")
    for task, labels in universe.items():
        prompts, source = select_prompts(task, labels)
        assert source == "ptb_xl"
        assert list(prompts) == list(labels)
        assert set(packaged[task]) == set(labels)
    for task in ("form", "rhythm"):
        assert packaged[task] == {code: packaged["all"][code] for code in packaged[task]}


@pytest.mark.parametrize(("name", "size"), [("cpsc2018", 9), ("csn", 38)])
def test_one_task_name_of_two_corpora_is_told_apart_by_its_labels(name, size):
    labels = diagnosis_codes(name).labels
    assert len(labels) == size
    prompts, source = select_prompts("labels", labels)
    assert source == name
    assert list(prompts) == list(labels)
    assert set(load_prompts(name)["labels"]) == set(labels)


def test_the_file_with_the_fewest_other_labels_is_taken():
    assert select_prompts("labels", ["1AVB", "AFIB"])[1] == "cpsc2018"  # both have them
    assert select_prompts("labels", ["1AVB", "AFIB", "SR"])[1] == "csn"


def test_texts_by_code_alone_serve_every_task(tmp_path):
    path = tmp_path / "by_code.json"
    path.write_text(
        json.dumps({"ISC": "ischemic st-t (v1, v2) changes, ischemia.", "AVB": "av block", "NORM": "a,,b"})
    )
    assert load_prompts(path)[EVERY_TASK]["NORM"] == ["a,,b"]
    prompts, source = select_prompts("sub_class", ["ISC_", "_AVB", "NORM"], path)
    assert source == str(path)
    assert prompts == {"ISC_": ["ischemic st-t (v1, v2) changes, ischemia."], "_AVB": ["av block"], "NORM": ["a,,b"]}
    split, _ = select_prompts("all", ["ISC_", "NORM"], path, split_texts=True)
    assert split == {"ISC_": ["ischemic st-t (v1, v2) changes", "ischemia"], "NORM": ["a", "b"]}
    with pytest.raises(ValueError, match=r"lack the labels \['MI'\]"):
        select_prompts("all", ["ISC_", "MI"], path)


def test_phrases_of_a_text():
    assert split_at_commas("left block (LBBB, complete), left block (LBBB, complete), wide qrs.") == [
        "left block (LBBB, complete)",
        "wide qrs",
    ]
    assert split_at_commas(" , .") == []


def test_reports_are_not_split_at_their_commas(tmp_path):
    with pytest.raises(ValueError, match="not of the form.*--split_prompts"):
        load_prompts("ptb_xl", split_texts=True)
    with pytest.raises(ValueError, match="give a file with --prompts"):
        select_prompts("super_class", ["NORM"], split_texts=True)
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({"NORM": " , "}))
    with pytest.raises(ValueError, match="'NORM'; give at least one text"):
        load_prompts(path, split_texts=True)


def test_published_prompts_have_every_label_of_every_task(real_data):
    path = real_data / "merl" / "CKEPE_prompt.json"
    universe = dict(ScpStatements.read(real_data / "ptb-xl" / "scp_statements.csv").universe)
    for name in ("cpsc2018", "csn"):
        universe[name] = diagnosis_codes(name).labels
    for task, labels in universe.items():
        whole, _ = select_prompts(task, labels, path)
        phrases, _ = select_prompts(task, labels, path, split_texts=True)
        assert list(whole) == list(phrases) == list(labels)
        assert all(len(texts) == 1 for texts in whole.values())
        assert max(len(texts) for texts in phrases.values()) > 3


def test_super_classes_have_several_prompts_of_their_own():
    prompts, source = select_prompts("super_class", ["NORM", "MI", "STTC", "CD", "HYP"])
    assert source == "ptb_xl"
    assert list(prompts) == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert all(5 <= len(texts) <= 8 for texts in prompts.values())
    every = [text for texts in prompts.values() for text in texts]
    assert len(set(every)) == len(every)


def test_synthetic_findings_have_prompts_for_every_label():
    from merit_hf.simulation.corpus import SyntheticCorpus

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
        ('{"rhythm": {"SR": ["a"], "SR": ["b"]}}', "occur twice"),
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
    with pytest.raises(ValueError, match=r"have no task 'weather', only \['all', .*'super_class'\]"):
        select_prompts("weather", ["RAIN"], "ptb_xl")


@pytest.mark.parametrize(
    ("task", "labels"), [("super_class", ["NORM", "WOLF"]), ("weather", ["RAIN", "light_snow", "_"])]
)
def test_label_names_serve_where_no_packaged_prompts_fit(task, labels):
    prompts, source = select_prompts(task, labels)
    assert prompts == {label: ["light snow" if label == "light_snow" else label] for label in labels}
    assert source == LABEL_NAMES
    assert f"task {task!r}" in prompts_note(task, source)
    assert "--prompts" in prompts_note(task, source)
    assert prompts_note(task, "ptb_xl") == ""
