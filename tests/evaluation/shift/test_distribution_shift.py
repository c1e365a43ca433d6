"""Distribution shift: numbers against scikit-learn, the drop and its interval, and the six pairs on real records."""

import csv
import itertools
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.cpsc2018 import Cpsc2018
from merit_hf.data.corpora.csn import Csn
from merit_hf.data.corpora.ptb_xl import PtbXl
from merit_hf.evaluation.encoders.encoder import load_encoder
from merit_hf.evaluation.predictions import Predictions, read_predictions
from merit_hf.evaluation.results import ShiftResult
from merit_hf.evaluation.shift.distribution_shift import distribution_shift, performance_drop
from merit_hf.evaluation.shift.label_maps import select_label_map
from merit_hf.evaluation.tables import shift_table
from merit_hf.simulation.corpus import SyntheticCorpus

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def encoder(tiny_run):
    return load_encoder(str(tiny_run), device="cpu")


@pytest.fixture(scope="module")
def two_corpora(tmp_path_factory):
    """Synthetic corpora that differ in noise, rate, lead set and prevalence."""
    folder = tmp_path_factory.mktemp("shift")
    common = {"AFIB": 0.4, "LBBB": 0.4, "NORM": 0.2}
    write_corpus(SyntheticCorpus(num_records=100, duration=2.0, noise=0.5, seed=1, prevalence=common), folder / "a")
    write_corpus(
        SyntheticCorpus(
            num_records=80,
            duration=2.0,
            sampling_rate=125,
            noise=3.0,
            seed=2,
            lead_names=["V5", "II", "I"],
            prevalence={"AFIB": 0.2, "LBBB": 0.5, "NORM": 0.2},
        ),
        folder / "b",
    )
    return {name: load_corpus(folder / name) for name in ("a", "b")}


def predictions(seed: int, num_records: int, signal: float) -> Predictions:
    generator = np.random.default_rng(seed)
    targets = generator.random((num_records, 2)) < 0.4
    scores = generator.standard_normal((num_records, 2)) + signal * targets
    names = [f"{seed}-{record}" for record in range(num_records)]
    return Predictions(names, [None] * num_records, ["A", "B"], targets, scores, "similarity")


def test_the_drop_is_that_of_the_metrics_and_its_interval_of_two_independent_samples():
    source, target = predictions(0, 300, 2.0), predictions(1, 200, 0.5)
    drop = performance_drop(source, target, num_resamples=20).as_plain()
    expected = roc_auc_score(source.targets, source.scores) - roc_auc_score(target.targets, target.scores)
    assert drop["macro_auroc"]["value"] == pytest.approx(expected, abs=1e-12)
    for column, label in enumerate("AB"):
        single = [roc_auc_score(each.targets[:, column], each.scores[:, column]) for each in (source, target)]
        assert drop["per_label"][label]["auroc"]["value"] == pytest.approx(single[0] - single[1], abs=1e-12)

    def width(first: Predictions, second: Predictions) -> float:
        entry = performance_drop(first, second, num_resamples=300).macro_auroc
        return entry.ci_high - entry.ci_low

    # Against a set so large that it adds nothing, what is left is the part of the other; variances add.
    large = predictions(5, 4_000, 1.0)
    expected = np.hypot(width(source, large), width(large, target))
    assert width(source, target) == pytest.approx(expected, rel=0.2)
    swapped = performance_drop(target, source, num_resamples=50)
    assert swapped.macro_auprc.value == pytest.approx(-drop["macro_auprc"]["value"], abs=1e-12)


def test_one_probe_on_two_corpora(encoder, two_corpora, tmp_path):
    a, b = two_corpora["a"], two_corpora["b"]
    label_map = select_label_map(a["train"], b["test"])
    assert label_map.name == "identity"
    found = distribution_shift(
        encoder,
        a,
        b["train"],
        label_map,
        model_name="tiny",
        config={},
        target_split="train",
        min_positives=2,
        num_resamples=50,
        cache_dir=tmp_path / "cache",
        predictions_dir=tmp_path / "scores",
    )
    result = found.as_plain()
    assert ShiftResult.from_plain(json.loads(json.dumps(result))) == found
    assert len(result["labels"]) >= 2
    assert set(result["labels"]) | set(result["excluded_labels"]) == set(label_map.labels)
    assert all(reason for reason in result["excluded_labels"].values())
    aurocs = []
    for side in ("source", "target"):
        saved = read_predictions(tmp_path / "scores" / f"{side}.parquet")
        assert saved.label_names == result["labels"]
        assert set(result[side]["per_label"]) == set(result["labels"])
        auroc = roc_auc_score(saved.targets, saved.scores)
        assert result[side]["metrics"]["macro_auroc"]["value"] == pytest.approx(auroc, abs=1e-12)
        assert "macro_f1_val" in result[side]["metrics"]
        aurocs.append(auroc)
    assert result["drop"]["macro_auroc"]["value"] == pytest.approx(aurocs[0] - aurocs[1], abs=1e-12)
    assert result["n"]["target"] == len(b["train"])
    table = shift_table(found)
    assert f"{aurocs[1]:.3f}" in table
    assert all(label in table for label in label_map.labels)


def test_what_else_the_target_has_does_not_change_a_score(encoder, two_corpora, tmp_path):
    a, b = two_corpora["a"], two_corpora["b"]
    label_map = select_label_map(a["train"], b["test"])
    saved = []
    for name, rows in (("all", b["train"]), ("some", b["train"].select(range(20, 45)))):
        distribution_shift(
            encoder, a, rows, label_map, model_name="tiny", config={}, num_resamples=5,
            cache_dir=tmp_path, predictions_dir=tmp_path / name,
        )  # fmt: skip
        saved.append(read_predictions(tmp_path / name / "target.parquet"))
    every, some = saved
    shared = [label for label in some.label_names if label in every.label_names]
    assert shared
    columns = [[each.label_names.index(label) for label in shared] for each in saved]
    np.testing.assert_allclose(every.scores[20:45][:, columns[0]], some.scores[:, columns[1]], atol=1e-6)


def test_when_no_label_is_left_the_result_says_why(encoder, two_corpora):
    a, b = two_corpora["a"], two_corpora["b"]
    found = distribution_shift(
        encoder,
        a,
        b["test"],
        select_label_map(a["train"], b["test"]),
        model_name="tiny",
        config={},
        min_positives=1000,
    )
    result = found.as_plain()
    assert result["labels"] == []
    assert "target" not in result
    assert "fewer than 1000" in result["excluded_labels"]["AFIB"]
    assert "no label can be scored on both corpora" in shift_table(found)


def test_faults_of_the_source_are_named(encoder, two_corpora):
    a, b = two_corpora["a"], two_corpora["b"]
    label_map = select_label_map(a["train"], b["test"])
    with pytest.raises(ValueError, match=r"\['validation'\] are missing"):
        distribution_shift(
            encoder, {"train": a["train"], "test": a["test"]}, b["test"], label_map, model_name="", config={}
        )
    with pytest.raises(ValueError, match="patients are in both train and test"):
        distribution_shift(encoder, {**a, "test": a["train"]}, b["test"], label_map, model_name="", config={})


@pytest.fixture(scope="module")
def real_corpora(real_data, tmp_path_factory):
    """PTB-XL, CPSC2018 and CSN from the few records at hand, the latter two in splits of our own."""
    folder = tmp_path_factory.mktemp("real")
    some = folder / "ptb-xl"
    some.mkdir()
    for name in ("scp_statements.csv", "records100"):
        (some / name).symlink_to(real_data / "ptb-xl" / name)
    with open(real_data / "ptb-xl" / "ptbxl_database.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    with open(some / "ptbxl_database.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(line for line in lines if float(line["strat_fold"]) in (1, 9, 10))
    builders = {"ptb_xl": PtbXl(data_dir=str(some))}
    for name, builder, files in (("cpsc2018", Cpsc2018, "cpsc2018"), ("csn", Csn, "csn")):
        found = sorted({path.stem for path in (real_data / files).rglob("*.mat")})
        splits = folder / f"{name}-splits"
        splits.mkdir()
        for number, split in enumerate(("train", "val", "test")):
            chosen = found[number::3] if name == "csn" else found[2 * number : 2 * number + 2]
            (splits / f"{split}.csv").write_text("\n".join(["ecg_id", *chosen]) + "\n")
        builders[name] = builder(data_dir=str(real_data / files), splits=str(splits))
    for name, corpus in builders.items():
        write_corpus(corpus, folder / f"{name}-corpus")
    return {name: load_corpus(folder / f"{name}-corpus") for name in builders}


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["ptb_xl", "cpsc2018", "csn"], 2)))
def test_the_six_pairs_run_on_real_records(encoder, real_corpora, tmp_path_factory, source, target):
    splits, other = real_corpora[source], real_corpora[target]["test"]
    label_map = select_label_map(splits["train"], other)
    result = distribution_shift(
        encoder,
        splits,
        other,
        label_map,
        model_name="tiny",
        config={},
        num_resamples=20,
        cache_dir=tmp_path_factory.getbasetemp() / "real-features",
    )
    assert set(result.labels) | set(result.excluded_labels) == set(label_map.labels)
    assert result.excluded_labels  # so few records cannot have them all
    assert shift_table(result)
    if result.labels:
        assert 0 <= result.target.metrics["macro_auroc"].value <= 1
