"""The variants of a recipe that an ablation compares: the same data, budget and seeds, under one loss or under both.

`evaluation/` compares the trained models.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.start import starting_config

Variant = Literal["masked", "contrastive", "both"]
# variant -> the loss it keeps
KEPT_LOSS: dict[str, str] = {"masked": "reconstruction_weight", "contrastive": "contrastive_weight"}


def recipe_variant(arguments: PretrainingArguments, variant: Variant) -> PretrainingArguments:
    """The recipe with one of its two losses left out of every stage, or as it is.

    Stages, epochs, batches and learning rates stay, so all variants see the same ECGs equally often. A stage that
    trained the other loss alone trains the kept one, by the largest weight that the recipe gives it anywhere.

    Args:
        arguments: a recipe with both losses.
        variant: "masked" (contrastive_weight 0), "contrastive" (reconstruction_weight 0) or "both".

    Raises:
        ValueError: the recipe lacks one of the losses in all its stages, so that there is nothing to compare.
    """
    configs = [starting_config(arguments, stage) for stage in range(arguments.num_stages)]
    weights = {name: max(getattr(config, name) for config in configs) for name in KEPT_LOSS.values()}
    if lacking := [name for name, weight in weights.items() if weight == 0]:
        raise ValueError(
            f"{lacking[0]} is 0 in every stage of the recipe: an ablation takes a recipe with both losses apart"
        )
    if variant == "both":
        return arguments
    if variant not in KEPT_LOSS:
        raise ValueError(f"variant is {variant!r}, expected one of {', '.join([*KEPT_LOSS, 'both'])}")
    kept: dict[str, Any] = {name: weight if name == KEPT_LOSS[variant] else 0.0 for name, weight in weights.items()}
    stages = [dataclasses.replace(stage, **kept) for stage in arguments.stages]
    return dataclasses.replace(arguments, stages=stages)
