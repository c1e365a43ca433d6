"""Variants of a recipe: one loss each, everything else as it was."""

import dataclasses

import pytest

from merit_hf.command_line import as_plain
from merit_hf.training.ablation.variants import recipe_variant
from merit_hf.training.pretraining.arguments import PretrainingArguments, StageArguments
from merit_hf.training.pretraining.start import starting_config

WEIGHTS = ("reconstruction_weight", "contrastive_weight")


@pytest.fixture
def recipe() -> PretrainingArguments:
    """Masked first, then both."""
    stages = [
        StageArguments(contrastive_weight=0.0, num_train_epochs=2, learning_rate=1e-3),
        StageArguments(reconstruction_weight=0.5, num_train_epochs=3),
    ]
    return PretrainingArguments(corpus="C", output_dir="R", stages=stages)


def losses(arguments: PretrainingArguments) -> list[tuple[float, ...]]:
    configs = [starting_config(arguments, stage) for stage in range(len(arguments.stages))]
    return [tuple(getattr(config, name) for name in WEIGHTS) for config in configs]


def test_each_variant_has_its_loss_in_every_stage(recipe):
    assert losses(recipe) == [(1.0, 0.0), (0.5, 1.0)]
    assert losses(recipe_variant(recipe, "both")) == losses(recipe)
    assert losses(recipe_variant(recipe, "masked")) == [(1.0, 0.0), (1.0, 0.0)]
    assert losses(recipe_variant(recipe, "contrastive")) == [(0.0, 1.0), (0.0, 1.0)]


def test_nothing_else_differs(recipe):
    for variant in ("masked", "contrastive"):
        found = recipe_variant(recipe, variant)
        cleared = [dataclasses.replace(stage, **dict.fromkeys(WEIGHTS)) for stage in found.stages]
        expected = [dataclasses.replace(stage, **dict.fromkeys(WEIGHTS)) for stage in recipe.stages]
        assert as_plain(dataclasses.replace(found, stages=cleared)) == as_plain(
            dataclasses.replace(recipe, stages=expected)
        )


def test_a_recipe_of_one_loss_is_refused(recipe):
    one = dataclasses.replace(recipe, model={"contrastive_weight": 0.0})
    with pytest.raises(ValueError, match="contrastive_weight is 0 in every stage"):
        recipe_variant(one, "both")
    with pytest.raises(ValueError, match="variant is 'all'"):
        recipe_variant(recipe, "all")
