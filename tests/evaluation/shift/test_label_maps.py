"""Label maps: those of the package against the corpora they name, their choice by labels, and targets by them."""

import itertools
import json

import datasets
import numpy as np
import pytest

from merit_hf.data.corpora.diagnosis_codes import diagnosis_codes
from merit_hf.data.corpora.ptb_xl import ScpStatements
from merit_hf.data.row import corpus_features
from merit_hf.evaluation.shift.label_maps import LABEL_MAPS, load_label_map, mapped_targets, select_label_map
from merit_hf.evaluation.targets import TaskTargets

SUPER = ["CD", "HYP", "MI", "NORM", "STTC"]


def corpus(**tasks: list[str]) -> datasets.Dataset:
    """An empty corpus with these tasks; only its features matter."""
    features = corpus_features(tasks)
    return datasets.Dataset.from_dict({name: [] for name in features}, features=features)


@pytest.fixture(scope="module")
def corpora() -> dict[str, datasets.Dataset]:
    return {
        "ptb_xl": corpus(super_class=SUPER, rhythm=["AFIB", "SR"]),
        "cpsc2018": corpus(labels=list(diagnosis_codes("cpsc2018").labels)),
        "csn": corpus(labels=list(diagnosis_codes("csn").labels)),
    }


def test_every_map_names_its_source_and_whole_label_sets(real_data):
    universes = {
        "PTB-XL": ScpStatements.read(real_data / "ptb-xl" / "scp_statements.csv").universe,
        "CPSC2018": {"labels": diagnosis_codes("cpsc2018").labels},
        "CSN": {"labels": diagnosis_codes("csn").labels},
    }
    assert len(LABEL_MAPS.names()) == 3
    for name in LABEL_MAPS.names():
        content = load_label_map(name)
        assert "http" in content["source"]
        left, right = content["left"], content["right"]
        assert set(content["labels"]) == set(universes[left["corpus"]][left["task"]])
        used = set(itertools.chain(*content["labels"].values()))
        assert used <= set(universes[right["corpus"]][right["task"]])


def test_the_map_of_super_classes_and_cpsc2018_is_the_published_one():
    labels = load_label_map("ptb_xl_super_class_cpsc2018")["labels"]
    published = {"NORM": ["NORM"], "CD": ["1AVB", "CRBBB", "CLBBB"], "STTC": ["STE", "STD"]}
    assert {label: codes for label, codes in labels.items() if codes} == published


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["ptb_xl", "cpsc2018", "csn"], 2)))
def test_the_six_pairs_find_their_map_in_either_direction(corpora, source, target):
    found = select_label_map(corpora[source], corpora[target])
    back = select_label_map(corpora[target], corpora[source])
    assert found.name == back.name
    assert found.labels == back.labels
    assert (found.source_codes, found.target_codes) == (back.target_codes, back.source_codes)
    assert (found.source_task, found.target_task) == (back.target_task, back.source_task)
    sizes = {"cpsc2018_csn": 9, "ptb_xl_super_class_cpsc2018": 3, "ptb_xl_super_class_csn": 5}
    assert len(found.labels) == sizes[found.name]
    left_first = found.name.startswith(source)
    assert all(list(found.source_codes[label]) == [label] for label in found.labels) == left_first
    assert json.loads(json.dumps(found.as_plain()))["labels"].keys() == set(found.labels)


def test_labels_without_a_counterpart_are_named(corpora):
    assert select_label_map(corpora["cpsc2018"], corpora["ptb_xl"]).unmapped == ("MI", "HYP")


def test_equal_tasks_need_no_map(corpora):
    found = select_label_map(corpora["csn"], corpora["csn"])
    assert found.name == "identity"
    assert found.source_codes["SR"] == found.target_codes["SR"] == ["SR"]
    with pytest.raises(ValueError, match=r"several label maps fit: identity \(super_class to super_class\)"):
        select_label_map(corpora["ptb_xl"], corpora["ptb_xl"])
    assert select_label_map(corpora["ptb_xl"], corpora["ptb_xl"], source_task="rhythm").labels == ["AFIB", "SR"]
    other = corpus(heart_rhythm=["SR", "AFIB"])  # another name and order
    found = select_label_map(corpora["ptb_xl"], other, source_task="rhythm", target_task="heart_rhythm")
    assert (found.source_task, found.target_task) == ("rhythm", "heart_rhythm")


def test_a_map_of_ones_own(corpora, tmp_path):
    path = tmp_path / "mine.json"
    content = {
        "source": "made here",
        "left": {"task": "rhythm"},
        "right": {"task": "labels"},
        "labels": {"AFIB": ["AFIB", "AF"], "SR": ["SR"]},
    }
    path.write_text(json.dumps(content))
    found = select_label_map(corpora["csn"], corpora["ptb_xl"], path)
    assert found.source_codes == {"AFIB": ["AFIB", "AF"], "SR": ["SR"]}
    assert found.origin == "made here"
    with pytest.raises(ValueError, match=r"mine.json' does not fit these corpora.*'labels'"):
        select_label_map(corpora["cpsc2018"], corpora["ptb_xl"], path)


def test_what_does_not_fit_is_said(corpora, tmp_path):
    with pytest.raises(ValueError, match=r"no packaged label map fits.*\['findings'\].*--label_map"):
        select_label_map(corpus(findings=["A"]), corpora["csn"])
    with pytest.raises(ValueError, match="neither a file nor one of the packaged names"):
        select_label_map(corpora["csn"], corpora["cpsc2018"], "csn")
    with pytest.raises(ValueError, match="'identity' does not fit"):
        select_label_map(corpora["csn"], corpora["cpsc2018"], "identity")
    with pytest.raises(ValueError, match="task 'weather' is not in this corpus"):
        select_label_map(corpora["csn"], corpora["cpsc2018"], source_task="weather")
    for text, message in (
        ("{", "not valid JSON"),
        ("[]", "must have the form"),
        ('{"labels": {}}', "must have the form"),
    ):
        path = tmp_path / "bad.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_label_map(path)


def test_a_record_has_a_label_if_it_has_any_of_its_codes():
    chosen = TaskTargets(
        np.array([3, 5, 8]), np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=bool), ["LBBB", "RBBB", "SR"]
    )
    made = mapped_targets(chosen, {"NORM": ["SR"], "CD": ["RBBB", "LBBB"]})
    assert made.label_names == ["NORM", "CD"]
    np.testing.assert_array_equal(made.targets, [[0, 1], [1, 1], [1, 0]])
    np.testing.assert_array_equal(made.records, chosen.records)
    assert mapped_targets(chosen, {}).targets.shape == (3, 0)
