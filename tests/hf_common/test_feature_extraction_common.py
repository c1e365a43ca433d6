"""transformers' common feature extractor tests on MeritFeatureExtractor."""

import unittest

import numpy as np
from common_suite import import_common_tests

from merit_hf.feature_extraction_merit import MeritFeatureExtractor

common = import_common_tests("test_sequence_feature_extraction_common")


class ExtractorTester:
    """Sequences as that suite has them: time first, (samples, leads), each longer than the one before."""

    def __init__(self, parent):
        self.parent = parent
        self.batch_size = 5
        self.lead_names = ("I", "II", "V1")
        self.feature_size = len(self.lead_names)
        self.min_seq_length, self.max_seq_length = 200, 1000
        self.seq_length_diff = (self.max_seq_length - self.min_seq_length) // (self.batch_size - 1)

    def prepare_feat_extract_dict(self):
        return {
            "feature_size": self.feature_size,
            "sampling_rate": 250,
            "padding_value": 0.0,
            "duration": 4.0,
            "lead_names": list(self.lead_names),
            "normalization": "zscore_record",
            "bandpass": [0.5, 40.0],
            "truncation": "center",
            "return_attention_mask": True,
        }

    def prepare_inputs_for_common(self, equal_length=False, numpify=False):
        generator = np.random.default_rng(0)
        lengths = range(self.min_seq_length, self.max_seq_length + 1, self.seq_length_diff)
        lengths = [self.max_seq_length] * self.batch_size if equal_length else lengths[: self.batch_size]
        sequences = [generator.standard_normal((length, self.feature_size)) for length in lengths]
        return sequences if numpify else [sequence.tolist() for sequence in sequences]


class MeritFeatureExtractorCommonTest(common.SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = MeritFeatureExtractor

    def setUp(self):
        self.feat_extract_tester = ExtractorTester(self)
