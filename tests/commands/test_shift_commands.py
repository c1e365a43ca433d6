"""merit distribution-shift and merit robustness as a user runs them: files, tables, one line on bad input."""

import json
from pathlib import Path

import pytest

from merit_hf import MeritEcgModel
from merit_hf.commands import run as run_command
from merit_hf.data.build.write import write_corpus
from merit_hf.simulation.corpus import SyntheticCorpus


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    shares = {"AFIB": 0.5, "NORM": 0.3}
    write_corpus(SyntheticCorpus(num_records=60, duration=2.0, prevalence=shares), folder / "a")
    other = SyntheticCorpus(
        num_records=40, duration=2.0, seed=9, noise=3.0, sampling_rate=250, lead_names=["I", "II", "V2"]
    )
    write_corpus(other, folder / "b")
    return {name: folder / name for name in ("a", "b")}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs a command of examples/ in this process, with its output in a file of its own."""

    def run(name: str, **options) -> dict:
        output = tmp_path / "out.json"
        given = {"output": output, "device": "cpu", "num_resamples": 20, "cache_dir": tmp_path / "cache", **options}
        words = [
            word
            for key, value in given.items()
            for word in (f"--{key}", *map(str, value if isinstance(value, list) else [value]))
        ]
        run_command(name.replace("_", "-"), words)
        return json.loads(output.read_text())

    return run


def test_distribution_shift_of_two_corpora(command, corpora, tiny_run, tmp_path, capsys):
    options = {"model": tiny_run, "source": corpora["a"], "target": corpora["b"]}
    result = command("distribution_shift", **options, target_split="all", predictions=tmp_path / "scores")
    assert result["label_map"]["name"] == "identity"
    assert result["n"]["target"] == 40
    assert "AFIB" in result["labels"]
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {"source.parquet", "target.parquet"}
    printed = capsys.readouterr().out
    for side in ("source", "target", "drop"):
        macro = result[side]["macro_auroc"] if side == "drop" else result[side]["metrics"]["macro_auroc"]
        assert f"{macro['value']:.3f}" in printed
    assert command("distribution_shift", **options, target_split="all") == {
        **result,
        "config": {**result["config"], "predictions": None},
    }


@pytest.mark.parametrize(
    ("protocol", "curve", "level"),
    [("zero_shot", "lead_swap", "V1 to V6 in reverse"), ("probe", "leads", "2 (II, V5)")],
)
def test_robustness_by_either_protocol(command, corpora, tiny_run, tmp_path, capsys, protocol, curve, level):
    plot = tmp_path / "curves.png"
    result = command(
        "robustness",
        model=tiny_run,
        corpus=corpora["a"],
        task="findings",
        protocol=protocol,
        only=[curve],
        plot=plot,
    )
    assert list(result["curves"]) == [curve]
    assert "difference" in result["curves"][curve]["levels"][level]
    assert result["clean"]["config"]["protocol"] == protocol
    assert ("brier" in result["clean"]["metrics"]) == (protocol == "probe")
    assert plot.stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert level in printed
    assert f"{result['clean']['metrics']['macro_auroc']['value']:.3f}" in printed


def test_bad_input_ends_with_one_clear_line(command, corpora, tiny_run, tmp_path, capsys):
    encoder = tmp_path / "encoder"
    MeritEcgModel.from_pretrained(tiny_run).save_pretrained(encoder)
    shift = {"model": tiny_run, "source": corpora["a"], "target": corpora["b"]}
    robust = {"model": tiny_run, "corpus": corpora["a"], "task": "findings"}
    cases = [
        ("distribution_shift", {**shift, "label_map": "cpsc2018_csn"}, "'cpsc2018_csn' does not fit these corpora"),
        ("distribution_shift", {**shift, "source_task": "labels"}, "task 'labels' is not in this corpus"),
        ("distribution_shift", {**shift, "target_split": "tests"}, "has no split 'tests'"),
        ("distribution_shift", {**shift, "encoder": "resnet"}, "encoder is 'resnet', expected one of merit"),
        ("distribution_shift", {**shift, "num_resamples": 0}, "--num_resamples is 0"),
        ("robustness", {**robust, "task": "super_class"}, "task 'super_class' is not in this corpus"),
        ("robustness", {**robust, "only": ["fog"]}, "which has leads, sampling_rate"),
        ("robustness", {**robust, "curves": "strong"}, "packaged names ['standard']"),
        ("robustness", {**robust, "split": "train"}, "test_split 'train' is the one trained on"),
        ("robustness", {**robust, "protocol": "zero_shot", "model": encoder}, "has no text tower"),
    ]
    for name, options, message in cases:
        with pytest.raises(SystemExit) as ended:
            command(name, **options)
        assert ended.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, message
        assert message in errors[0]
    assert not (tmp_path / "out.json").exists()
