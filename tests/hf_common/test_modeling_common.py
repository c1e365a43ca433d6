"""transformers' common model tests on every class of the family."""

import unittest

import torch
from common_suite import import_common_tests
from transformers import BertConfig

import merit_hf  # noqa: F401  registers the Auto classes
from merit_hf.configuration_merit import MeritConfig, MeritEcgConfig
from merit_hf.modeling_merit import MeritEcgModel, MeritForEcgClassification, MeritForPreTraining, MeritModel

modeling = import_common_tests("test_modeling_common")
configuration = import_common_tests("test_configuration_common")


class EcgTester:
    """4 leads × 40 samples in 16 lead-wise patches (a perfect square, as the suite's `noise` needs), no separators."""

    def __init__(self, parent, batch_size=3, is_training=True):
        self.parent = parent
        self.batch_size = batch_size
        self.is_training = is_training
        self.num_hidden_layers = 2
        self.num_attention_heads = 4
        self.hidden_size = 32
        self.num_leads, self.num_samples = 4, 40
        self.seq_length = 16

    def get_config(self):
        return MeritEcgConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=37,
            num_leads=self.num_leads,
            num_samples=self.num_samples,
            patch_size=(1, 10),
            use_lead_separators=False,
        )

    def prepare_config_and_inputs(self):
        values = torch.randn(self.batch_size, self.num_leads, self.num_samples)
        return self.get_config(), values, torch.ones_like(values, dtype=torch.bool)

    def prepare_config_and_inputs_for_common(self):
        config, values, mask = self.prepare_config_and_inputs()
        return config, {"input_values": values, "padding_mask": mask}


class TextTester:
    def __init__(self):
        self.batch_size, self.seq_length = 3, 7
        self.num_hidden_layers, self.hidden_size = 2, 32

    def get_config(self):
        return BertConfig(
            vocab_size=99,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=4,
            intermediate_size=37,
            max_position_embeddings=32,
        )

    def prepare_config_and_inputs_for_common(self):
        ids = torch.randint(5, 99, (self.batch_size, self.seq_length))
        return self.get_config(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class TwoTowerTester:
    def __init__(self, parent, is_training=True):
        self.parent = parent
        self.is_training = is_training
        self.ecg_model_tester = EcgTester(parent)
        self.text_model_tester = TextTester()
        self.batch_size = self.text_model_tester.batch_size
        self.seq_length = self.text_model_tester.seq_length
        # The suite makes `noise` for a square of image patches; 4 × 4 are our 16.
        self.image_size, self.patch_size = 4, 1
        self.num_hidden_layers, self.hidden_size, self.num_attention_heads = 2, 32, 4

    def get_config(self):
        return MeritConfig(
            ecg_config=self.ecg_model_tester.get_config(),
            text_config=self.text_model_tester.get_config(),
            projection_dim=24,
            decoder_hidden_size=16,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=20,
            text_trainable_layers="all",
        )

    def prepare_config_and_inputs_for_common(self):
        _, inputs = self.ecg_model_tester.prepare_config_and_inputs_for_common()
        _, text_inputs = self.text_model_tester.prepare_config_and_inputs_for_common()
        return self.get_config(), {**inputs, **text_inputs}


class EcgTestMixin(modeling.ModelTesterMixin):
    test_resize_embeddings = False
    test_can_init_all_missing_weights_before_2023 = True
    is_training = True

    def setUp(self):
        self.model_tester = EcgTester(self, is_training=self.is_training)
        self.config_tester = configuration.ConfigTester(
            self, config_class=MeritEcgConfig, has_text_modality=False, hidden_size=32, num_attention_heads=4
        )

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("a signal tower takes no token embeddings")
    def test_inputs_embeds(self):
        pass

    @unittest.skip("a signal tower takes no token embeddings")
    def test_model_get_set_embeddings(self):
        pass


class EcgModelTest(EcgTestMixin, unittest.TestCase):
    all_model_classes = (MeritEcgModel,)
    is_training = False  # the bare tower has no loss


class EcgClassificationTest(EcgTestMixin, unittest.TestCase):
    all_model_classes = (MeritForEcgClassification,)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels:
            inputs["labels"] = torch.zeros(self.model_tester.batch_size, 2)
        return inputs


class TwoTowerTestMixin(modeling.ModelTesterMixin):
    additional_model_inputs = ["input_ids"]
    test_resize_embeddings = False
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self):
        self.model_tester = TwoTowerTester(self)
        self.config_tester = configuration.ConfigTester(
            self, config_class=MeritConfig, has_text_modality=False, common_properties=["projection_dim"]
        )

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("attentions are recorded by the towers")
    def test_attention_outputs(self):
        pass

    @unittest.skip("hidden states are recorded by the towers")
    def test_hidden_states_output(self):
        pass

    @unittest.skip("hidden states are recorded by the towers")
    def test_retain_grad_hidden_states_attentions(self):
        pass

    @unittest.skip("a signal tower takes no token embeddings")
    def test_inputs_embeds(self):
        pass


class TwoTowerModelTest(TwoTowerTestMixin, unittest.TestCase):
    all_model_classes = (MeritModel,)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels:
            inputs["return_loss"] = True
        return inputs


class PreTrainingModelTest(TwoTowerTestMixin, unittest.TestCase):
    all_model_classes = (MeritForPreTraining,)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if "noise" not in inputs:
            # The mask follows from this noise, so that two runs of a test see the same one.
            generator = torch.Generator().manual_seed(0)
            noise = torch.rand(len(inputs["input_values"]), 16, generator=generator)
            inputs["noise"] = noise.to(inputs["input_values"].device)
        return inputs
