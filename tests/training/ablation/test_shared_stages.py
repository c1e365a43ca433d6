"""Stages that two runs share: found, trained once, and continued as if each run had trained them itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from merit_hf.command_line import parse_arguments
from merit_hf.training.ablation.shared_stages import branch_off, num_shared_stages, shared_run
from merit_hf.training.ablation.variants import recipe_variant
from merit_hf.training.loop.log import read_metrics
from merit_hf.training.pretraining.arguments import PretrainingArguments, StageArguments
from merit_hf.training.pretraining.pretrainer import Pretrainer


@pytest.fixture
def recipe(small_recipe: Path, small_corpus: Path, tmp_path: Path) -> PretrainingArguments:
    """Masked first, then both."""
    stages = [
        StageArguments(contrastive_weight=0.0, num_train_epochs=2, learning_rate=0.003),
        StageArguments(num_train_epochs=2, learning_rate=0.002),
    ]
    words = [str(small_recipe), "--corpus", str(small_corpus), "--output_dir", str(tmp_path / "both")]
    words += ["--report_to", "tensorboard"]
    run = parse_arguments(PretrainingArguments, words)
    # Rates and epochs of the recipe would change nothing beside those of the stages.
    return replace(run, stages=stages, num_train_epochs=25.0, learning_rate=1e-3)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def run(arguments: PretrainingArguments, **changed: Any) -> Path:
        AcceleratorState._reset_state(reset_partial_state=True)
        Pretrainer(replace(arguments, **changed)).train()
        return Path(arguments.output_dir)

    yield run
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def test_stages_are_shared_up_to_the_first_that_differs(recipe: PretrainingArguments) -> None:
    masked, contrastive = recipe_variant(recipe, "masked"), recipe_variant(recipe, "contrastive")
    assert num_shared_stages([recipe, masked]) == 1
    assert num_shared_stages([recipe, contrastive]) == num_shared_stages([masked, contrastive]) == 0
    assert num_shared_stages([recipe, replace(masked, seed=1)]) == 0
    slower = replace(masked, stages=[replace(masked.stages[0], learning_rate=0.001), masked.stages[1]])
    assert num_shared_stages([recipe, slower]) == 0
    # What the run says for all its stages counts as what a stage says.
    inherited = replace(masked, stages=[replace(masked.stages[0], learning_rate=None), masked.stages[1]])
    assert num_shared_stages([recipe, replace(inherited, learning_rate=0.003)]) == 0
    assert num_shared_stages([slower, replace(inherited, learning_rate=0.001)]) == 1
    with pytest.raises(ValueError, match="no first stage in common"):
        shared_run([recipe, contrastive], "folder")


def test_values_that_only_later_stages_inherit_are_left_out(recipe: PretrainingArguments) -> None:
    later = replace(
        recipe, stages=[recipe.stages[0], replace(recipe.stages[1], learning_rate=None)], learning_rate=1.0
    )
    assert later.first_stages(1).stages == recipe.stages[:1]
    assert later.first_stages(2) == later


def test_a_branch_ends_as_the_run_that_trained_all_itself(
    recipe: PretrainingArguments, train: Any, tmp_path: Path
) -> None:
    masked = replace(recipe_variant(recipe, "masked"), output_dir=str(tmp_path / "masked"))
    whole = train(replace(recipe, output_dir=str(tmp_path / "whole")))
    shared = train(
        shared_run(
            [replace(recipe, save_strategy="no"), replace(masked, save_strategy="no")], str(tmp_path / "shared")
        )
    )
    for run in (recipe, masked):
        branch_off(shared, run)
        train(run, resume_from_checkpoint="latest")
    both = Path(recipe.output_dir)
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, both))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for line, other in zip(read_metrics(whole / "metrics.jsonl"), read_metrics(both / "metrics.jsonl"), strict=True):
        assert {**line, "ecgs_per_second": 0} == {**other, "ecgs_per_second": 0}
    assert {entry.name for entry in whole.iterdir()} == {entry.name for entry in both.iterdir()}
    with pytest.raises(ValueError, match="is not empty"):
        branch_off(shared, recipe)
    other = load_file(Path(masked.output_dir) / "model.safetensors")
    assert any(not torch.equal(expected[name], other[name]) for name in expected)


def test_a_beginning_without_checkpoint_is_refused(recipe: PretrainingArguments, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint to go on from"):
        branch_off(tmp_path, recipe)
    assert not Path(recipe.output_dir).exists()
