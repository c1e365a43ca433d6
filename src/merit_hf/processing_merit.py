"""MeritProcessor: the feature extractor and the tokenizer of one model behind one call.

Only the joining lives here; what is done to ECGs stands in `feature_extraction_merit.py`, to text in the tokenizer.
"""

import inspect
from typing import Any

from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin


class MeritProcessor(ProcessorMixin):
    """Makes model inputs of ECGs, of text, or of both.

    Args:
        feature_extractor: a `MeritFeatureExtractor`.
        tokenizer: the text tower's tokenizer.
    """

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        super().__init__(feature_extractor, tokenizer)

    def __call__(self, ecg: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Calls the extractor on `ecg` and the tokenizer on `text`.

        Args:
            ecg: whatever `MeritFeatureExtractor` takes.
            text: a string or a list of strings.
            kwargs: arguments of either; those the extractor knows (`sampling_rate`, `lead_names`, `units`,
                `generator`) go to it, `return_tensors` to both, the rest to the tokenizer. Text is padded to the
                longest and truncated to the tokenizer's limit unless `padding=` and `truncation=` say otherwise.

        Returns:
            `input_values` and `padding_mask` of the ECGs, `input_ids` and `attention_mask` of the text.
        """
        if ecg is None and text is None:
            raise ValueError("MeritProcessor needs ecg=, text= or both.")
        ecg_arguments = set(inspect.signature(type(self.feature_extractor).__call__).parameters) - {"self", "ecg"}
        for_ecg = {name: value for name, value in kwargs.items() if name in ecg_arguments}
        for_text = {name: value for name, value in kwargs.items() if name not in for_ecg or name == "return_tensors"}
        data: dict[str, Any] = {}
        if ecg is not None:
            data.update(self.feature_extractor(ecg, **for_ecg))
        if text is not None:
            data.update(self.tokenizer(text, **{"padding": True, "truncation": True, **for_text}))
        return BatchFeature(data)
