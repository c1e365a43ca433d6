"""A benchmark: every part once, kept for the next time, and a report that says what the results say."""

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from merit_hf.data.build.open import load_corpus
from merit_hf.evaluation.benchmark import studies as benchmark_studies
from merit_hf.evaluation.benchmark.benchmark import FINETUNE, Benchmark, BenchmarkSettings
from merit_hf.evaluation.benchmark.models import benchmark_models
from merit_hf.evaluation.benchmark.report import published_numbers, write_benchmark
from merit_hf.evaluation.predictions import Predictions, write_predictions
from merit_hf.evaluation.results import BenchmarkResult, ShiftResult
from merit_hf.evaluation.shift.label_maps import LabelMap
from merit_hf.evaluation.targets import task_targets

SETTINGS = BenchmarkSettings(
    test_split="train2", fractions=(0.5, 1.0), num_subsets=2, min_positives=2, num_resamples=20
)


@pytest.fixture(scope="module")
def corpora(small_corpus):
    """One corpus whose test split is half of what was its training split, by patient, so that it is large enough."""
    splits = load_corpus(small_corpus)
    patients = sorted(set(splits["train"]["patient_id"]))
    second = set(patients[::2])
    rows = [patient in second for patient in splits["train"]["patient_id"]]
    train = splits["train"].select([row for row, tested in enumerate(rows) if not tested])
    return {"synthetic": {"train": train, "train2": splits["train"].select(np.flatnonzero(rows))}}


@pytest.fixture(scope="module")
def benchmark(tiny_run, corpora, tmp_path_factory) -> Benchmark:
    models = benchmark_models([f"both={tiny_run}"], ["untrained"], 2)
    return Benchmark(models, corpora, tmp_path_factory.mktemp("benchmark"), settings=SETTINGS, device="cpu")


@pytest.fixture(scope="module")
def results(benchmark):
    return benchmark.run()


def test_every_part_has_its_entries(benchmark, results):
    found = [(r.result.model, r.protocol, r.result.config.get("fraction")) for r in results]
    assert found == [
        ("untrained", "linear_probe", 0.5),
        ("untrained", "linear_probe", 1.0),
        ("both", "linear_probe", 0.5),
        ("both", "linear_probe", 1.0),
        ("both", "zero_shot", None),  # an untrained model was never aligned with text
    ]
    assert len(results[1].result.metrics["macro_auroc"].values) == 2
    assert all(r.corpus == "synthetic" and r.result.config["min_positives"] == 2 for r in results)


def test_what_was_made_is_not_made_again(benchmark, results, monkeypatch, tiny_run, corpora):
    def refuse(*arguments):
        raise AssertionError("made again")

    for maker in ("_linear_probe", "_zero_shot"):
        monkeypatch.setattr(Benchmark, maker, refuse)
    assert benchmark.run() == results
    other = BenchmarkSettings(**{**vars(SETTINGS), "num_resamples": 21})
    changed = Benchmark(benchmark.models, corpora, benchmark.output_dir, settings=other, device="cpu")
    with pytest.raises(AssertionError, match="made again"):
        changed.run()


def test_changed_prompts_make_the_zero_shot_part_anew(tiny_run, corpora, tmp_path):
    labels = corpora["synthetic"]["train2"].features["findings"].feature.names
    file = tmp_path / "prompts.json"
    settings = BenchmarkSettings(**{**vars(SETTINGS), "prompts": str(file)})
    models = benchmark_models([f"both={tiny_run}"], [])

    def macro_auroc(texts):
        file.write_text(json.dumps({"findings": texts}))
        options = {"protocols": ["zero_shot"], "settings": settings, "device": "cpu"}
        (result,) = Benchmark(models, corpora, tmp_path / "out", **options).run()
        return result.result.metrics["macro_auroc"].value

    right = {label: [label.lower()] for label in labels}
    # The same file, by the same name, with other words.
    wrong = dict(zip(labels, [*list(right.values())[1:], right[labels[0]]], strict=True))
    first = macro_auroc(right)
    assert macro_auroc(wrong) != first
    assert macro_auroc(right) == first


def test_a_changed_label_map_makes_the_shift_anew(tiny_run, corpora, tmp_path, monkeypatch):
    one = corpora["synthetic"]
    splits = {**one, "validation": one["train"], "test": one["train2"]}
    models = benchmark_models([f"both={tiny_run}"], [])
    benchmark = Benchmark(models, {"a": splits, "b": splits}, tmp_path, settings=SETTINGS, device="cpu")
    # The protocol itself is tested in test_distribution_shift.py.
    calls = []

    def made(encoder, source, target, label_map, **options):
        calls.append(label_map.labels)
        return ShiftResult(label_map.as_plain(), (), {}, options["model_name"], {}, {"target": len(target)})

    monkeypatch.setattr(benchmark_studies, "distribution_shift", made)

    def shift(codes):
        label_map = LabelMap("map", "here", "findings", "findings", codes, codes)
        monkeypatch.setattr(benchmark_studies, "select_label_map", lambda source, target: label_map)
        found = benchmark_studies.shift_study(benchmark)
        assert found["a to b"]["both"].label_map == label_map.as_plain()

    shift({"AFIB": ["AFIB"]})
    shift({"AFIB": ["AFIB"]})
    assert calls == [["AFIB"]] * 2  # from a to b, and back
    shift({"AFIB": ["AFIB", "AFLT"]})  # of the same name
    assert len(calls) == 4


def test_comparisons_are_of_the_largest_share_and_all_seeds(benchmark, results):
    (comparison,) = benchmark.comparisons()
    assert (comparison.model_a, comparison.model_b) == ("both", "untrained")
    found = [r.result for r in results]
    value = {(r.model, r.config.get("fraction")): r.metrics["macro_auroc"].value for r in found}
    assert comparison.comparison.a == pytest.approx(value["both", 1.0], abs=1e-12)
    assert comparison.comparison.b == pytest.approx(value["untrained", 1.0], abs=1e-12)


def test_the_report_says_what_the_results_say(benchmark, results):
    studies = {"structure_probe": {}}
    comparisons = benchmark.comparisons()
    write_benchmark(
        benchmark, results, comparisons, command="python it.py", data={"synthetic": "simulated ECGs"}, studies=studies
    )
    folder = benchmark.output_dir
    written = json.loads((folder / "results.json").read_text())
    assert [BenchmarkResult.from_plain(entry) for entry in written["results"]] == results
    (first, *_) = written["results"]
    assert list(first)[:5] == ["corpus", "protocol", "task", "split", "n"]
    assert written["comparisons"][0]["model_a"] == "both"
    text = (folder / "README.md").read_text()
    assert "simulated ECGs" in text
    assert "python it.py" in text
    for result in results:
        metric = result.result.metrics["macro_auroc"]
        assert f"{metric.value:.3f} [{metric.ci_low:.3f}, {metric.ci_high:.3f}]" in text
    for label in results[0].result.excluded_labels:
        assert f"`{label}`" in text
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(result.result.metrics) for result in results)
    assert float(rows[0]["value"]) == results[0].result.metrics[rows[0]["metric"]].value
    for picture in folder.glob("plots/*.png"):
        assert f"plots/{picture.name}" in text
    assert len(list(folder.glob("plots/*.png"))) >= 5


def test_fine_tuning_is_asked_for_once_a_seed(tiny_run, corpora, tmp_path):
    calls = []

    def finetune(part, checkpoint, seed, folder):
        calls.append((part.task, checkpoint, seed))
        folder.mkdir(parents=True)
        for name, split in (("test", "train2"), ("validation", "train")):
            dataset = corpora["synthetic"][split]
            chosen = task_targets(dataset, "findings")
            ids = [dataset[int(row)]["ecg_id"] for row in chosen.records]
            made = Predictions(
                ids, [None] * len(ids), chosen.label_names, chosen.targets, 0.8 * chosen.targets + 0.1, "probability"
            )
            write_predictions(made, folder / f"predictions_{name}.parquet")

    models = benchmark_models([f"both={tiny_run}", f"both={tiny_run}"], [])
    options = {"protocols": [FINETUNE], "settings": SETTINGS, "device": "cpu"}
    found = Benchmark(models, corpora, tmp_path, finetune=finetune, **options).run()
    assert calls == [("findings", str(tiny_run), 0), ("findings", str(tiny_run), 1)]
    assert found[0].result.metrics["macro_auroc"].value == 1.0
    assert found[0].result.metrics["macro_f1_fixed"].value == 1.0
    with pytest.raises(ValueError, match="needs something that fine-tunes"):
        Benchmark(models, corpora, tmp_path, **options)


def test_structure_is_not_judged_without_a_validation_split(benchmark):
    # Without a validation split the study refuses rather than choose penalties on the test split.
    with pytest.raises(ValueError, match="validation"):
        benchmark_studies.structure_study(benchmark)


def test_bad_input_is_refused(tiny_run, corpora, tmp_path):
    models = benchmark_models([f"both={tiny_run}"], [])
    with pytest.raises(ValueError, match=r"tasks \['rhythm'\] are in none of the corpora"):
        Benchmark(models, corpora, tmp_path, tasks=["rhythm"], settings=SETTINGS)
    with pytest.raises(ValueError, match="has no split 'test'"):
        Benchmark(models, corpora, tmp_path)
    with pytest.raises(ValueError, match="different names"):
        Benchmark([*models, *models], corpora, tmp_path, settings=SETTINGS)
    with pytest.raises(ValueError, match=r"protocols \['guess'\] are not known"):
        Benchmark(models, corpora, tmp_path, protocols=["guess"], settings=SETTINGS)


def test_a_share_that_cannot_be_learned_from_is_said_in_the_report(tiny_run, corpora, tmp_path):
    settings = BenchmarkSettings(**{**vars(SETTINGS), "fractions": (0.001, 1.0)})
    models = benchmark_models([f"both={tiny_run}"], ["untrained"], 1)
    benchmark = Benchmark(models, corpora, tmp_path, protocols=["linear_probe"], settings=settings, device="cpu")
    results = benchmark.run()
    assert [each.result.config["fraction"] for each in results] == [1.0, 1.0]
    write_benchmark(benchmark, results, benchmark.comparisons(), command="it", data={})
    text = (tmp_path / "README.md").read_text()
    assert "`both`, 0.1% of the labels: skipped, none of the labels" in text
    assert "100% of the labels" in text


def test_models_without_predictions_are_not_compared(benchmark, results, tmp_path, monkeypatch):
    of_all = Benchmark.test_predictions
    monkeypatch.setattr(
        Benchmark,
        "test_predictions",
        lambda self, part: [] if part.model.name == "both" and part.protocol == "linear_probe" else of_all(self, part),
    )
    assert benchmark.comparisons() == []
    kept = [each for each in results if (each.result.model, each.result.config.get("fraction")) != ("both", 1.0)]
    monkeypatch.setattr(benchmark, "output_dir", tmp_path)
    write_benchmark(benchmark, kept, [], command="it", data={})
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if "skipped" in line]
    assert [row.replace("|", " ").split()[0] for row in rows] == ["both"]


def test_zero_shot_by_label_names_is_said_in_the_report(benchmark, results, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "output_dir", tmp_path)
    monkeypatch.setattr(benchmark, "parts", list)
    for source in ("label names", "synthetic"):
        *others, zero_shot = results
        config = {**zero_shot.result.config, "prompts": source}
        changed = replace(zero_shot, result=replace(zero_shot.result, config=config))
        write_benchmark(benchmark, [*others, changed], [], command="it", data={})
        text = (tmp_path / "README.md").read_text()
        assert ("Zero-shot prompts are the label names" in text) == (source == "label names")


def test_published_numbers_name_their_protocol():
    numbers = published_numbers("ptb_xl", "super_class")
    found = {(n["model"], n["protocol"], n.get("fraction")): n["macro_auroc"] for n in numbers}
    assert found["MERL", "zero_shot", None] == 0.742
    assert found["HeartLang", "linear_probe", 1.0] == 0.875
    assert all(0 < n["macro_auroc"] < 1 and "arXiv" in n["source"] for n in published_numbers())


def test_parts_made_by_two_processes_are_those_of_one(benchmark, results, tmp_path):
    other = Benchmark(benchmark.models, benchmark.corpora, tmp_path, settings=SETTINGS, device="cpu")
    begun = tmp_path / "begun"
    assert other.run(partial(_note, begun), num_parallel=2) == results
    assert sorted(begun.read_text().split()) == sorted(str(number) for number in range(1, len(benchmark.parts()) + 1))


def _note(path, line):
    with open(path, "a") as file:
        file.write(line.split("/")[0] + "\n")
