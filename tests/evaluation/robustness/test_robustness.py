"""Robustness: curves as data, levels against the model run by hand on perturbed records, and what cannot be scored."""

import json

import datasets
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from merit_hf.data.build.open import load_corpus
from merit_hf.evaluation.encoders.encoder import load_encoder
from merit_hf.evaluation.probes.linear_probe import ProbeSettings, linear_probe, train_probe
from merit_hf.evaluation.probes.probe_data import SplitFeatures, probe_data
from merit_hf.evaluation.results import RobustnessResult
from merit_hf.evaluation.robustness.perturbations import Perturbation, perturbed_dataset
from merit_hf.evaluation.robustness.robustness import CURVES, Curves, load_curves, robustness
from merit_hf.evaluation.tables import robustness_table
from merit_hf.evaluation.targets import label_names_of, task_targets
from merit_hf.evaluation.zero_shot.prompts import select_prompts
from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, zero_shot_scores
from merit_hf.leads_merit import STANDARD_12
from merit_hf.plotting.curves import plot_robustness


@pytest.fixture(scope="module")
def split(small_corpus) -> datasets.Dataset:
    return load_corpus(small_corpus, "train").select(range(30))


@pytest.fixture(scope="module")
def score(tiny_run, split):
    model, extractor, tokenizer = load_zero_shot(str(tiny_run), "cpu")
    prompts, _ = select_prompts("findings", label_names_of(split, "findings"))
    return lambda rows: zero_shot_scores(model, extractor, tokenizer, rows, prompts)


def curves_of(**levels: dict[str, dict]) -> Curves:
    made = {
        name: {level: Perturbation.from_plain(values) for level, values in each.items()}
        for name, each in levels.items()
    }
    return Curves("mine", "made here", {name: name for name in levels}, made)


def run(score, split, curves, **options):
    settings = {
        "task": "findings",
        "split": "train",
        "model": "tiny",
        "config": {},
        "score_kind": "similarity",
        "lead_names": STANDARD_12,
        "num_resamples": 20,
        **options,
    }
    result = robustness(score, split, curves, **settings)
    plain = json.loads(json.dumps(result.as_plain(), allow_nan=False))
    assert RobustnessResult.from_plain(plain) == result
    return plain


def test_packaged_curves_cover_what_is_promised():
    assert CURVES.names() == ["standard"]
    curves = load_curves()
    assert set(curves.levels) == {"leads", "sampling_rate", "noise", "baseline_wander", "lead_swap"}
    counts = [len(each.lead_names or STANDARD_12) for each in curves.levels["leads"].values()]
    assert set(counts) == {12, 6, 3, 2, 1}
    assert counts == sorted(counts, reverse=True)
    rates = [each.sampling_rate for each in curves.levels["sampling_rate"].values()]
    assert (rates[0], rates[-1]) == (500, 50)
    for name, field in (("noise", "noise_ratio"), ("baseline_wander", "wander_ratio")):
        ratios = [getattr(each, field) for each in curves.levels[name].values()]
        assert ratios[0] is None
        assert ratios[1:] == sorted(ratios[1:], reverse=True)
    swaps = [each.exchanges for each in curves.levels["lead_swap"].values()]
    assert (("RA", "LA"),) in swaps
    assert any(pair[0].startswith("V") for swap in swaps for pair in swap)
    assert list(curves.only(["noise"]).levels) == ["noise"]
    with pytest.raises(ValueError, match=r"curves \['fog'\] are not in 'standard', which has leads"):
        curves.only(["fog"])


def test_each_level_is_the_model_on_perturbed_records(score, split):
    curves = curves_of(
        noise={"none": {}, "0": {"noise_ratio": 0}, "-20": {"noise_ratio": -20}}, leads={"II": {"lead_names": ["II"]}}
    )
    result = run(score, split, curves, seed=7)
    targets = task_targets(split, "findings").targets
    scored = [column for column in range(targets.shape[1]) if targets[:, column].any()]
    clean = roc_auc_score(targets[:, scored], score(split)[:, scored])
    assert result["clean"]["metrics"]["macro_auroc"]["value"] == pytest.approx(clean, abs=1e-12)
    noise = result["curves"]["noise"]["levels"]
    assert noise["none"]["metrics"] == result["clean"]["metrics"]
    assert noise["none"]["difference"] is None
    for curve, level in (("noise", "0"), ("noise", "-20"), ("leads", "II")):
        entry = result["curves"][curve]["levels"][level]
        perturbation = curves.levels[curve][level]
        by_hand = score(perturbed_dataset(split, perturbation, 7))
        expected = roc_auc_score(targets[:, scored], by_hand[:, scored])
        assert entry["metrics"]["macro_auroc"]["value"] == pytest.approx(expected, abs=1e-12)
        assert entry["metrics"]["macro_auroc"]["ci_low"] <= expected <= entry["metrics"]["macro_auroc"]["ci_high"]
        assert entry["difference"]["macro_auroc"]["value"] == pytest.approx(expected - clean, abs=1e-12)
        assert entry["perturbation"] == perturbation.as_plain()
        assert entry["n"] == len(split)
    assert len({noise[level]["metrics"]["macro_auroc"]["value"] for level in noise}) == 3
    assert result == run(score, split, curves, seed=7)
    assert result["config"]["perturbation_seed"] == 7
    table = robustness_table(RobustnessResult.from_plain(result))
    assert f"{clean:.3f}" in table
    assert "-20" in table


def test_a_record_without_a_lead_that_the_model_sees_is_left_out(score, split):
    few = perturbed_dataset(split.select(range(10)), Perturbation(lead_names=("I", "II")))
    mixed = datasets.concatenate_datasets([split.select(range(10, 30)).select_columns(few.column_names), few])
    curves = curves_of(
        leads={"V1": {"lead_names": ["V1"]}, "V7": {"lead_names": ["V7"]}, "aVL": {"lead_names": ["aVL"]}}
    )
    levels = run(score, mixed, curves)["curves"]["leads"]["levels"]
    assert levels["V1"]["n"] == 20
    assert "reason" not in levels["V1"]
    assert levels["V7"]["n"] == 0
    assert "of 30 records 0 have a signal left" in levels["V7"]["reason"]
    assert levels["aVL"]["n"] == 20  # it is not among I and II, although it would follow from them
    # A model that sees other leads only, and one that sees leads which follow from I and II.
    limb = curves_of(leads={"2": {"lead_names": ["I", "II"]}})
    assert run(score, mixed, limb, lead_names=["V1"])["curves"]["leads"]["levels"]["2"]["n"] == 0
    assert run(score, mixed, limb, lead_names=["aVL"])["curves"]["leads"]["levels"]["2"]["n"] == 30


def test_the_probe_is_that_of_the_linear_probe(tiny_run, small_corpus, tmp_path):
    splits = load_corpus(small_corpus)
    encoder = load_encoder(str(tiny_run), device="cpu")
    probe = train_probe(probe_data(splits, "findings"), SplitFeatures(encoder, splits, cache_dir=tmp_path)).probe
    settings = ProbeSettings(fractions=[1.0], num_resamples=5, cache_dir=tmp_path)
    (whole,) = linear_probe(encoder, splits, "findings", settings)
    assert whole.config["choices"] == [probe.choice]
    chosen = task_targets(splits["test"], "findings")
    scores = probe.probabilities(encoder.features(splits["test"]))
    for label, entry in whole.per_label.items():
        column = chosen.label_names.index(label)
        expected = roc_auc_score(chosen.targets[:, column], scores[chosen.records, column])
        assert entry.metrics["auroc"].value == pytest.approx(expected, abs=1e-9)


def test_plot_has_a_panel_a_curve_and_a_line_a_model(score, split):
    curves = curves_of(
        noise={"none": {}, "0": {"noise_ratio": 0}},
        leads={"12": {}, "V7": {"lead_names": ["V7"]}, "I": {"lead_names": ["I"]}},
    )
    result = run(score, split, curves)
    typed = RobustnessResult.from_plain(result)
    figure = plot_robustness({"one": typed, "two": typed})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["noise", "leads"]
    for axes in figure.axes:
        assert len(axes.containers) == 2
    values = figure.axes[0].containers[0].lines[0].get_ydata()
    expected = [entry["metrics"]["macro_auroc"]["value"] for entry in result["curves"]["noise"]["levels"].values()]
    np.testing.assert_allclose(values.astype(float), expected)
    assert len(figure.axes[1].containers[0].lines[0].get_ydata()) == 2  # V7 could not be scored
    with pytest.raises(ValueError, match="metric 'accuracy' is not in the results of 'one'"):
        plot_robustness({"one": typed}, "accuracy")
    with pytest.raises(ValueError, match="results is empty"):
        plot_robustness({})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must have the form"),
        ("{}", "KeyError 'curves'"),
        ('{"source": "", "curves": {"noise": {"levels": {}}}}', "KeyError 'title'"),
        ('{"source": "", "curves": {"noise": {"title": "", "levels": {"1": {"snr": 3}}}}}', "noise: .* no field snr"),
    ],
)
def test_bad_curves_are_refused(tmp_path, content, message):
    path = tmp_path / "curves.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_curves(path)


def test_curves_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="neither a file nor one of the packaged names"):
        load_curves("strong")
