"""Pretraining from a stream keeps what a run is: a function of arguments, corpus and processes, resumed or not."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from merit_hf import MeritForPreTraining
from merit_hf.command_line import parse_arguments
from merit_hf.training.loop.log import read_metrics
from merit_hf.training.pretraining import record_source
from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.pretrainer import Pretrainer
from merit_hf.training.pretraining.record_source import RecordSource, open_source
from merit_hf.training.pretraining.summary import PretrainingSummary


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every run of this file starts from a fresh accelerate, on the CPU whatever the machine has."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


@pytest.fixture
def arguments_of(cut_corpus: Path, small_recipe: Path, tmp_path: Path) -> Any:
    def parse(*words: str, output_dir: Path | None = None, corpus: Path = cut_corpus) -> PretrainingArguments:
        folder = str(output_dir or tmp_path / "run")
        argv = [str(small_recipe), "--corpus", str(corpus), "--output_dir", folder, *words]
        return parse_arguments(PretrainingArguments, argv)

    return parse


@pytest.fixture
def pretrain(arguments_of: Any) -> Any:
    """`pretrain("--field", "value", ...)` runs a small pretraining from a stream into `tmp_path / "run"`."""

    def run(*words: str, **paths: Path) -> PretrainingSummary:
        AcceleratorState._reset_state(reset_partial_state=True)
        return Pretrainer(arguments_of("--streaming", "true", "--shuffle_row_groups", "3", *words, **paths)).train()

    return run


@pytest.fixture
def sources(arguments_of: Any) -> Any:
    """`sources(process_index, num_processes)`: the training split map-style and streamed."""

    def both(process_index: int = 0, num_processes: int = 1) -> tuple[RecordSource, RecordSource]:
        each = (
            open_source(
                arguments_of("--streaming", streaming, "--report_augmentation", "null"),
                "train",
                process_index,
                num_processes,
            )
            for streaming in ("false", "true")
        )
        map_style, streamed = each
        return map_style, streamed

    return both


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without the speed, which no two runs share."""
    return [
        {name: value for name, value in line.items() if name != "ecgs_per_second"}
        for line in read_metrics(folder / "metrics.jsonl")
    ]


def assert_same_weights(one: Path, other: Path) -> None:
    expected, found = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def names(source: RecordSource, batches: Any) -> list[list[str]]:
    return [[row["ecg_id"] for row in source.dataset.__getitems__(batch)] for batch in batches]


class TestRun:
    def test_resumes_exactly_with_any_number_of_workers(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--save_strategy", "steps", "--save_steps", "4", "--save_total_limit", "null", "--logging_steps", "3"]
        words += ["--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "4"]
        pretrain(*words)
        whole = tmp_path / "run"
        assert metrics_of(whole)[-1]["step"] >= 10
        for step, workers in ((4, "2"), (8, "0")):
            broken = tmp_path / f"broken-{step}"
            shutil.copytree(whole, broken)  # as a kill after this checkpoint would have left it
            (broken / "model.safetensors").unlink()
            for checkpoint in (broken / "checkpoints").iterdir():
                if int(checkpoint.name.removeprefix("step-")) > step:
                    shutil.rmtree(checkpoint)
            resume = ("--resume_from_checkpoint", "latest", "--dataloader_num_workers", workers)
            pretrain(*words, *resume, output_dir=broken)
            assert metrics_of(broken) == metrics_of(whole)
            assert_same_weights(broken, whole)

    def test_it_differs_from_a_map_style_run_in_its_order_alone(
        self, pretrain: Any, arguments_of: Any, tmp_path: Path
    ) -> None:
        """Without training, that is with the initial weights, all else a run computes of the corpus is the same."""
        words = ("--max_steps", "1", "--learning_rate", "0", "--text_learning_rate", "0")
        pretrain(*words)
        AcceleratorState._reset_state(reset_partial_state=True)
        Pretrainer(arguments_of(*words, output_dir=tmp_path / "map_style")).train()
        streamed, map_style = tmp_path / "run", tmp_path / "map_style"
        assert (streamed / "tokenizer.json").read_bytes() == (map_style / "tokenizer.json").read_bytes()
        assert metrics_of(streamed)[-1] == metrics_of(map_style)[-1]  # of the validation
        assert "validation_loss" in metrics_of(streamed)[-1]
        assert metrics_of(streamed)[0] != metrics_of(map_style)[0]
        assert_same_weights(streamed, map_style)  # embedding means of the training split among them
        assert MeritForPreTraining.from_pretrained(streamed).ecg_embeds_mean.norm() > 0

    def test_other_row_groups_make_another_run(self, pretrain: Any, cut_corpus: Path, tmp_path: Path) -> None:
        pretrain("--max_steps", "2")
        again = tmp_path / "corpus"
        shutil.copytree(cut_corpus, again)
        resume = ("--max_steps", "2", "--resume_from_checkpoint", "latest")
        pretrain(*resume, corpus=again)  # a copy is the same corpus
        shard = again / "data" / "train-00000-of-00004.parquet"
        pq.write_table(pq.read_table(shard), shard, row_group_size=5)
        with pytest.raises(ValueError, match="was made with row_groups=.*an exact continuation is not possible"):
            pretrain(*resume, corpus=again)
        with pytest.raises(ValueError, match="the run was started with shuffle_row_groups: 3, not 4"):
            pretrain(*resume, "--shuffle_row_groups", "4")

    def test_the_first_records_of_the_split(self, pretrain: Any) -> None:
        assert pretrain("--max_train_samples", "16", "--num_train_epochs", "1").steps == 2
        with pytest.raises(ValueError, match="has 7 records, fewer than one step takes"):
            pretrain("--max_train_samples", "7", "--overwrite")

    def test_no_usable_report(self, pretrain: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="has no usable report, but contrastive_weight=1"):
            pretrain("--report_augmentation.min_words", "1000")
        assert not (tmp_path / "run").exists()


class TestSources:
    @pytest.mark.parametrize("num_processes", [1, 2, 3])
    def test_batches_in_order_are_the_same_in_both_forms(self, sources: Any, num_processes: int) -> None:
        forms: list[list[list[str]]] = [[], []]
        for index in range(num_processes):
            for found, source in zip(forms, sources(index, num_processes), strict=True):
                found += names(source, source.batches_in_order(5))
        map_style, streamed = forms
        assert sorted(streamed) == sorted(map_style)
        assert sum(map(len, streamed)) == len(sources()[0])

    @pytest.mark.parametrize("num_processes", [1, 2])
    def test_planned_batches_are_as_many_and_meet_as_many_records(self, sources: Any, num_processes: int) -> None:
        forms: list[list[list[str]]] = [[], []]
        numbers = set()
        for index in range(num_processes):
            for found, source in zip(forms, sources(index, num_processes), strict=True):
                batches = source.plan_batches(5, None, 24)
                numbers.add(len(batches))
                found += names(source, batches.of_epoch(0, 0))
        (number,) = numbers
        for found in forms:
            every = [name for batch in found for name in batch]
            assert len(every) == len(set(every)) == 5 * number * num_processes
            assert {len(batch) for batch in found} == {5}

    def test_a_tokenizer_sees_a_sample_of_a_large_corpus(self, sources: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        map_style, streamed = sources()
        assert sorted(streamed.reports_for_tokenizer()) == sorted(map_style.reports_for_tokenizer())
        monkeypatch.setattr(record_source, "MOST_REPORTS_FOR_TOKENIZER", 10)
        few = list(streamed.reports_for_tokenizer())
        assert 10 <= len(few) < 14  # whole row groups
        assert few == list(sources()[1].reports_for_tokenizer())
