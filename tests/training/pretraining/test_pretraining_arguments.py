"""The fields of pretraining's YAML files: what is checked before anything heavy begins."""

import pytest

from merit_hf.command_line import parse_arguments
from merit_hf.training.pretraining.arguments import PretrainingArguments


def parse(*words: str) -> PretrainingArguments:
    return parse_arguments(PretrainingArguments, ["--corpus", "C", "--output_dir", "R", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask_ratio", "0.5"], "unknown field 'mask_ratio' on the command line: did you mean 'model.mask_ratio'?"),
        (["--model.maskratio", "0.5"], "did you mean 'model.mask_ratio'?"),
        (["--model.ecg_config.hidden_sizes", "8"], "did you mean 'model.ecg_config.hidden_size'?"),
        # the shape of the input is said by the feature extractor alone
        (["--model.ecg_config.num_samples", "500"], "unknown field 'model.ecg_config.num_samples'"),
        (["--feature_extractor.sample_rate", "100"], "did you mean 'feature_extractor.sampling_rate'?"),
        (["--augmentation.noises", "0.1"], "did you mean 'augmentation.noise'?"),
        (["--report_augmentation.min_word", "4"], "did you mean 'report_augmentation.min_words'?"),
        (["--stages.0.learningrate", "1"], "did you mean 'stages.0.learning_rate'?"),
        (["--num_epochs", "3"], "did you mean 'num_train_epochs'?"),
    ],
)
def test_unknown_fields_get_the_nearest_known_one(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="unknown field") as raised:
        parse(*words)
    assert message in str(raised.value)


def test_stages_take_their_own_value_or_the_runs() -> None:
    arguments = parse("--learning_rate", "0.5", "--stages.0.warmup_ratio", "0.25", "--stages.1.learning_rate", "0.125")
    assert [arguments.stage_value(stage, "learning_rate") for stage in (0, 1)] == [0.5, 0.125]
    assert [arguments.stage_value(stage, "warmup_ratio") for stage in (0, 1)] == [0.25, 0.08]
    assert arguments.stages[1].model_fields() == {}


def test_without_stages_there_is_one_with_both_losses() -> None:
    arguments = parse()
    assert len(arguments.stages) == 1
    assert arguments.stages[0].model_fields() == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--warmup_ratio", "1.5"], r"warmup_ratio=1.5 must be in \[0, 1\]"),
        (["--adam_beta2", "1"], "adam_beta2=1.0 must be in"),
        (["--save_total_limit", "0"], "save_total_limit=0 must be at least 1"),
        (["--logging_steps", "0"], "logging_steps=0 must be at least 1"),
        (["--stages.0.learning_rate", "0.1", "--stages.1.weight_decay", "-1"], r"weight_decay=-1.0 \(stage 1\)"),
        (["--seed", "-1"], "seed=-1"),
        (["--dataloader_num_workers", "-1"], "dataloader_num_workers=-1"),
    ],
)
def test_impossible_values_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(*words)
