"""MeritProcessor: the feature extractor and the tokenizer of one model behind one call.

Only the joining lives here; what is done to ECGs stands in `feature_extraction_merit.py`, to text in the tokenizer.
"""

import warnings
from typing import Any

from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

_EXTRACTOR_ARGUMENTS = ("sampling_rate", "lead_names", "units", "generator")


class MeritProcessorKwargs(ProcessingKwargs, total=False):
    """What holds unless the call or the tokenizer's own settings say otherwise."""

    # Pad to the longest, cut at the tokenizer's limit.
    _defaults = {"text_kwargs": {"padding": True, "truncation": True}}  # type: ignore[misc]


def _warn_of_cut_texts(tokens: Any) -> None:
    # Tokenizers written in Python do not tell.
    cut = [len(each) for each in tokens.encodings or [] if each.overflowing]
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(tokens.encodings)} texts are cut at {max(cut)} tokens: the rest has no effect. "
            "Use shorter texts, or pass truncation=True if that is as it should be",
            UserWarning,
            stacklevel=3,
        )


class MeritProcessor(ProcessorMixin):
    """Makes model inputs of ECGs, of text, or of both.

    Args:
        feature_extractor: a `MeritFeatureExtractor`.
        tokenizer: the text tower's tokenizer.
    """

    valid_processor_kwargs = MeritProcessorKwargs

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        super().__init__(feature_extractor, tokenizer)

    @property
    def model_input_names(self) -> list[str]:
        """Names of all tensors a call with ECGs and text returns."""
        return [*self.feature_extractor.model_input_names, *self.tokenizer.model_input_names]

    def __call__(self, ecg: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Calls the extractor on `ecg` and the tokenizer on `text`.

        Args:
            ecg: whatever `MeritFeatureExtractor` takes.
            text: a string or a list of strings. A warning says so if any is cut, unless `truncation=` is given.
            kwargs: `sampling_rate`, `lead_names`, `units`, `generator` go to the extractor, `return_tensors` to both,
                the tokenizer's own (`padding`, `truncation`, `max_length` ...) to it, also as `text_kwargs={...}`.

        Returns:
            `input_values` and `padding_mask` of the ECGs, `input_ids` and `attention_mask` of the text.
        """
        if ecg is None and text is None:
            raise ValueError("MeritProcessor needs ecg=, text= or both")
        # These bypass the library's merge, which copies what it is given: a generator must stay the caller's.
        for_ecg = {name: kwargs.pop(name) for name in _EXTRACTOR_ARGUMENTS if name in kwargs}
        defaults: Any = self.valid_processor_kwargs
        merged = self._merge_kwargs(defaults, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        known = {argument for part in merged.values() if isinstance(part, dict) for argument in part} | set(merged)
        unknown = sorted(set(kwargs) - known - {"common_kwargs"})
        if unknown:
            raise ValueError(
                f"MeritProcessor knows no argument {', '.join(unknown)}; ECGs go in as ecg=, text as text="
            )
        data: dict[str, Any] = {}
        if ecg is not None:
            return_tensors = merged["audio_kwargs"].get(
                "return_tensors"
            )  # the library's word for an extractor's arguments
            data.update(self.feature_extractor(ecg, return_tensors=return_tensors, **for_ecg))
        if text is not None:
            tokens = self.tokenizer(text, **merged["text_kwargs"])
            if "truncation" not in {**kwargs, **kwargs.get("text_kwargs", {})}:
                _warn_of_cut_texts(tokens)
            data.update(tokens)
        return BatchFeature(data)
