"""Fixtures that every test may use, and settings that make runs repeatable. Others stay beside their tests."""

import os
import tempfile

# Before anything imports the Hugging Face libraries: no test may reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Corpora that tests open are not worth keeping. The folder goes when the process ends.
_DATASETS_CACHE = tempfile.TemporaryDirectory(prefix="merit-hf-tests-")
os.environ["HF_DATASETS_CACHE"] = _DATASETS_CACHE.name
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path
from typing import Any

import pytest
import torch

# Tiny tensors: more threads only make the two cores fight each other, and one thread fixes the order of summation.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with genuine recordings, which are never part of the project.

    `MERIT_TEST_DATA` names it; without it `../shared/data` beside the repository is used. Skips where neither exists.
    """
    named = os.environ.get("MERIT_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if named and not folder.is_dir():
        raise ValueError(f"MERIT_TEST_DATA={named!r} is no folder; unset it or give the folder with the recordings")
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} does not exist (set MERIT_TEST_DATA to a folder that has them)")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RUN folder as pretraining leaves it: a tiny random model with lead-wise patches, extractor and tokenizer."""
    from merit_hf import MeritConfig, MeritEcgConfig, MeritFeatureExtractor, MeritForPreTraining, MeritProcessor
    from merit_hf.training.pretraining.text_tower import small_text_config, train_tokenizer

    reports = ["sinus rhythm. normal ecg.", "atrial fibrillation.", "left bundle branch block.", "no st elevation."]
    tokenizer = train_tokenizer(reports * 3, vocab_size=200, max_length=32)
    config = MeritConfig(
        ecg_config=MeritEcgConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            patch_size=(1, 100),
            initializer_range=0.3,  # here and below: large enough for different inputs to be told apart
        ),
        text_config=small_text_config(tokenizer, hidden_size=16, num_hidden_layers=1, initializer_range=0.5),
        projection_dim=8,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        text_trainable_layers="all",
        max_text_length=32,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        model = MeritForPreTraining(config)
        model.ecg_embeds_mean.copy_(0.2 * torch.randn(8))
        model.text_embeds_mean.copy_(0.2 * torch.randn(8))
    folder = tmp_path_factory.mktemp("tiny") / "run"
    model.save_pretrained(folder)
    MeritProcessor(MeritFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic corpus of 60 ECGs of 2 s: 48 to train on, 6 for validation, 6 for test, all with reports."""
    from merit_hf.data.build.write import write_corpus
    from merit_hf.simulation.corpus import SyntheticCorpus

    folder = tmp_path_factory.mktemp("corpora") / "small"
    summary = write_corpus(SyntheticCorpus(num_records=60, duration=2.0), folder)
    assert summary.records["train"] >= 40
    return folder


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file for examples/pretrain.py with which a step on `small_corpus` takes milliseconds."""
    recipe = tmp_path_factory.mktemp("recipes") / "small.yaml"
    recipe.write_text(
        """
        model:
          preset: tiny
          ecg_config: {hidden_size: 24, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 48}
          projection_dim: 8
          decoder_hidden_size: 12
          decoder_num_hidden_layers: 1
          decoder_num_attention_heads: 2
          decoder_intermediate_size: 24
          max_text_length: 24
        text_tower: {vocab_size: 300, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
        feature_extractor: {duration: 2.0}
        per_device_train_batch_size: 8
        num_train_epochs: 2
        learning_rate: 0.003
        logging_steps: 1
        report_to: none
        disable_tqdm: true
        """
    )
    return recipe


@pytest.fixture(scope="session")
def wave_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with the task `waves`, which a tiny classifier learns in seconds."""
    from wave_corpus import WaveCorpus

    from merit_hf.data.build.write import write_corpus

    folder = tmp_path_factory.mktemp("corpora") / "waves"
    write_corpus(WaveCorpus(), folder)
    return folder


@pytest.fixture(scope="session")
def finetuning_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file for examples/finetune.py with which a tiny classifier learns `waves` from random weights."""
    recipe = tmp_path_factory.mktemp("recipes") / "finetune.yaml"
    recipe.write_text(
        """
        task: waves
        from_scratch: true
        encoder:
          hidden_size: 24
          num_hidden_layers: 2
          num_attention_heads: 2
          intermediate_size: 48
          initializer_range: 0.1
        feature_extractor: {duration: 2.0}
        augmentation: {time_stretch: [0.95, 1.05]}
        num_train_epochs: 6
        per_device_train_batch_size: 8
        learning_rate: 0.01
        layer_decay: 0.9
        logging_steps: 1
        report_to: none
        disable_tqdm: true
        """
    )
    return recipe


@pytest.fixture(scope="session")
def finetuned_run(wave_corpus: Path, finetuning_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder and the summary of a finished fine-tuning on `waves`."""
    from accelerate.state import AcceleratorState, PartialState

    from merit_hf.command_line import parse_arguments
    from merit_hf.training.finetuning.arguments import FinetuningArguments
    from merit_hf.training.finetuning.finetuner import Finetuner

    folder = tmp_path_factory.mktemp("finetuned") / "run"
    argv = [str(finetuning_recipe), "--corpus", str(wave_corpus), "--output_dir", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        AcceleratorState._reset_state(reset_partial_state=True)
        summary = Finetuner(parse_arguments(FinetuningArguments, argv)).train()
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
    return folder, summary


@pytest.fixture(scope="session")
def cut_corpus(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_corpus` in shards of at most 13 records and row groups of at most 4, as a large corpus has many."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("corpora") / "cut"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text((small_corpus / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    for split in ("train", "validation", "test"):
        (shard,) = (small_corpus / "data").glob(f"{split}-*.parquet")
        table = pq.read_table(shard)
        parts = [table.slice(start, 13) for start in range(0, len(table), 13)]
        for number, part in enumerate(parts):
            name = f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
            pq.write_table(part, folder / "data" / name, row_group_size=4)
    return folder
