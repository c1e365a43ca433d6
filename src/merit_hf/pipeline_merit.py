"""The pipelines `ecg-zero-shot-classification`, `ecg-classification` and `ecg-feature-extraction`.

Reading what was handed in, cutting it into windows, putting answers together, and how prompts become label embeddings
live here. Preprocessing is the feature extractor's, files are `merit_hf.io`'s, and metrics have no place here: a
pipeline knows no true labels.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import ChunkPipeline

from .modeling_merit import require_complete
from .objective_merit import normalize_embeds

CandidateLabels = str | Sequence[str] | Mapping[str, str | Sequence[str]]

_NAMING = {"sampling_rate", "lead_names", "units"}  # what an array does not say of itself
_MAX_CACHED_LABELS = 10_000
_FUNCTIONS = ("default", "sigmoid", "softmax", "none")
_LARGEST_LOGIT = math.log((1 - 1e-7) / 1e-7)  # as calibration is fitted, on probabilities between 1e-7 and 1 - 1e-7


@dataclass
class EcgArray:
    """An array with what names it, in the form that the feature extractor takes records."""

    signal: Any
    sampling_rate: float
    lead_names: Sequence[str]
    units: str = "mV"


@contextmanager
def inference_mode_of(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout; afterwards the model trains on if it did before."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def require_text_tower(model: Any) -> None:
    """Raise ValueError if `model` cannot embed text (an encoder or classifier), or never learned to."""
    if not hasattr(model, "get_text_features"):
        raise ValueError(
            f"{type(model).__name__} has no text tower, which zero-shot classification needs. Open a checkpoint of "
            "MeritModel or MeritForPreTraining, as `merit pretrain` writes it with contrastive_weight > 0."
        )
    if model.config.contrastive_weight == 0:
        raise ValueError(
            f"{model.name_or_path!r} was pretrained with contrastive_weight=0, without reports: its text side is "
            "random. Zero-shot classification needs contrastive_weight > 0."
        )


def embed_prompts(model: Any, tokenizer: Any, prompts: Mapping[str, Sequence[str]], batch_size: int = 64) -> Tensor:
    """One text embedding a label: each prompt's embedding normalised, averaged over the label's prompts, normalised.

    Args:
        model: a `MeritModel`; its `config.max_text_length` limits the tokens.
        tokenizer: the text tower's tokenizer.
        prompts: label -> one or more texts. They are lower-cased, as the reports of pretraining are.
        batch_size: texts in one pass.

    Returns:
        float32 (labels, projection_dim) on the CPU, in the order of `prompts`.
    """
    require_text_tower(model)
    for label, texts in prompts.items():
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"label {label!r} needs a list of one or more non-empty prompts, got {texts!r}")
    if not prompts:
        raise ValueError("no labels: prompts must map each label to a list of texts")
    distinct = sorted(
        {text.lower() for texts in prompts.values() for text in texts}, key=lambda text: (len(text), text)
    )
    place = {text: index for index, text in enumerate(distinct)}
    parts = []
    with inference_mode_of(model):
        for start in range(0, len(distinct), batch_size):
            tokens = tokenizer(
                distinct[start : start + batch_size],
                padding=True,
                truncation=True,
                max_length=model.config.max_text_length,
                return_tensors="pt",
            ).to(model.device)
            output = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
            parts.append(output.pooler_output.float().cpu())
    embeds = normalize_embeds(torch.cat(parts))
    means = [embeds[[place[text.lower()] for text in texts]].mean(dim=0) for texts in prompts.values()]
    return normalize_embeds(torch.stack(means))


def contrast_prompts(prompts: Mapping[str, Sequence[str]], negative_template: str) -> dict[str, list[str]]:
    """The contrast texts of labels: each prompt put in the place of `{}` in the template, its full stop included.

    Raises:
        ValueError: the template has no `{}`.
    """
    if "{}" not in negative_template:
        raise ValueError(f"negative_template={negative_template!r} must contain {{}}, where the label goes")
    return {label: [negative_template.replace("{}", text) for text in texts] for label, texts in prompts.items()}


def contrast_scores(similarity: Tensor, contrast: Tensor, inverse_temperature: Tensor) -> Tensor:
    """Score of each label alone: softmax over the cosines with its text and with its contrast text, first entry.

    Args:
        similarity, contrast: (..., labels), cosines with the texts of `prompts` and of `contrast_prompts`.
        inverse_temperature: the model's, by which cosines are multiplied.
    """
    return torch.sigmoid(inverse_temperature * (similarity - contrast))


class _EcgPipeline(ChunkPipeline):
    """What all pipelines share: which inputs they take, windows, and refusing a checkpoint that lacks weights."""

    model: Any
    feature_extractor: Any
    tokenizer: Any
    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_video_processor = False  # type: ignore[assignment]
    _load_feature_extractor = True  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        require_complete(model)
        super().__init__(model, *args, **kwargs)
        if self.feature_extractor is None:
            raise ValueError(f"{type(self).__name__} needs feature_extractor=, a MeritFeatureExtractor")
        self.model.eval()

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, (list, tuple)):
            # A list of no ECGs has no answers; transformers would look at its first item.
            return super().__call__(list(inputs), *args, **kwargs) if len(inputs) else []
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = sorted(set(parameters) - _NAMING)
        if unknown:
            raise ValueError(f"{type(self).__name__} does not know the arguments {unknown}")
        return {name: value for name, value in parameters.items() if value is not None}, {}, {}

    def read(self, item: Any, **given: Any) -> Any:
        """One input as a record.

        Args:
            item: a path; a record (anything with `.signal`, `.sampling_rate`, `.lead_names`); an array or tensor
                (leads, samples); or a dict: {"signal": array, "sampling_rate": ..., "lead_names": ..., "units": ...},
                in which "array" may stand for "signal", and "path" in place of it; or a row of a corpus.
            given: sampling_rate, lead_names, units of arrays, and of files that hold an array and no more.
        """
        if isinstance(item, (str, os.PathLike)):
            return _package("merit_hf.io", "a path").read_ecg(item, **given)
        if hasattr(item, "signal"):
            return item
        if isinstance(item, Mapping):
            if "adc_gain" in item:
                return _package("merit_hf.data.row", "a row of a corpus").record_from_row(item)
            return self._read_dict(item, given)
        if isinstance(item, (np.ndarray, Tensor)):
            return self._read_array(item, **given)
        raise ValueError(
            f"cannot read an ECG from {type(item).__name__}: expected a path, a record, an array (leads, samples) "
            "with sampling_rate=, a dict, or a list of these"
        )

    def _read_dict(self, item: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        values = {("signal" if key == "array" else key): value for key, value in item.items()}
        sources = [key for key in ("signal", "path") if key in values]
        if len(sources) != 1 or not set(values) <= {*sources, *_NAMING}:
            raise ValueError(
                f"a dict must hold 'signal' or 'path', and may hold {sorted(_NAMING)}; got {sorted(item)}"
            )
        source = values.pop(sources[0])
        naming = {**given, **{name: value for name, value in values.items() if value is not None}}
        return self.read(source, **naming) if sources == ["path"] else self._read_array(source, **naming)

    def _read_array(
        self,
        signal: Any,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        units: str | None = None,
    ) -> EcgArray:
        if sampling_rate is None:
            raise ValueError("an array needs its sampling rate in Hz: pass sampling_rate=, e.g. sampling_rate=500")
        if not isinstance(signal, Tensor):
            signal = np.asarray(signal)
        if signal.ndim != 2:
            raise ValueError(
                f"an array must have the shape (leads, samples), got {tuple(signal.shape)}; pass several as a list"
            )
        return EcgArray(signal, sampling_rate, lead_names or self.feature_extractor.lead_names, units or "mV")

    def preprocess(self, input_: Any, **given: Any) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        windows = self.feature_extractor.windows(self.read(input_, **given))
        for number, window in enumerate(windows, start=1):
            tensors = self.feature_extractor(window, return_tensors="pt")
            yield {**tensors, "is_last": number == len(windows)}


class EcgZeroShotClassificationPipeline(_EcgPipeline):
    """Scores an ECG against labels given as text; task `ecg-zero-shot-classification`.

        pipe = pipeline("ecg-zero-shot-classification", model=RUN)
        pipe("records500/00000/00001_hr", candidate_labels=["normal ECG", "atrial fibrillation"])
        [{"score": 0.93, "label": "normal ECG"}, {"score": 0.07, "label": "atrial fibrillation"}]

    Scores are not calibrated: they order labels and records, and are no probabilities of disease.

    Arguments of the call (or of the constructor, as defaults):
        candidate_labels: list of labels, one string with labels between commas, or a dict label -> prompt or list of
            prompts. Prompts of a dict are taken as they stand, and several prompts of a label are averaged.
        hypothesis_template: how a label of a list becomes a text, `{}` standing for it. The default, `"{}."`, is the
            form of the reports of pretraining: one phrase with its full stop.
        multi_label: False (default): labels exclude each other, scores are the softmax over labels of the cosines
            times exp(logit_scale). True: each label alone, by the softmax against its contrast text.
        negative_template: how a text becomes its contrast text, for `multi_label=True`; default `"no {}"`.
        return_similarity: add the cosine, centred by the training corpus' means, as `similarity`; AUROC uses it.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    A recording longer than the extractor's window is scored window by window; scores and cosines are averaged. Label
    embeddings are computed once and kept, keyed by their texts.
    """

    _load_tokenizer = True

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        require_text_tower(model)
        self._label_embeds: dict[tuple[str, ...], Tensor] = {}
        super().__init__(model, *args, **kwargs)
        if self.tokenizer is None:
            raise ValueError(f"{type(self).__name__} needs tokenizer=, that of the checkpoint's text tower")

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = ("candidate_labels", "hypothesis_template", "multi_label", "negative_template", "return_similarity")
        scoring = {name: parameters.pop(name) for name in names if name in parameters}
        for name in ("hypothesis_template", "negative_template"):
            if name in scoring and "{}" not in scoring[name]:
                raise ValueError(f"{name}={scoring[name]!r} must contain {{}}, where the label goes")
        if "candidate_labels" in scoring:
            _as_prompts(scoring["candidate_labels"], "{}")
        preprocess, forward, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, scoring

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if "candidate_labels" not in {**self._postprocess_params, **kwargs}:
            raise ValueError("candidate_labels= is missing: a list of labels, or a dict label -> prompts")
        return super().__call__(inputs, *args, **kwargs)

    def _forward(self, input_tensors: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        output = self.model.get_ecg_features(input_tensors["input_values"], input_tensors["padding_mask"])
        return {"ecg_embeds": output.pooler_output.float(), "is_last": input_tensors["is_last"]}

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Iterable[Mapping[str, Tensor]],
        candidate_labels: CandidateLabels,
        hypothesis_template: str = "{}.",
        multi_label: bool = False,
        negative_template: str = "no {}",
        return_similarity: bool = False,
    ) -> list[dict[str, Any]]:
        prompts = _as_prompts(candidate_labels, hypothesis_template)
        ecg_embeds = torch.cat([window["ecg_embeds"] for window in model_outputs])  # (windows, projection_dim)
        similarity = self._similarity(ecg_embeds, prompts)
        with torch.no_grad():
            scale = self.model.inverse_temperature().float().cpu()
        if multi_label:
            # A label's texts were filled in already, so a template ends in the contrast text too: "no lbbb."
            contrast = self._similarity(ecg_embeds, contrast_prompts(prompts, negative_template))
            scores = contrast_scores(similarity, contrast, scale)
        else:
            scores = torch.softmax(scale * similarity, dim=-1)
        answers = []
        for label, score, cosine in zip(prompts, scores.mean(dim=0), similarity.mean(dim=0), strict=True):
            answers.append({"score": float(score), "label": label})
            if return_similarity:
                answers[-1]["similarity"] = float(cosine)
        return sorted(answers, key=lambda answer: -answer["score"])

    def _similarity(self, ecg_embeds: Tensor, prompts: Mapping[str, Sequence[str]]) -> Tensor:
        """Centred cosines (windows, labels), on the CPU in float32."""
        missing = {tuple(texts): texts for texts in prompts.values() if tuple(texts) not in self._label_embeds}
        if missing:
            if len(self._label_embeds) + len(missing) > _MAX_CACHED_LABELS:
                self._label_embeds.clear()
                missing = {tuple(texts): texts for texts in prompts.values()}
            embeds = embed_prompts(self.model, self.tokenizer, {str(texts): texts for texts in missing.values()})
            self._label_embeds.update(zip(missing, embeds, strict=True))
        text_embeds = torch.stack([self._label_embeds[tuple(texts)] for texts in prompts.values()])
        with torch.no_grad():
            device = self.model.device
            return self.model.zero_shot_similarity(ecg_embeds.to(device), text_embeds.to(device)).float().cpu()


class EcgClassificationPipeline(_EcgPipeline):
    """Scores an ECG for the labels that a classifier was fine-tuned on; task `ecg-classification`.

        pipe = pipeline("ecg-classification", model=RUN)
        pipe("records500/00000/00001_hr", top_k=2)
        [{"score": 0.93, "label": "NORM"}, {"score": 0.08, "label": "STTC"}]

    Arguments of the call (or of the constructor, as defaults):
        top_k: how many labels to give, those with the highest scores; None (default) gives all.
        function_to_apply: how logits become scores. `"sigmoid"` (each label alone), `"softmax"` (labels exclude each
            other) or `"none"` (logits). The default, `"default"`, goes by the configuration: where it holds a
            `calibration`, calibrated probabilities; else the sigmoid for `problem_type`
            `"multi_label_classification"` or a single label, the softmax for `"single_label_classification"`, and the
            plain output for `"regression"`.
        return_above_threshold: add `positive`, whether the probability before calibration reaches the label's
            threshold in the configuration, whatever function makes the score.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    Of a recording longer than the extractor's window the logits of the windows are averaged.
    """

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        if not hasattr(model, "classifier") or any(
            name.startswith("classifier.") for name in getattr(model, "missing_weights", ())
        ):
            raise ValueError(
                f"{model.name_or_path!r} has no trained classifier, which ecg-classification needs: open a model that "
                "`merit finetune` wrote, or fine-tune this one with it"
            )
        super().__init__(model, *args, **kwargs)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = ("top_k", "function_to_apply", "return_above_threshold")
        final = {name: parameters.pop(name) for name in names if name in parameters}
        function = final.get("function_to_apply", "default")
        if function is None:
            final["function_to_apply"] = "default"
        elif function not in _FUNCTIONS:
            raise ValueError(f"function_to_apply={function!r} is not known: choose one of {', '.join(_FUNCTIONS)}")
        top_k = final.get("top_k")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k={top_k!r} must be a number of labels from 1, or None for all")
        if final.get("return_above_threshold") and self.model.config.thresholds is None:
            raise ValueError(
                f"{self.model.name_or_path!r} has no thresholds in its configuration: leave out "
                "return_above_threshold, or fine-tune with `merit finetune`, which chooses them"
            )
        preprocess, forward, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, final

    def _forward(self, input_tensors: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        output = self.model(input_tensors["input_values"], padding_mask=input_tensors["padding_mask"])
        return {"logits": output.logits.float(), "is_last": input_tensors["is_last"]}

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Sequence[Mapping[str, Tensor]],
        top_k: int | None = None,
        function_to_apply: str = "default",
        return_above_threshold: bool = False,
    ) -> list[dict[str, Any]]:
        config = self.model.config
        logits = torch.cat([window["logits"] for window in model_outputs]).double().mean(dim=0)  # (labels,)
        labels = [config.id2label[number] for number in range(len(logits))]
        scores = self._scores(logits, labels, function_to_apply)
        answers = [{"score": float(score), "label": label} for score, label in zip(scores, labels, strict=True)]
        if return_above_threshold:
            thresholds = self._by_label(config.thresholds, labels, "thresholds")
            for answer, positive in zip(answers, torch.sigmoid(logits) >= thresholds, strict=True):
                answer["positive"] = bool(positive)
        return sorted(answers, key=lambda answer: -answer["score"])[:top_k]

    def _scores(self, logits: Tensor, labels: Sequence[str], function: str) -> Tensor:
        config = self.model.config
        if function == "default":
            if config.calibration is not None:
                slopes, intercepts = (
                    self._by_label(config.calibration[name], labels, "calibration")
                    for name in ("slopes", "intercepts")
                )
                return torch.sigmoid(slopes * logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT) + intercepts)
            if config.problem_type == "regression":
                function = "none"
            elif config.problem_type == "single_label_classification" and len(logits) > 1:
                function = "softmax"
            else:
                function = "sigmoid"
        if function == "none":
            return logits
        return torch.sigmoid(logits) if function == "sigmoid" else torch.softmax(logits, dim=-1)

    def _by_label(self, values: Mapping[str, float], labels: Sequence[str], field: str) -> Tensor:
        if set(values) != set(labels):
            raise ValueError(
                f"{field} of the configuration of {self.model.name_or_path!r} are those of the labels "
                f"{sorted(values)}, but id2label has {sorted(labels)}: use the same names in both"
            )
        return torch.tensor([values[label] for label in labels], dtype=torch.float64)


class EcgFeatureExtractionPipeline(_EcgPipeline):
    """Features of an ECG from the encoder; task `ecg-feature-extraction`.

    Arguments of the call (or of the constructor, as defaults):
        level: `"pooled"` (default): the encoder's pooled output, (hidden,). `"lead"`: the mean of each lead's valid
            tokens, (leads, hidden). `"token"`: every patch token, (leads, patches a lead, hidden). For joint-lead
            patches "lead" means a row of patches, of which there is one. Absent leads and padded time are zero.
        return_tensors: give torch tensors instead of nested lists.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    Of a recording longer than the extractor's window, pooled and lead features are averaged over the windows (a lead's
    over those where it is present), and tokens of the windows follow one another; the last window ends with the
    recording and so may overlap the one before it.
    """

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = {name: parameters.pop(name) for name in ("level",) if name in parameters}
        final = {name: parameters.pop(name) for name in ("return_tensors",) if name in parameters}
        if forward.get("level", "pooled") not in ("pooled", "lead", "token"):
            raise ValueError(f"level={forward['level']!r} is not known: choose 'pooled', 'lead' or 'token'")
        preprocess, _, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, {**final, **forward}

    def _forward(self, input_tensors: dict[str, Any], level: str = "pooled") -> dict[str, Any]:  # type: ignore[override]
        encoder: Any = getattr(self.model, "ecg_model", self.model)
        padding_mask = input_tensors["padding_mask"]
        output = encoder(input_tensors["input_values"], padding_mask=padding_mask)
        if level == "pooled":
            return {"features": output.pooler_output.float(), "is_last": input_tensors["is_last"]}
        tokens = encoder.patch_features(output.last_hidden_state).float()  # (batch, rows, patches, hidden)
        valid = encoder.patch_mask(padding_mask).reshape(tokens.shape[:3])
        tokens = tokens * valid[..., None]
        present = valid.any(dim=-1)
        if level == "lead":
            tokens = tokens.sum(dim=2) / valid.sum(dim=-1).clamp(min=1)[..., None]
        return {"features": tokens, "present": present, "is_last": input_tensors["is_last"]}

    def postprocess(  # type: ignore[override]
        self, model_outputs: Sequence[Mapping[str, Tensor]], level: str = "pooled", return_tensors: bool = False
    ) -> Any:
        features = torch.cat([window["features"] for window in model_outputs])  # (windows, ...)
        if level == "pooled":
            features = features.mean(dim=0)
        elif level == "lead":
            windows_present = torch.cat([window["present"] for window in model_outputs]).sum(dim=0)
            features = features.sum(dim=0) / windows_present.clamp(min=1)[:, None]
        else:
            features = features.transpose(0, 1).flatten(1, 2)
        return features if return_tensors else features.tolist()


def _as_prompts(candidate_labels: CandidateLabels, hypothesis_template: str) -> dict[str, list[str]]:
    """Label -> texts. Names in a list are put in the template; the prompts of a dict are whole texts already."""
    if isinstance(candidate_labels, Mapping):
        prompts = {
            name: [texts] if isinstance(texts, str) else list(texts) for name, texts in candidate_labels.items()
        }
        bad = [name for name, texts in prompts.items() if not texts or not all(isinstance(t, str) for t in texts)]
        if bad:
            raise ValueError(f"candidate_labels {bad} need a prompt or a list of prompts")
    else:
        if isinstance(candidate_labels, str):
            candidate_labels = [name.strip() for name in candidate_labels.split(",") if name.strip()]
        names = list(candidate_labels)
        if len(set(names)) != len(names):
            raise ValueError(f"candidate_labels must be distinct, got {names}")
        stop = "{}." in hypothesis_template
        # "Normal ECG." in "{}." must not end in two full stops.
        prompts = {n: [hypothesis_template.replace("{}", n.rstrip(" .") if stop else n)] for n in names}
    if not prompts or not all(isinstance(name, str) and name.strip() for name in prompts):
        raise ValueError(f"candidate_labels must be one or more non-empty strings, got {candidate_labels!r}")
    return prompts


def _package(module: str, what: str) -> Any:
    """A module of the installed package. These files also travel alone, as remote code, and then there is none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "merit_hf":
            raise
        raise ImportError(
            f"reading {what} needs the package: pip install merit-hf (arrays work without it)"
        ) from error


PIPELINES: dict[str, tuple[type[_EcgPipeline], Any]] = {
    "ecg-zero-shot-classification": (EcgZeroShotClassificationPipeline, AutoModel),
    # What no classifier can be opened from opens as a model, so that the pipeline itself says what it needs.
    "ecg-classification": (EcgClassificationPipeline, (AutoModelForSequenceClassification, AutoModel)),
    "ecg-feature-extraction": (EcgFeatureExtractionPipeline, AutoModel),
}


def register_pipelines() -> None:
    """Make `transformers.pipeline(task)` know the tasks of this file; calling it again changes nothing."""
    for task, (pipeline_class, auto_classes) in PIPELINES.items():
        known = PIPELINE_REGISTRY.supported_tasks.get(task)
        if known is not None and known["impl"] is pipeline_class:
            continue
        PIPELINE_REGISTRY.register_pipeline(
            task, pipeline_class=pipeline_class, pt_model=auto_classes, type="multimodal"
        )
        # With this attribute `save_pretrained` of a pipeline would copy code into the folder and demand
        # trust_remote_code from everyone who opens it; exporting code is a step of its own.
        delattr(pipeline_class, "_registered_impl")


__all__ = [
    "EcgClassificationPipeline",
    "EcgFeatureExtractionPipeline",
    "EcgZeroShotClassificationPipeline",
    "contrast_prompts",
    "contrast_scores",
    "embed_prompts",
    "register_pipelines",
]
