"""The pipelines `ecg-zero-shot-classification`, `ecg-classification` and `ecg-feature-extraction`.

How prompts become label embeddings and how outputs of windows become an answer live here; inputs, batches and errors
are in `pipeline_base_merit`. There are no metrics: a pipeline knows no true labels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .messages_merit import shown
from .objective_merit import normalize_embeds
from .pipeline_base_merit import EcgPipeline, inference_mode_of, require_flags

CandidateLabels = str | Sequence[str] | Mapping[str, str | Sequence[str]]

_MAX_CACHED_LABELS = 10_000
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element
_NUM_WEIGHTS = 1021  # a prime, so that rows of a matrix that change places meet other weights
_PLAIN = (bool, int, float, str, tuple, list, dict)
_NO_SETTINGS = {"training", "_parameters", "_buffers", "_modules"}  # tensors are compared by themselves
_FUNCTIONS = ("default", "sigmoid", "softmax", "none")
_LARGEST_LOGIT = math.log((1 - 1e-7) / 1e-7)  # as calibration is fitted, on probabilities between 1e-7 and 1 - 1e-7


def require_text_tower(model: Any) -> None:
    """Raise ValueError if `model` cannot embed text (an encoder or classifier), or never learned to."""
    if not hasattr(model, "get_text_features"):
        raise ValueError(
            f"{type(model).__name__} has no text tower, which zero-shot classification needs. Open a checkpoint of "
            "MeritModel or MeritForPreTraining, as `merit pretrain` writes it with contrastive_weight > 0"
        )
    if model.config.contrastive_weight == 0:
        raise ValueError(
            f"{model.name_or_path!r} was pretrained with contrastive_weight=0, without reports: its text side is "
            "random. Zero-shot classification needs contrastive_weight > 0"
        )


def embed_prompts(model: Any, tokenizer: Any, prompts: Mapping[str, Sequence[str]], batch_size: int = 64) -> Tensor:
    """One text embedding a label: each prompt's embedding normalised, averaged over the label's prompts, normalised.

    Warns of texts that `model.config.max_text_length` cuts, as what is cut off has no effect, and of labels that
    become the same tokens.

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
            raise ValueError(f"label {label!r} needs a list of one or more non-empty prompts, got {shown(texts)}")
    if not prompts:
        raise ValueError("no labels: prompts must map each label to a list of texts")
    distinct = sorted(
        {text.lower() for texts in prompts.values() for text in texts}, key=lambda text: (len(text), text)
    )
    place = {text: index for index, text in enumerate(distinct)}
    tokens_of = dict(zip(distinct, tokenizer(distinct, verbose=False)["input_ids"], strict=True))
    _warn_of_cut_texts(prompts, tokens_of, model.config.max_text_length)
    _warn_of_same_tokens(prompts, tokens_of, model.config.max_text_length)
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


def _warn_of_cut_texts(
    prompts: Mapping[str, Sequence[str]], tokens_of: Mapping[str, Sequence[int]], max_length: int
) -> None:
    too_long = {text: len(ids) for text, ids in tokens_of.items() if len(ids) > max_length}
    for label, texts in prompts.items():
        longest = max((too_long[text.lower()] for text in texts if text.lower() in too_long), default=None)
        if longest is not None:
            warnings.warn(
                f"a text of the label {shown(label)} has {longest} tokens and is cut at max_text_length={max_length}: "
                "the rest has no effect. Use a shorter text",
                UserWarning,
                stacklevel=3,
            )


def _warn_of_same_tokens(
    prompts: Mapping[str, Sequence[str]], tokens_of: Mapping[str, Sequence[int]], max_length: int
) -> None:
    first_with: dict[tuple[tuple[int, ...], ...], str] = {}
    for label, texts in prompts.items():
        tokens = tuple(sorted(tuple(tokens_of[text.lower()][:max_length]) for text in texts))
        same = first_with.setdefault(tokens, label)
        if same != label:
            warnings.warn(  # once: thousands of labels may be alike
                f"the labels {shown(same)} and {shown(label)} become the same tokens, so the model cannot tell them "
                "apart: their words are unknown to the tokenizer, or the difference is cut off. Use other texts",
                UserWarning,
                stacklevel=3,
            )
            return


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


class EcgZeroShotClassificationPipeline(EcgPipeline):
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
            times exp(logit_scale), as `logits_per_ecg.softmax(-1)` of the model. True: each label alone, by the
            softmax against its contrast text. A single label is always scored in that way, as in transformers'
            zero-shot pipelines: among labels that exclude each other it would always score 1.
        negative_template: how a text becomes its contrast text, for `multi_label=True`; default `"no {}"`.
        return_similarity: add the cosine, centred by the training corpus' means, as `similarity`; AUROC uses it.
        on_error: what becomes of an input that cannot be read or has too little signal. `"raise"` (default): a
            ValueError that names the file or the place in the list. `"return"`: `{"error": text}` in its place.
        return_details: answer with `{"answer": ..., "details": {...}}`, where `details` says what was done to the ECG:
            `leads` ("given", "derived", "constant" or "missing"), `seconds`, `sampling_rate` (theirs, ours),
            `windows`, `masked_share`, `warnings` and more, as `MeritFeatureExtractor.describe` does.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    A window needs 2 s of real signal in one lead (half the window, if the model's is shorter than 4 s); windows with
    less are left out, and an ECG without any other is refused. Python's `warnings` (or the `details`) say where less
    than half of the model's input is there, or where most of it looks like noise.

    A recording longer than the extractor's window is scored window by window; scores and cosines are averaged. Label
    embeddings are computed once and kept until the weights of the text side change.
    """

    _load_tokenizer = True

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        require_text_tower(model)
        self._label_embeds: dict[tuple[str, ...], Tensor] = {}
        self._embedded_by: tuple[Any, ...] = ()  # the text side that `_label_embeds` came from
        self._seen: tuple[Any, ...] = ()  # of it, what is looked at before every batch
        super().__init__(model, *args, **kwargs)
        if self.tokenizer is None:
            raise ValueError(f"{type(self).__name__} needs tokenizer=, that of the checkpoint's text tower")

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = ("candidate_labels", "hypothesis_template", "multi_label", "negative_template", "return_similarity")
        scoring = {name: parameters.pop(name) for name in names if name in parameters}
        for name in ("hypothesis_template", "negative_template"):
            if name in scoring and not (isinstance(scoring[name], str) and "{}" in scoring[name]):
                raise ValueError(f"{name}={shown(scoring[name])} must contain {{}}, where the label goes")
        require_flags(scoring, "multi_label", "return_similarity")
        if "candidate_labels" in scoring:
            scoring["candidate_labels"] = _listed(scoring["candidate_labels"])
            known = {"hypothesis_template": "{}.", **getattr(self, "_postprocess_params", {}), **scoring}
            _as_prompts(scoring["candidate_labels"], known["hypothesis_template"])
        preprocess, forward, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, scoring

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if "candidate_labels" not in {**self._postprocess_params, **kwargs}:
            raise ValueError("candidate_labels= is missing: a list of labels, or a dict label -> prompts")
        return super().__call__(inputs, *args, **kwargs)

    def _begin(self) -> None:
        text_side = _text_side(self.model, self.tokenizer)
        if text_side != self._embedded_by:
            self._label_embeds.clear()
            self._embedded_by = text_side
        self._seen = self._seen_now()

    def _seen_now(self) -> tuple[Any, ...]:
        return (self.model, self.tokenizer, _places(_text_tensors(self.model)))

    def _forward(self, input_tensors: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        if self._seen != self._seen_now():  # between two answers of one call
            self._begin()
        output = self.model.get_ecg_features(input_tensors["input_values"], input_tensors["padding_mask"])
        return {"ecg_embeds": output.pooler_output.float()}

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
        if multi_label or len(prompts) == 1:
            # A label's texts were filled in already, so a template ends in the contrast text too: "no lbbb."
            contrast = self._similarity(ecg_embeds, contrast_prompts(prompts, negative_template))
            scores = contrast_scores(similarity, contrast, scale)
        else:
            scores = torch.softmax(scale * similarity, dim=-1)
        self.require_finite(scores)
        answers = []
        for label, score, cosine in zip(prompts, scores.mean(dim=0), similarity.mean(dim=0), strict=True):
            answers.append({"score": float(score), "label": label})
            if return_similarity:
                answers[-1]["similarity"] = float(cosine)
        return sorted(answers, key=lambda answer: -answer["score"])

    def _similarity(self, ecg_embeds: Tensor, prompts: Mapping[str, Sequence[str]]) -> Tensor:
        """Centred cosines (windows, labels), on the CPU in float32."""
        missing = {label: texts for label, texts in prompts.items() if tuple(texts) not in self._label_embeds}
        if missing:
            if len(self._label_embeds) + len(missing) > _MAX_CACHED_LABELS:
                self._label_embeds.clear()
                missing = dict(prompts)
            embeds = embed_prompts(self.model, self.tokenizer, missing)
            self._label_embeds.update(zip(map(tuple, missing.values()), embeds, strict=True))
        text_embeds = torch.stack([self._label_embeds[tuple(texts)] for texts in prompts.values()])
        with torch.no_grad():
            device = self.model.device
            return self.model.zero_shot_similarity(ecg_embeds.to(device), text_embeds.to(device)).float().cpu()


class EcgClassificationPipeline(EcgPipeline):
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
        return_above_threshold: add `positive`, whether the label's threshold in the configuration is reached, and
            `threshold`, brought to the scale of the score: `positive` is `score >= threshold`. It is None where
            the score does not rise with the label's own logit (the softmax, a calibration of negative slope).
        on_error: what becomes of an input that cannot be read or has too little signal. `"raise"` (default): a
            ValueError that names the file or the place in the list. `"return"`: `{"error": text}` in its place.
        return_details: answer with `{"answer": ..., "details": {...}}`, where `details` says what was done to the ECG:
            `leads` ("given", "derived", "constant" or "missing"), `seconds`, `sampling_rate` (theirs, ours),
            `windows`, `masked_share`, `warnings` and more, as `MeritFeatureExtractor.describe` does.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    A window needs 2 s of real signal in one lead (half the window, if the model's is shorter than 4 s); windows with
    less are left out, and an ECG without any other is refused. Python's `warnings` (or the `details`) say where less
    than half of the model's input is there, or where most of it looks like noise.

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
        require_flags(final, "return_above_threshold")
        function = final.get("function_to_apply", "default")
        if function is None:
            final["function_to_apply"] = "default"
        elif function not in _FUNCTIONS:
            raise ValueError(
                f"function_to_apply={shown(function)} is not known: choose one of {', '.join(_FUNCTIONS)}"
            )
        top_k = final.get("top_k")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k={shown(top_k)} must be a number of labels from 1, or None for all")
        if final.get("return_above_threshold") and self.model.config.thresholds is None:
            raise ValueError(
                f"{self.model.name_or_path!r} has no thresholds in its configuration: leave out "
                "return_above_threshold, or fine-tune with `merit finetune`, which chooses them"
            )
        preprocess, forward, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, final

    def _forward(self, input_tensors: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        output = self.model(input_tensors["input_values"], padding_mask=input_tensors["padding_mask"])
        return {"logits": output.logits.float()}

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Sequence[Mapping[str, Tensor]],
        top_k: int | None = None,
        function_to_apply: str = "default",
        return_above_threshold: bool = False,
    ) -> list[dict[str, Any]]:
        config = self.model.config
        logits = torch.cat([window["logits"] for window in model_outputs]).double().mean(dim=0)  # (labels,)
        self.require_finite(logits)
        labels = [config.id2label[number] for number in range(len(logits))]
        function = self._function(function_to_apply, len(labels))
        scores = self._scores(logits, labels, function)
        answers = [{"score": float(score), "label": label} for score, label in zip(scores, labels, strict=True)]
        if return_above_threshold:
            thresholds = self._by_label(config.thresholds, labels, "thresholds")
            # Those of the configuration are probabilities before calibration.
            scale_has_them = self._rises_with_the_logit(labels, function)
            on_scale = self._scores(torch.logit(thresholds.clamp(1e-15, 1 - 1e-15)), labels, function)
            for number, answer in enumerate(answers):
                answer["positive"] = bool(torch.sigmoid(logits[number]) >= thresholds[number])
                answer["threshold"] = float(on_scale[number]) if scale_has_them[number] else None
        return sorted(answers, key=lambda answer: -answer["score"])[:top_k]

    def _function(self, name: str, num_labels: int) -> str:
        """The name of what makes scores of logits: "calibrated", "sigmoid", "softmax" or "none"."""
        config = self.model.config
        if name != "default":
            return name
        if config.calibration is not None:
            return "calibrated"
        if config.problem_type == "regression":
            return "none"
        return "softmax" if config.problem_type == "single_label_classification" and num_labels > 1 else "sigmoid"

    def _scores(self, logits: Tensor, labels: Sequence[str], function: str) -> Tensor:
        if function == "calibrated":
            slopes, intercepts = (
                self._by_label(self.model.config.calibration[name], labels, "calibration")
                for name in ("slopes", "intercepts")
            )
            return torch.sigmoid(slopes * logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT) + intercepts)
        if function == "none":
            return logits
        return torch.sigmoid(logits) if function == "sigmoid" else torch.softmax(logits, dim=-1)

    def _rises_with_the_logit(self, labels: Sequence[str], function: str) -> list[bool]:
        """Of each label, whether its score rises with its own logit and hangs on nothing else."""
        if function == "calibrated":
            slopes = self._by_label(self.model.config.calibration["slopes"], labels, "calibration")
            return (slopes > 0).tolist()
        return [function != "softmax"] * len(labels)

    def _by_label(self, values: Mapping[str, float], labels: Sequence[str], field: str) -> Tensor:
        if set(values) != set(labels):
            raise ValueError(
                f"{field} of the configuration of {self.model.name_or_path!r} are those of the labels "
                f"{sorted(values)}, but id2label has {sorted(labels)}: use the same names in both"
            )
        return torch.tensor([values[label] for label in labels], dtype=torch.float64)


class EcgFeatureExtractionPipeline(EcgPipeline):
    """Features of an ECG from the encoder; task `ecg-feature-extraction`.

    Arguments of the call (or of the constructor, as defaults):
        level: `"pooled"` (default): the encoder's pooled output, (hidden,). `"lead"`: the mean of each lead's valid
            tokens, (leads, hidden). `"token"`: every patch token, (leads, patches a lead, hidden). For joint-lead
            patches "lead" means a row of patches, of which there is one. Absent leads and padded time are zero.
        return_tensors: give torch tensors instead of nested lists.
        on_error: what becomes of an input that cannot be read or has too little signal. `"raise"` (default): a
            ValueError that names the file or the place in the list. `"return"`: `{"error": text}` in its place.
        return_details: answer with `{"answer": ..., "details": {...}}`, where `details` says what was done to the ECG:
            `leads` ("given", "derived", "constant" or "missing"), `seconds`, `sampling_rate` (theirs, ours),
            `windows`, `masked_share`, `warnings` and more, as `MeritFeatureExtractor.describe` does.
        sampling_rate, lead_names, units: of arrays, and of files that hold an array and no more; a record has its own.
        batch_size: windows in one pass of the model.

    A window needs 2 s of real signal in one lead (half the window, if the model's is shorter than 4 s); windows with
    less are left out, and an ECG without any other is refused. Python's `warnings` (or the `details`) say where less
    than half of the model's input is there, or where most of it looks like noise.

    Of a recording longer than the extractor's window, pooled and lead features are averaged over the windows (a lead's
    over those where it is present), and tokens of the windows follow one another; the last window ends with the
    recording and so may overlap the one before it.
    """

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = {name: parameters.pop(name) for name in ("level",) if name in parameters}
        final = {name: parameters.pop(name) for name in ("return_tensors",) if name in parameters}
        if forward.get("level", "pooled") not in ("pooled", "lead", "token"):
            raise ValueError(f"level={shown(forward['level'])} is not known: choose 'pooled', 'lead' or 'token'")
        preprocess, _, _ = super()._sanitize_parameters(**parameters)
        return preprocess, forward, {**final, **forward}

    def _forward(self, input_tensors: dict[str, Any], level: str = "pooled") -> dict[str, Any]:  # type: ignore[override]
        encoder: Any = getattr(self.model, "ecg_model", self.model)
        padding_mask = input_tensors["padding_mask"]
        output = encoder(input_tensors["input_values"], padding_mask=padding_mask)
        if level == "pooled":
            return {"features": output.pooler_output.float()}
        tokens = encoder.patch_features(output.last_hidden_state).float()  # (batch, rows, patches, hidden)
        valid = encoder.patch_mask(padding_mask).reshape(tokens.shape[:3])
        tokens = tokens * valid[..., None]
        present = valid.any(dim=-1)
        if level == "lead":
            tokens = tokens.sum(dim=2) / valid.sum(dim=-1).clamp(min=1)[..., None]
        return {"features": tokens, "present": present}

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
        self.require_finite(features)
        return features if return_tensors else features.tolist()


def _listed(candidate_labels: Any) -> CandidateLabels:
    """The labels as they can be gone through more than once, as generators cannot."""
    if isinstance(candidate_labels, str):
        return candidate_labels
    if isinstance(candidate_labels, Mapping):
        return {
            name: list(texts) if isinstance(texts, Iterable) and not isinstance(texts, (str, Mapping)) else texts
            for name, texts in candidate_labels.items()
        }
    if isinstance(candidate_labels, bytes) or not isinstance(candidate_labels, Iterable):
        raise ValueError(
            f"candidate_labels={shown(candidate_labels)} must be a list of labels, one string with labels between "
            "commas, or a dict label -> prompts"
        )
    try:
        return list(candidate_labels)
    except TypeError:  # an array of no dimension
        raise ValueError(f"candidate_labels={shown(candidate_labels)} must be a list of labels") from None


def _as_prompts(candidate_labels: CandidateLabels, hypothesis_template: str) -> dict[str, list[str]]:
    """Label -> texts. Names in a list are put in the template; the prompts of a dict are whole texts already.

    Raises:
        ValueError: no labels, labels or texts that are empty or no strings, or two labels with the same texts.
    """
    if isinstance(candidate_labels, str):
        candidate_labels = [name.strip() for name in candidate_labels.split(",") if name.strip()]
    names = list(candidate_labels)
    if not names or not all(isinstance(name, str) and name.strip(" .") for name in names):
        raise ValueError(f"candidate_labels must be one or more non-empty strings, got {shown(candidate_labels)}")
    if len(set(names)) != len(names):
        raise ValueError(f"candidate_labels must be distinct, got {shown(names)}")
    prompts: dict[str, list[str]] = {}
    if isinstance(candidate_labels, Mapping):
        for name, texts in candidate_labels.items():
            if isinstance(texts, str):
                texts = [texts]
            elif isinstance(texts, Mapping) or not isinstance(texts, Iterable):
                texts = []
            texts = list(texts)
            if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
                raise ValueError(f"candidate_labels {shown([name])} need a prompt or a list of prompts")
            prompts[str(name)] = texts
    else:
        stop = "{}." in hypothesis_template
        for name in names:
            # "Normal ECG." in "{}." must not end in two full stops.
            prompts[str(name)] = [hypothesis_template.replace("{}", name.rstrip(" .") if stop else name)]
    label_of: dict[tuple[str, ...], str] = {}
    for name, texts in prompts.items():
        same = label_of.setdefault(tuple(sorted(" ".join(text.lower().split()) for text in texts)), name)
        if same != name:
            raise ValueError(
                f"candidate_labels {shown(same)} and {shown(name)} mean the same text {shown(texts)} and would share "
                "one score: leave one out"
            )
    return prompts


def _sum_of_bits(flat: Tensor) -> Tensor:
    """A weighted sum of a contiguous tensor (numbers,) whose bytes are read as whole numbers, eight at a time where
    they fit. The weights differ from number to number, so that the sum changes, too, where values change places."""
    size = flat.element_size()
    eights = flat.numel() * size % 8 == 0 and flat.storage_offset() * size % 8 == 0
    bits = flat.view(torch.int64 if eights else _BITS[size])
    whole = len(bits) // _NUM_WEIGHTS * _NUM_WEIGHTS
    total = (bits[whole:].long() * _weights(len(bits) - whole, bits.device)).sum()
    if whole:
        columns = bits[:whole].view(-1, _NUM_WEIGHTS).sum(dim=0, dtype=torch.int64)
        total = total + (columns * _weights(_NUM_WEIGHTS, bits.device)).sum()
    return total


def _weights(number: int, device: torch.device) -> Tensor:
    return torch.arange(1, 2 * number, 2, device=device)


def _text_tensors(model: Any) -> dict[str, Any]:
    """Tensors of the text side by name, and what a quantized model keeps in their place."""
    parts = {"text_model": model.text_model, "text_projection": model.text_projection}
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in {**dict(module.named_buffers()), **module.state_dict(keep_vars=True)}.items()
    }


def _places(tensors: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Where each tensor is and how often it was written to; what costs next to nothing to compare."""
    return [
        (name, each.data_ptr(), each.dtype, None if each.is_inference() else each._version)
        for name, each in tensors.items()
        if isinstance(each, Tensor)
    ]


def _settings(module: torch.nn.Module) -> list[str]:
    """What modules compute by, beside tensors: scales and switches of adapters, hooks, the epsilon of a norm."""
    found = []
    for each in module.modules():
        for name, value in vars(each).items():
            if name not in _NO_SETTINGS and (value is None or isinstance(value, _PLAIN)):
                found.append(f"{name}={value!r}")
    return found


def _text_side(model: Any, tokenizer: Any) -> tuple[Any, ...]:
    """Whatever label embeddings depend on beside their texts; equal if nothing of it has changed.

    Weights are compared by their bits, in one sum a tensor: versions alone would miss what is written to `.data`.
    """
    require_text_tower(model)
    tensors = _text_tensors(model)
    sums, others = [], []
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            others.append(f"{name}={value!r}")
        elif value.numel():
            flat = value.detach().contiguous().reshape(-1)
            sums.append(_sum_of_bits(flat.int_repr() if flat.is_quantized else flat))
    totals = torch.stack(sums).tolist()
    settings = _settings(model.text_model) + _settings(model.text_projection)
    of_tokenizer = (tokenizer, len(tokenizer), tokenizer.padding_side, tokenizer.truncation_side)
    config = model.config
    return (of_tokenizer, config.text_pooling, config.max_text_length, _places(tensors), totals, settings, others)


PIPELINES: dict[str, tuple[type[EcgPipeline], Any]] = {
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
