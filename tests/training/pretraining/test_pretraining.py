"""The pretraining loop in one process: what a run leaves behind, exact resume, stages, and what it refuses."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file
from transformers import AutoProcessor

from merit_hf import MeritForPreTraining
from merit_hf.command_line import parse_arguments
from merit_hf.data.build.open import load_corpus
from merit_hf.objective_merit import normalize_embeds
from merit_hf.training.loop.log import read_metrics
from merit_hf.training.loop.processes import make_accelerator
from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.pretrainer import Pretrainer
from merit_hf.training.pretraining.summary import METRICS, PretrainingSummary


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every run of this file starts from a fresh accelerate, on the CPU whatever the machine has."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


@pytest.fixture
def pretrain(small_corpus: Path, small_recipe: Path, tmp_path: Path) -> Any:
    """`pretrain("--field", "value", ...)` runs a small pretraining into `tmp_path / "run"`."""

    def run(*words: str, output_dir: Path | None = None, corpus: Path = small_corpus) -> PretrainingSummary:
        AcceleratorState._reset_state(reset_partial_state=True)
        folder = str(output_dir or tmp_path / "run")
        argv = [str(small_recipe), "--corpus", str(corpus), "--output_dir", folder, *words]
        return Pretrainer(parse_arguments(PretrainingArguments, argv)).train()

    return run


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without the speed, which no two runs share."""
    return [
        {name: value for name, value in line.items() if name != "ecgs_per_second"}
        for line in read_metrics(folder / "metrics.jsonl")
    ]


def killed_after(folder: Path, step: int, copy: Path) -> Path:
    """A copy of a run folder as a kill right after the checkpoint of `step` would have left it."""
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").unlink()
    for checkpoint in (copy / "checkpoints").iterdir():
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    return copy


@pytest.fixture(scope="module")
def run(small_corpus: Path, small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 8 epochs."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        argv = [str(small_recipe), "--corpus", str(small_corpus), "--output_dir", str(folder)]
        Pretrainer(parse_arguments(PretrainingArguments, [*argv, "--num_train_epochs", "8"])).train()
    return folder


class TestRunFolder:
    def test_holds_what_it_should(self, run: Path) -> None:
        names = {entry.name for entry in run.iterdir()}
        expected = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"}
        expected |= {"training_config.yaml", "metrics.jsonl", "checkpoints"}
        assert expected <= names
        assert not any(name.startswith(".") for name in names)
        assert 2 <= len(list((run / "checkpoints").iterdir())) <= 3  # save_total_limit, and the best one

    def test_metrics_have_the_agreed_keys(self, run: Path) -> None:
        lines = metrics_of(run)
        training = [line for line in lines if "loss" in line]
        validation = [line for line in lines if "validation_loss" in line]
        assert set(training[0]) == {"step", "epoch", *METRICS, "learning_rate"}
        assert set(validation[0]) == {"step", "epoch", *(f"validation_{name}" for name in METRICS)}
        assert [line["step"] for line in training] == list(range(1, len(training) + 1))
        assert [line["epoch"] for line in validation] == list(range(1, 9))

    def test_both_losses_fall_and_both_readouts_rise(self, run: Path) -> None:
        lines = [line for line in metrics_of(run) if "loss" in line]
        early, late = lines[:6], lines[-6:]

        def mean(part: list[dict[str, float]], name: str) -> float:
            return sum(line[name] for line in part) / len(part)

        for name in ("reconstruction_loss", "contrastive_loss"):
            assert mean(late, name) < mean(early, name)
        for name in ("structure_information", "semantic_information"):
            assert mean(late, name) > mean(early, name)
        for line in lines:
            # every batch has 8 pairs
            assert line["semantic_information"] == pytest.approx(math.log(8) - line["contrastive_loss"], abs=1e-5)
            assert line["loss"] == pytest.approx(line["reconstruction_loss"] + line["contrastive_loss"], abs=1e-5)

    def test_opens_as_any_checkpoint_does(self, run: Path) -> None:
        for folder in (run, *(run / "checkpoints").iterdir()):
            model = MeritForPreTraining.from_pretrained(folder)
            assert model.missing_weights == ()
            processor = AutoProcessor.from_pretrained(folder)
            assert processor.feature_extractor.num_samples == model.config.ecg_config.num_samples == 200
            assert len(processor.tokenizer) == model.config.text_config.vocab_size

    def test_embedding_means_are_those_of_the_clean_training_split(self, run: Path, small_corpus: Path) -> None:
        model, processor = MeritForPreTraining.from_pretrained(run).eval(), AutoProcessor.from_pretrained(run)
        ecgs, texts = [], []
        with torch.no_grad():
            for row in datasets.load_dataset(str(small_corpus), split="train"):
                signal = torch.tensor(row["signal"]).reshape(12, -1).numpy() / 1000  # counts per mV
                inputs = processor(
                    ecg=signal.astype("float32"),
                    sampling_rate=100,
                    lead_names=row["lead_names"],
                    text=row["report"].lower().rstrip(" .") + ".",
                    truncation=True,
                    max_length=24,
                    return_tensors="pt",
                )
                ecgs.append(model.get_ecg_features(inputs["input_values"], inputs["padding_mask"]).pooler_output[0])
                texts.append(model.get_text_features(inputs["input_ids"], inputs["attention_mask"]).pooler_output[0])
        ecg_mean, text_mean = (normalize_embeds(torch.stack(side)).mean(0) for side in (ecgs, texts))
        assert model.ecg_embeds_mean.norm() > 0.1
        torch.testing.assert_close(model.ecg_embeds_mean, ecg_mean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.text_embeds_mean, text_mean, atol=1e-4, rtol=1e-4)

    def test_training_config_makes_the_same_arguments_again(self, run: Path, small_corpus: Path) -> None:
        again = parse_arguments(PretrainingArguments, [str(run / "training_config.yaml")])
        assert again.corpus == str(small_corpus)
        assert again.num_train_epochs == 8
        assert again.model.projection_dim == 8


class TestResume:
    def test_continues_exactly_from_any_checkpoint(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--save_strategy", "steps", "--save_steps", "4", "--save_total_limit", "null", "--logging_steps", "3"]
        words += [
            "--gradient_accumulation_steps",
            "2",
            "--per_device_train_batch_size",
            "4",
            "--num_train_epochs",
            "2",
        ]
        pretrain(*words)
        whole = tmp_path / "run"
        steps = metrics_of(whole)[-1]["step"]
        assert steps >= 10
        for step in (4, 8):
            broken = killed_after(whole, step, tmp_path / f"broken-{step}")
            pretrain(*words, "--resume_from_checkpoint", "latest", output_dir=broken)
            assert metrics_of(broken) == metrics_of(whole)
            expected, found = (load_file(folder / "model.safetensors") for folder in (whole, broken))
            assert expected.keys() == found.keys()
            assert all(torch.equal(expected[name], found[name]) for name in expected)

    def test_continues_exactly_in_and_between_stages(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--stages.0.contrastive_weight", "0", "--stages.0.max_steps", "4", "--stages.0.mask_ratio", "0.3"]
        words += ["--stages.1.max_steps", "4", "--stages.1.learning_rate", "1e-4", "--save_strategy", "steps"]
        words += ["--save_steps", "2", "--save_total_limit", "null"]
        pretrain(*words)
        whole = metrics_of(tmp_path / "run")
        for step in (2, 4, 6):
            broken = killed_after(tmp_path / "run", step, tmp_path / f"broken-{step}")
            pretrain(*words, "--resume_from_checkpoint", "latest", output_dir=broken)
            assert metrics_of(broken) == whole

    def test_starts_again_where_no_checkpoint_was_reached(self, pretrain: Any, tmp_path: Path) -> None:
        pretrain("--max_steps", "4")
        whole = metrics_of(tmp_path / "run")
        broken = killed_after(tmp_path / "run", 0, tmp_path / "broken")
        pretrain("--max_steps", "4", "--resume_from_checkpoint", "latest", output_dir=broken)
        assert metrics_of(broken) == whole

    def test_a_finished_run_stays_as_it_is(self, pretrain: Any, tmp_path: Path) -> None:
        pretrain("--max_steps", "3")
        before, lines = load_file(tmp_path / "run" / "model.safetensors"), metrics_of(tmp_path / "run")
        summary = pretrain("--max_steps", "3", "--resume_from_checkpoint", "latest")
        after = load_file(tmp_path / "run" / "model.safetensors")
        assert summary.steps == 3
        assert metrics_of(tmp_path / "run") == lines
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_an_older_checkpoint_by_name(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--max_steps", "6", "--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "null"]
        pretrain(*words)
        run = tmp_path / "run"
        whole = metrics_of(run)
        pretrain(*words, "--resume_from_checkpoint", str(run / "checkpoints" / "step-000002"))
        assert metrics_of(run) == whole

    def test_other_arguments_or_data_are_refused(
        self, pretrain: Any, tmp_path: Path, small_corpus: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretrain("--max_steps", "2")
        resume = ("--max_steps", "2", "--resume_from_checkpoint", "latest")
        with pytest.raises(ValueError, match=r"the run was started with learning_rate: 0.003, not 0.1"):
            pretrain(*resume, "--learning_rate", "0.1")
        with pytest.raises(ValueError, match=r"started with model.mask_ratio: null, not 0\.2"):
            pretrain(*resume, "--model.mask_ratio", "0.2")
        with pytest.raises(ValueError, match="no such folder"):
            pretrain(*resume[:3], str(tmp_path / "nowhere"))
        progress = tmp_path / "run" / "checkpoints" / "step-000002" / "progress.json"
        content = json.loads(progress.read_text())
        content["run"]["num_processes"] = 2
        progress.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="was made with num_processes=2, this run has 1"):
            pretrain(*resume)
        (progress.parent / "optimizer.bin").unlink()
        with pytest.raises(ValueError, match="incomplete, it lacks optimizer.bin"):
            pretrain(*resume)

    def test_a_checkpoint_of_another_run_is_refused(self, pretrain: Any, tmp_path: Path) -> None:
        pretrain("--max_steps", "2")
        pretrain("--max_steps", "2", output_dir=tmp_path / "other")
        checkpoint = str(tmp_path / "other" / "checkpoints" / "step-000002")
        with pytest.raises(ValueError, match="no checkpoint of the run in --output_dir"):
            pretrain("--max_steps", "2", "--resume_from_checkpoint", checkpoint)


class TestStages:
    def test_masked_first_then_both(self, pretrain: Any, tmp_path: Path) -> None:
        summary = pretrain(
            *("--stages.0.contrastive_weight", "0", "--stages.0.max_steps", "3", "--stages.0.mask_ratio", "0.25"),
            *("--stages.1.num_train_epochs", "1", "--stages.1.per_device_train_batch_size", "16"),
            *("--warmup_ratio", "0", "--save_total_limit", "null"),
        )
        training = [line for line in metrics_of(tmp_path / "run") if "loss" in line]
        first, second = training[:3], training[3:]
        assert len(second) == summary.steps - 3
        assert all("contrastive_loss" not in line and "semantic_information" not in line for line in first)
        assert all(
            line["semantic_information"] == pytest.approx(math.log(16) - line["contrastive_loss"], abs=1e-5)
            for line in second
        )
        assert first[0]["learning_rate"] == second[0]["learning_rate"] == 0.003
        ratios = {
            folder.name: MeritForPreTraining.from_pretrained(folder).config.mask_ratio
            for folder in (tmp_path / "run" / "checkpoints").iterdir()
        }
        assert ratios["step-000003"] == 0.25
        assert ratios[f"step-{summary.steps:06d}"] == 0.6

    def test_a_value_that_every_stage_replaces_is_refused(self, pretrain: Any) -> None:
        with pytest.raises(ValueError, match="num_train_epochs=2.0 would change nothing.*--stages.0.num_train_epochs"):
            pretrain("--stages.0.num_train_epochs", "1")

    def test_every_stage_is_checked_before_the_first_begins(self, pretrain: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="mask_ratio=1.5"):
            pretrain("--stages.0.mask_ratio", "0.5", "--stages.1.mask_ratio", "1.5")
        assert not (tmp_path / "run").exists()


class TestObjective:
    def test_accumulated_passes_equal_one_large_pass_for_the_structure_loss(
        self, pretrain: Any, tmp_path: Path
    ) -> None:
        """The structure loss is a mean over records, so only the contrastive loss notices accumulation."""
        words = ["--model.contrastive_weight", "0", "--max_steps", "4", "--model.ecg_config.hidden_dropout", "0"]
        words += ["--model.ecg_config.attention_dropout", "0", "--eval_strategy", "no", "--save_strategy", "no"]
        pretrain(*words, "--per_device_train_batch_size", "8", output_dir=tmp_path / "large")
        pretrain(
            *words,
            "--per_device_train_batch_size",
            "4",
            "--gradient_accumulation_steps",
            "2",
            output_dir=tmp_path / "small",
        )
        large, small = metrics_of(tmp_path / "large"), metrics_of(tmp_path / "small")
        assert len(large) == 4
        for one, other in zip(large, small, strict=True):
            assert other["reconstruction_loss"] == pytest.approx(one["reconstruction_loss"], rel=1e-4)

    def test_dropout_differs_between_steps_and_not_between_runs(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--learning_rate", "0", "--augmentation", "null", "--report_augmentation", "null", "--max_steps", "6"]
        words += ["--eval_strategy", "no", "--save_strategy", "no", "--max_train_samples", "8"]
        pretrain(*words, output_dir=tmp_path / "one")
        pretrain(*words, output_dir=tmp_path / "two")
        losses = [line["contrastive_loss"] for line in metrics_of(tmp_path / "one")]
        assert len(set(losses)) == len(losses) == 6  # the same 8 records, the same weights
        assert metrics_of(tmp_path / "one") == metrics_of(tmp_path / "two")

    def test_validation_sees_neither_augmentation_nor_dropout(self, pretrain: Any, tmp_path: Path) -> None:
        pretrain("--learning_rate", "0", "--weight_decay", "0", "--num_train_epochs", "2")
        validation = [line for line in metrics_of(tmp_path / "run") if "validation_loss" in line]
        assert len(validation) == 2
        for line in validation:
            line.pop("step"), line.pop("epoch")
        assert validation[0] == validation[1]

    def test_a_pretrained_text_tower_stays_frozen_or_trains_as_asked(
        self, pretrain: Any, run: Path, tmp_path: Path
    ) -> None:
        """The text tower of an earlier run, saved by itself, stands for one of the Hub."""
        earlier = MeritForPreTraining.from_pretrained(run)
        earlier.text_model.save_pretrained(tmp_path / "tower")
        AutoProcessor.from_pretrained(run).tokenizer.save_pretrained(tmp_path / "tower")
        given = earlier.text_model.state_dict()
        for layers, same in (("0", True), ("all", False)):
            words = [
                "--text_model",
                str(tmp_path / "tower"),
                "--model.text_trainable_layers",
                layers,
                "--max_steps",
                "2",
            ]
            pretrain(*words, output_dir=tmp_path / layers)
            trained = MeritForPreTraining.from_pretrained(tmp_path / layers).text_model.state_dict()
            equal = {name: torch.equal(given[name], trained[name]) for name in given}
            assert all(equal.values()) if same else not all(equal.values())

    def test_loader_workers_and_checkpointed_activations_change_nothing(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--max_steps", "4", "--eval_strategy", "no", "--save_strategy", "no"]
        variants = {
            "plain": [],
            "workers": ["--dataloader_num_workers", "2"],
            "checkpointed": ["--gradient_checkpointing"],
        }
        for name, more in variants.items():
            pretrain(*words, *more, output_dir=tmp_path / name)
        plain = metrics_of(tmp_path / "plain")
        assert metrics_of(tmp_path / "workers") == plain
        for one, other in zip(plain, metrics_of(tmp_path / "checkpointed"), strict=True):
            assert other == pytest.approx(one, rel=1e-4)

    def test_bfloat16_comes_near_float32(self, pretrain: Any, tmp_path: Path) -> None:
        for name, more in (("float32", []), ("bfloat16", ["--bf16"])):
            pretrain("--max_steps", "4", *more, output_dir=tmp_path / name)
        lines = [metrics_of(tmp_path / name) for name in ("float32", "bfloat16")]
        assert lines[0] != lines[1]
        for one, other in zip(*lines, strict=True):
            assert other == pytest.approx(one, rel=0.1, abs=0.05)

    def test_other_seeds_train_other_models(self, pretrain: Any, tmp_path: Path) -> None:
        for seed in ("0", "1"):
            pretrain("--max_steps", "2", "--seed", seed, output_dir=tmp_path / seed)
        assert metrics_of(tmp_path / "0") != metrics_of(tmp_path / "1")

    def test_the_best_model_can_be_taken_at_the_end(self, pretrain: Any, tmp_path: Path) -> None:
        # A learning rate that ruins the model: the first validation stays the best one.
        words = ["--num_train_epochs", "3", "--learning_rate", "0.3", "--max_grad_norm", "0", "--warmup_ratio", "1"]
        summary = pretrain(*words, "--load_best_model_at_end")
        assert summary.best_step is not None
        assert summary.best_step < summary.steps
        kept = load_file(tmp_path / "run" / "checkpoints" / f"step-{summary.best_step:06d}" / "model.safetensors")
        final = load_file(tmp_path / "run" / "model.safetensors")
        filled = {"ecg_embeds_mean", "text_embeds_mean"}
        assert all(torch.equal(kept[name], final[name]) for name in kept.keys() - filled)
        assert final["ecg_embeds_mean"].abs().sum() > 0


class TestRefusals:
    @pytest.fixture
    def silent_corpus(self, small_corpus: Path, tmp_path: Path) -> Path:
        """The small corpus without any report."""
        folder = tmp_path / "silent"
        shutil.copytree(small_corpus, folder)
        for shard in (folder / "data").glob("*.parquet"):
            table = datasets.Dataset.from_parquet(str(shard), keep_in_memory=True)
            features = table.features
            table = table.remove_columns("report").add_column("report", [None] * len(table))
            table.select_columns(list(features)).cast(features).to_parquet(str(shard))
        return folder

    def test_no_report_at_all(self, pretrain: Any, silent_corpus: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"split 'train' of .* has no usable report, but contrastive_weight=1"):
            pretrain(corpus=silent_corpus)
        assert not (tmp_path / "run").exists()

    def test_signals_alone_can_be_trained_on(self, pretrain: Any, silent_corpus: Path, tmp_path: Path) -> None:
        summary = pretrain("--model.contrastive_weight", "0", "--max_steps", "3", corpus=silent_corpus)
        assert set(summary.training) & {"contrastive_loss", "semantic_information"} == set()
        model = MeritForPreTraining.from_pretrained(tmp_path / "run")
        assert model.missing_weights == ()
        assert model.text_embeds_mean.abs().sum() == 0

    def test_corpus_smaller_than_a_batch(self, pretrain: Any, small_corpus: Path) -> None:
        number = len(load_corpus(small_corpus, split="train"))
        with pytest.raises(
            ValueError, match=rf"has {number} records, fewer than one step takes: per_device_train_batch_size=32"
        ):
            pretrain("--per_device_train_batch_size", "32", "--gradient_accumulation_steps", "2")

    def test_used_output_folder(self, pretrain: Any, tmp_path: Path) -> None:
        pretrain("--max_steps", "1")
        with pytest.raises(ValueError, match="is not empty: continue with --resume_from_checkpoint latest"):
            pretrain("--max_steps", "1")
        pretrain("--max_steps", "2", "--overwrite")
        assert metrics_of(tmp_path / "run")[-1]["step"] == 2

    def test_processes_that_do_not_see_each_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        arguments = parse_arguments(PretrainingArguments, ["--corpus", "C", "--output_dir", "R"])
        PartialState()  # as if accelerate had found itself alone
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match="2 processes were launched, but each sees 1"):
            make_accelerator(arguments, [])

    def test_divergence_stops_the_run_before_anything_is_kept(self, pretrain: Any, tmp_path: Path) -> None:
        words = ["--learning_rate", "1e30", "--max_grad_norm", "0", "--warmup_ratio", "0", "--save_strategy", "steps"]
        with pytest.raises(ValueError, match=r"training diverged at step \d+ .*: lower learning_rate"):
            pretrain(*words, "--save_steps", "1", "--eval_strategy", "no")
        for checkpoint in (tmp_path / "run" / "checkpoints").glob("step-*"):
            state = load_file(checkpoint / "model.safetensors")
            assert all(torch.isfinite(tensor).all() for tensor in state.values())
        assert not (tmp_path / "run" / "model.safetensors").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--fp16"], "fp16 needs a GPU"),
            (["--fp16", "--bf16"], "bf16 and fp16 are both set"),
            (["--model.mask_ratio", "1"], "mask_ratio=1.0 must lie in"),
            (["--model.preset", "huge"], "model.preset is 'huge', expected one of 'tiny', 'small', 'base'"),
            (["--feature_extractor.duration", "2.1"], "num_samples=210 must be a multiple of patch_size's 25"),
            (["--train_split", "training"], "no split 'training'"),
            (["--per_device_train_batch_size", "0"], "per_device_train_batch_size=0 must be at least 1"),
            (["--learning_rate", "nan"], "learning_rate=nan"),
            (["--num_train_epochs", "0"], "num_train_epochs=0.0 must be positive"),
            (["--text_model", "/no/such/model"], "no text encoder could be loaded from '/no/such/model'"),
            (["--text_tower", "null"], "text_tower is 'null', expected fields"),
            (["--augmentation.noise", "-1"], "augmentation: noise must be 0 or greater"),
            (["--load_best_model_at_end", "--save_strategy", "no"], "load_best_model_at_end needs"),
        ],
    )
    def test_bad_arguments(self, pretrain: Any, words: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            pretrain(*words)
