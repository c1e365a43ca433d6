"""Zero-shot classification of a corpus split: cosines between ECGs and prompts, compared with untrained models.

The protocol lives here; prompts are data (prompts.py), metrics are computed in classification_result.py.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import datasets
import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoProcessor

from merit_hf.configuration_merit import MeritConfig
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.encoders.embedding import encode_windows, mean_by_record
from merit_hf.evaluation.predictions import Predictions, ScoreKind, predictions_of, write_predictions
from merit_hf.evaluation.results import Result
from merit_hf.evaluation.targets import task_targets
from merit_hf.hub_names import require_folder_or_hub_name
from merit_hf.modeling_merit import MeritModel, require_complete
from merit_hf.pipeline_base_merit import inference_mode_of
from merit_hf.pipeline_merit import contrast_prompts, contrast_scores, embed_prompts, require_text_tower

Ensemble = Literal["embedding", "score"]


@dataclass(frozen=True)
class ZeroShotScoring:
    """How prompts become the scores of a label.

    Attributes:
        ensemble: what is averaged over the prompts of a label: "embedding" (their embeddings, as the pipeline does) or
            "score" (their cosines with the ECG).
        negative_template: how a prompt becomes its contrast text, e.g. "no {}"; scores are then the pipeline's with
            `multi_label=True`, from 0 to 1 and uncalibrated. None: scores are cosines.
    """

    ensemble: Ensemble = "embedding"
    negative_template: str | None = None

    def __post_init__(self) -> None:
        if self.ensemble not in get_args(Ensemble):
            raise ValueError(f"ensemble is {self.ensemble!r}, expected one of {', '.join(get_args(Ensemble))}")
        if self.negative_template is not None:
            contrast_prompts({}, self.negative_template)

    @property
    def score_kind(self) -> ScoreKind:
        """What the scores are, for `Predictions`."""
        return "similarity" if self.negative_template is None else "probability"


AS_PIPELINE = ZeroShotScoring()


def load_zero_shot(id_or_path: str, device: str | torch.device | None = None) -> tuple[Any, Any, Any]:
    """Model, feature extractor and tokenizer of a checkpoint, for zero-shot use.

    Args:
        id_or_path: RUN folder or Hub id.
        device: None takes a GPU if there is one.

    Raises:
        ValueError: nothing there, no text tower, or a checkpoint that lacks weights.
    """
    require_folder_or_hub_name(id_or_path)
    try:
        config = AutoConfig.from_pretrained(id_or_path)
        if config.model_type != MeritConfig.model_type:
            raise ValueError(
                f"model {id_or_path!r} is of type {config.model_type!r} and has no text tower; zero-shot needs one "
                f"of type {MeritConfig.model_type!r}, as `merit pretrain` makes it"
            )
        model = MeritModel.from_pretrained(id_or_path)
        processor = AutoProcessor.from_pretrained(id_or_path)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"model {id_or_path!r} cannot be opened: {reason}") from error
    require_text_tower(model)
    require_complete(model)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), processor.feature_extractor, processor.tokenizer


class _LabelTexts:
    """Text embeddings of labels, and how cosines with them become one cosine a label."""

    def __init__(self, model: Any, tokenizer: Any, prompts: Mapping[str, Sequence[str]], ensemble: Ensemble) -> None:
        self.model = model
        self.counts = [1] * len(prompts) if ensemble == "embedding" else [len(texts) for texts in prompts.values()]
        if ensemble == "score":
            prompts = {f"{place} {label}": [t] for label, texts in prompts.items() for place, t in enumerate(texts)}
        self.embeds = embed_prompts(model, tokenizer, prompts).to(model.device)

    def similarity(self, ecg_embeds: Tensor) -> Tensor:
        """Cosines (windows, labels)."""
        cosines = self.model.zero_shot_similarity(ecg_embeds, self.embeds)
        return torch.stack([part.mean(dim=-1) for part in cosines.split(self.counts, dim=-1)], dim=-1)


def zero_shot_scores(
    model: Any,
    feature_extractor: Any,
    tokenizer: Any,
    dataset: datasets.Dataset,
    prompts: Mapping[str, Sequence[str]],
    *,
    scoring: ZeroShotScoring = AS_PIPELINE,
    batch_size: int = 64,
    description: str | None = None,
) -> np.ndarray:
    """Scores of every record with every label; by default centred cosines, as the zero-shot pipeline's `similarity`.

    Args:
        model: a complete `MeritModel`.
        feature_extractor, tokenizer: those of its checkpoint.
        dataset: map-style corpus split.
        prompts: label -> texts.
        scoring: what is averaged over the texts of a label, and whether they are contrasted with another text.
        batch_size: records in one pass.
        description: title of the progress bar; None shows none.

    Returns:
        float64 (records, labels); of a recording longer than the extractor's window, the mean over its windows.
    """
    texts = _LabelTexts(model, tokenizer, prompts, scoring.ensemble)
    contrast = None
    if scoring.negative_template is not None:
        negated = contrast_prompts(prompts, scoring.negative_template)
        contrast = _LabelTexts(model, tokenizer, negated, scoring.ensemble)

    def encode(values: Tensor, mask: Tensor) -> Tensor:
        ecg_embeds = model.get_ecg_features(values, mask).pooler_output.float()
        similarity = texts.similarity(ecg_embeds)
        if contrast is None:
            return similarity
        return contrast_scores(similarity, contrast.similarity(ecg_embeds), model.inverse_temperature().float())

    scores, records = encode_windows(
        model, encode, feature_extractor, dataset, batch_size=batch_size, description=description
    )
    return mean_by_record(scores, records, len(dataset)).double().numpy()


def untrained_model(model: Any, seed: int) -> Any:
    """The same architecture as it is before training.

    Every weight that training could change is drawn anew, and the embedding means are zero again. What training keeps
    frozen stays: a frozen pretrained text tower is part of the architecture, and a baseline with a random one would be
    too easy to beat.

    Args:
        model: a `MeritModel`; it is not changed, and neither is the global random state.
        seed: of the new weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # On the CPU: the same seed gives the same weights whatever the model runs on.
        untrained = type(model)(copy.deepcopy(model.config))
    frozen = {name: weight for name, weight in model.named_parameters() if not weight.requires_grad}
    untrained.load_state_dict(frozen, strict=False)
    return untrained.to(device=model.device, dtype=model.dtype).eval()


def zero_shot_predictions(
    model: Any,
    feature_extractor: Any,
    tokenizer: Any,
    dataset: datasets.Dataset,
    *,
    task: str,
    prompts: Mapping[str, Sequence[str]],
    scoring: ZeroShotScoring = AS_PIPELINE,
    batch_size: int = 64,
    description: str | None = None,
) -> Predictions:
    """The scores of `zero_shot_scores` on the records and labels of one task of a corpus split.

    Args:
        model, feature_extractor, tokenizer: of one complete checkpoint.
        dataset: map-style corpus split; records without a label of the task are left out.
        task: label column of the corpus.
        prompts: label -> texts, for every label of the task.
        scoring: see `zero_shot_scores`.
        batch_size: records in one pass.
        description: title of the progress bar; None shows none.

    Raises:
        ValueError: the task is not in the corpus, or a label has no prompts.
    """
    chosen = task_targets(dataset, task)
    missing = [label for label in chosen.label_names if label not in prompts]
    if missing:
        raise ValueError(f"labels {missing} of task {task!r} have no prompts; add them to the prompts file")
    scores = zero_shot_scores(
        model,
        feature_extractor,
        tokenizer,
        dataset.select(chosen.records),
        {label: prompts[label] for label in chosen.label_names},
        scoring=scoring,
        batch_size=batch_size,
        description=description,
    )
    return predictions_of(dataset, chosen, scores, scoring.score_kind)


def zero_shot_result(
    model: Any,
    feature_extractor: Any,
    tokenizer: Any,
    dataset: datasets.Dataset,
    *,
    task: str,
    split: str,
    prompts: Mapping[str, Sequence[str]],
    model_name: str,
    config: Mapping[str, Any],
    validation: datasets.Dataset | None = None,
    scoring: ZeroShotScoring = AS_PIPELINE,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    batch_size: int = 64,
    num_resamples: int = 1000,
    progress: bool = False,
    predictions_path: str | os.PathLike[str] | None = None,
) -> Result:
    """Zero-shot metrics of a model on one task of a corpus split, and those of untrained models of its architecture.

    Args:
        model, feature_extractor, tokenizer: of one complete checkpoint.
        dataset: map-style corpus split; records without a label of the task are left out.
        task, split, model_name: recorded in the result.
        prompts: label -> texts, for every label of the task.
        config: further settings to record in the result; plain JSON.
        validation: another split of the corpus, on which the thresholds of F1 by rule "val" are chosen; with labels
            this is no longer wholly zero-shot, but nothing else is chosen there. None leaves that rule out.
        scoring: see `zero_shot_scores`.
        seeds: of the untrained models, whose metrics are averaged; empty leaves the entry "untrained" out.
        batch_size: records in one pass.
        num_resamples: bootstrap resamples of the intervals.
        progress: show progress bars.
        predictions_path: Parquet file for the model's predictions; None writes none.

    Returns:
        A result with, if there are seeds, the mean result of the untrained models.

    Raises:
        ValueError: the task is not in the corpus, or a label has no prompts.
    """

    def predict(scored: Any, rows: datasets.Dataset, title: str) -> Predictions:
        return zero_shot_predictions(
            scored,
            feature_extractor,
            tokenizer,
            rows,
            task=task,
            prompts=prompts,
            scoring=scoring,
            batch_size=batch_size,
            description=title if progress else None,
        )

    def result_of(models: Iterable[tuple[str, Any]], **about: Any) -> Result:
        tested, validated = [], []
        for title, each in models:
            tested.append(predict(each, dataset, title))
            if each is model and predictions_path is not None:
                write_predictions(tested[0], predictions_path)
            if validation is not None:
                validated.append(predict(each, validation, f"{title}, validation"))
        return classification_result(
            tested, validated or None, task=task, split=split, num_resamples=num_resamples, **about
        )

    with inference_mode_of(model):
        centred = bool(model.ecg_embeds_mean.any() or model.text_embeds_mean.any())
    result = result_of([("trained", model)], model=model_name, config={**config, "centred": centred})
    if seeds:
        untrained = result_of(
            ((f"untrained, seed {seed}", untrained_model(model, seed)) for seed in seeds),  # one at a time in memory
            model=f"{model_name} (untrained, mean of {len(seeds)} seeds)",
            config={**config, "centred": False, "untrained_seeds": list(seeds)},
        )
        result = dataclasses.replace(result, untrained=untrained)
    return result
