"""transformers' common processor tests on MeritProcessor.

They know a feature extractor's input by the name `audio` only, so a thin subclass translates that one name.
"""

import unittest

import numpy as np
from common_suite import import_common_tests
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from merit_hf.feature_extraction_merit import MeritFeatureExtractor
from merit_hf.io import EcgRecord
from merit_hf.processing_merit import MeritProcessor

# The tests look for a processor's arguments under its own name, in its own module.
from merit_hf.processing_merit import MeritProcessorKwargs as AudioNamedProcessorKwargs  # noqa: F401

common = import_common_tests("test_processing_common")


class AudioNamedProcessor(MeritProcessor):
    def __call__(self, text=None, audio=None, **kwargs):
        return super().__call__(ecg=audio, text=text, **kwargs)


class MeritProcessorCommonTest(common.ProcessorTesterMixin, unittest.TestCase):
    processor_class = AudioNamedProcessor

    @classmethod
    def _setup_feature_extractor(cls):
        return MeritFeatureExtractor(duration=2.0)

    @classmethod
    def _setup_tokenizer(cls):
        special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
        words = [*special.values(), "lower", "newer", "sinus", "rhythm"]
        tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        names = ["input_ids", "attention_mask"]
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, **special)

    def prepare_audio_inputs(self, batch_size=None):
        generator = np.random.default_rng(0)
        records = [EcgRecord(generator.standard_normal((2, 1000)), 500, ("I", "II")) for _ in range(batch_size or 1)]
        return records if batch_size else records[0]
