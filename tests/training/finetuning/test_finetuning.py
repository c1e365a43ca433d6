"""Fine-tuning in one process: what it learns and leaves behind, early stop, exact resume, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file, save_file
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_auc_score
from transformers import AutoFeatureExtractor
from wave_corpus import LABELS, WaveCorpus

from merit_hf import MeritEcgModel, MeritForEcgClassification
from merit_hf.command_line import parse_arguments
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.evaluation.targets import task_targets
from merit_hf.training.finetuning.arguments import FinetuningArguments
from merit_hf.training.finetuning.classifier_scores import classifier_logits
from merit_hf.training.finetuning.finetuner import Finetuner, FinetuningSummary
from merit_hf.training.loop.log import read_metrics


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every run of this file starts from a fresh accelerate, on the CPU whatever the machine has."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


@pytest.fixture
def finetuner(wave_corpus: Path, finetuning_recipe: Path, tmp_path: Path) -> Any:
    """`finetuner("--field", "value", ...)` makes a small fine-tuning into `tmp_path / "run"`."""

    def make(
        *words: str, output_dir: Path | None = None, corpus: Path = wave_corpus, model: Path | None = None
    ) -> Finetuner:
        AcceleratorState._reset_state(reset_partial_state=True)
        folder = str(output_dir or tmp_path / "run")
        recipe = finetuning_recipe
        if model is not None:  # whose own matter the shape is
            fields = yaml.safe_load(recipe.read_text())
            kept = {name: value for name, value in fields.items() if name not in ("encoder", "feature_extractor")}
            recipe = tmp_path / "recipe.yaml"
            recipe.write_text(yaml.safe_dump({**kept, "model": str(model), "from_scratch": False}))
        argv = [str(recipe), "--corpus", str(corpus), "--output_dir", folder, *words]
        return Finetuner(parse_arguments(FinetuningArguments, argv))

    return make


@pytest.fixture
def finetune(finetuner: Any) -> Any:
    """As `finetuner`, and trains it."""

    def run(*words: str, **options: Any) -> FinetuningSummary:
        summary: FinetuningSummary = finetuner(*words, **options).train()
        return summary

    return run


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without the speed, which no two runs share."""
    return [
        {name: value for name, value in line.items() if name != "ecgs_per_second"}
        for line in read_metrics(folder / "metrics.jsonl")
    ]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    expected, found = weights_of(first), weights_of(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


class TestFinishedRun:
    def test_learns_what_can_be_told_apart(self, finetuned_run: Any) -> None:
        _, summary = finetuned_run
        targets, scores = summary.test.targets, summary.test.scores
        for column in (0, 1, 3):
            assert roc_auc_score(targets[:, column], scores[:, column]) > 0.9
        assert summary.best_validation_macro_auroc > 0.95

    def test_folder_opens_with_its_labels(self, finetuned_run: Any) -> None:
        folder, _ = finetuned_run
        model = MeritForEcgClassification.from_pretrained(folder)
        assert model.missing_weights == ()
        assert [model.config.id2label[number] for number in range(4)] == LABELS
        assert model.config.label2id == {label: number for number, label in enumerate(LABELS)}
        assert model.config.problem_type == "multi_label_classification"
        assert AutoFeatureExtractor.from_pretrained(folder).num_samples == model.config.num_samples == 200
        assert MeritEcgModel.from_pretrained(folder).missing_weights == ()

    def test_records_without_labels_are_left_out(self, finetuned_run: Any, wave_corpus: Path) -> None:
        _, summary = finetuned_run
        test = load_corpus(wave_corpus, split="test")
        labelled = [row["ecg_id"] for row in test if row["waves"]]
        assert len(labelled) == 18
        assert summary.test.ecg_ids == labelled
        assert summary.num_train_records == 44
        names = [{LABELS[number] for number in row["waves"]} for row in test if row["waves"]]
        found = [{label for label, here in zip(LABELS, row, strict=True) if here} for row in summary.test.targets]
        assert found == names

    def test_predictions_are_those_of_the_saved_model(self, finetuned_run: Any, wave_corpus: Path) -> None:
        folder, summary = finetuned_run
        model = MeritForEcgClassification.from_pretrained(folder)
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        split = load_corpus(wave_corpus, split="test")
        logits = classifier_logits(model, extractor, split, batch_size=3)
        chosen = task_targets(split, "waves").records
        np.testing.assert_allclose(expit(logits[chosen]), summary.test.scores, atol=1e-5)

    def test_thresholds_are_the_validation_rules(self, finetuned_run: Any) -> None:
        """Against scikit-learn's curve: the F1 at the threshold is the highest of any threshold."""
        folder, summary = finetuned_run
        thresholds = json.loads((folder / "config.json").read_text())["thresholds"]
        assert list(thresholds) == LABELS
        targets, scores = summary.validation.targets, summary.validation.scores
        for column in (0, 1, 3):
            precision, recall, _ = precision_recall_curve(targets[:, column], scores[:, column])
            best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
            called = scores[:, column] >= thresholds[LABELS[column]]
            true = targets[:, column]
            assert 2 * (called & true).sum() / (called.sum() + true.sum()) == pytest.approx(best, abs=1e-12)
        assert thresholds["NEVER"] > scores[:, 2].max()

    def test_calibration_lowers_the_log_loss_of_the_validation_records(self, finetuned_run: Any) -> None:
        folder, summary = finetuned_run
        calibration = json.loads((folder / "config.json").read_text())["calibration"]
        assert calibration["method"] == "temperature"
        slopes, targets = set(calibration["slopes"].values()), summary.validation.targets[:, [0, 1, 3]]
        assert len(slopes) == 1
        assert set(calibration["intercepts"].values()) == {0.0}
        scores = summary.validation.scores[:, [0, 1, 3]]
        logits = np.log(scores) - np.log1p(-scores)

        def log_loss(slope: float) -> float:
            return float(np.logaddexp(0, np.where(targets, -1, 1) * slope * logits).mean())

        (slope,) = slopes
        assert log_loss(slope) <= log_loss(1.0)
        assert log_loss(slope) <= min(log_loss(slope * 1.01), log_loss(slope * 0.99))

    def test_log_has_the_agreed_keys(self, finetuned_run: Any) -> None:
        folder, summary = finetuned_run
        lines = metrics_of(folder)
        validation = [line for line in lines if "validation_loss" in line]
        assert {"step", "epoch", "loss", "learning_rate"} in [set(line) for line in lines]
        names = {"validation_loss", "validation_macro_auroc", "validation_macro_auprc"}
        assert set(validation[0]) == {"step", "epoch", *names}
        assert summary.best_validation_macro_auroc == max(line["validation_macro_auroc"] for line in validation)


class TestEarlyStop:
    def test_keeps_the_best_and_stops_after_patience(
        self, finetuner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The validation's macro AUROC is dictated: it is best after the third epoch, and once as good again."""
        dictated = iter([0.5, 0.7, 0.9, 0.8, 0.9, 0.85, 0.99])
        trainer = finetuner("--num_train_epochs", "12", "--early_stopping_patience", "3")
        real = trainer._logits
        calls = []

        def logits(split: Any) -> np.ndarray:
            calls.append(split)
            return real(split)

        class Ranking:
            def __init__(self, *_: Any) -> None:
                self.macro_auroc, self.macro_auprc = next(dictated), 0.0

        monkeypatch.setattr(trainer, "_logits", logits)
        monkeypatch.setattr("merit_hf.training.finetuning.finetuner.ranking_metrics", Ranking)
        summary = trainer.train()
        steps_per_epoch = 44 // 8
        assert summary.stopped_early
        assert summary.steps == 6 * steps_per_epoch
        assert summary.best_step == 3 * steps_per_epoch
        assert summary.best_validation_macro_auroc == 0.9
        assert_same_weights(tmp_path / "run" / "checkpoints" / f"step-{summary.best_step:06d}", tmp_path / "run")
        assert [split is trainer.data.test for split in calls] == [False] * 7 + [
            True
        ]  # test records: once, at the end

    def test_without_patience_it_trains_to_the_end(self, finetune: Any) -> None:
        words = ["--learning_rate", "0", "--early_stopping_patience", "null", "--num_train_epochs", "2"]
        summary = finetune(*words)
        assert summary.steps == 10
        assert not summary.stopped_early
        assert summary.best_step == 5  # the first of equals

    def test_a_resumed_run_that_had_stopped_stays_stopped(self, finetune: Any, tmp_path: Path) -> None:
        words = ["--learning_rate", "0", "--early_stopping_patience", "1"]
        first = finetune(*words)
        assert first.stopped_early
        (tmp_path / "run" / "model.safetensors").unlink()
        again = finetune(*words, "--resume_from_checkpoint", "latest")
        assert (again.steps, again.best_step) == (first.steps, first.best_step) == (10, 5)
        np.testing.assert_array_equal(again.test.scores, first.test.scores)


class TestResume:
    @pytest.mark.parametrize("head", ["linear", "mlp"])
    def test_continues_exactly_from_any_checkpoint(self, finetune: Any, tmp_path: Path, head: str) -> None:
        words = ["--save_strategy", "steps", "--save_steps", "4", "--eval_strategy", "steps", "--eval_steps", "2"]
        words += ["--save_total_limit", "null", "--logging_steps", "3", "--num_train_epochs", "2"]
        words += ["--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "4"]
        words += ["--classifier_head", head, "--pos_weight", "balanced", "--load_best_model_at_end", "false"]
        words += ["--early_stopping_patience", "null"]
        whole = finetune(*words)
        steps = [int(path.name[5:]) for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
        assert steps == [4, 8, 10]
        for step in (4, 8):
            copy = tmp_path / f"broken-{step}"
            shutil.copytree(tmp_path / "run", copy)
            (copy / "model.safetensors").unlink()
            for later in (later for later in steps if later > step):
                shutil.rmtree(copy / "checkpoints" / f"step-{later:06d}")
            resumed = finetune(*words, "--resume_from_checkpoint", "latest", output_dir=copy)
            assert metrics_of(copy) == metrics_of(tmp_path / "run")
            assert_same_weights(tmp_path / "run", copy)
            np.testing.assert_array_equal(resumed.test.scores, whole.test.scores)
            assert (copy / "config.json").read_text() == (tmp_path / "run" / "config.json").read_text()

    def test_other_labels_are_refused(self, finetune: Any, wave_corpus: Path, tmp_path: Path) -> None:
        finetune("--max_steps", "2")
        renamed = tmp_path / "renamed"
        shutil.copytree(wave_corpus, renamed)
        card = renamed / "README.md"
        card.write_text(card.read_text().replace("NEVER", "OTHER"))
        for shard in (renamed / "data").glob("*.parquet"):
            rename_label(shard)
        with pytest.raises(
            ValueError, match=r"was made with labels=\['FAST', 'HALF', 'NEVER'.*this run has \['FAST', 'HALF', 'OTHER'"
        ):
            finetune("--max_steps", "2", "--resume_from_checkpoint", "latest", corpus=renamed)

    def test_other_arguments_are_refused(self, finetune: Any) -> None:
        finetune("--max_steps", "2")
        with pytest.raises(ValueError, match=r"started with layer_decay: 0\.9, not 0\.5"):
            finetune("--max_steps", "2", "--layer_decay", "0.5", "--resume_from_checkpoint", "latest")


def rename_label(shard: Path) -> None:
    """NEVER becomes OTHER in the features that a shard carries."""
    import pyarrow.parquet as pq

    table = pq.read_table(shard)
    metadata = {key: value.replace(b"NEVER", b"OTHER") for key, value in (table.schema.metadata or {}).items()}
    pq.write_table(table.replace_schema_metadata(metadata), shard)


class TestStart:
    def test_takes_the_encoder_and_the_extractor_of_a_run(self, finetuner: Any, tiny_run: Path) -> None:
        trainer = finetuner(model=tiny_run)
        pretrained = MeritEcgModel.from_pretrained(tiny_run).state_dict()
        own = trainer.model.ecg_model.state_dict()
        assert all(torch.equal(own[name], pretrained[name]) for name in pretrained)
        assert trainer.processor.num_samples == 1000
        fresh = finetuner("--from_scratch", "--overwrite", model=tiny_run)
        new = fresh.model.ecg_model.state_dict()
        assert new.keys() == pretrained.keys()
        assert not torch.equal(new["embeddings.lead_embedding"], pretrained["embeddings.lead_embedding"])

    def test_drops_what_an_earlier_fine_tuning_chose(self, finetuner: Any, finetuned_run: Any) -> None:
        model = finetuner("--classifier_head", "mlp", model=finetuned_run[0]).model
        assert model.config.thresholds is None
        assert model.config.calibration is None
        assert len(model.classifier) == 7

    def test_a_frozen_encoder_stays_as_it_is(self, finetune: Any, finetuned_run: Any, tmp_path: Path) -> None:
        words = ["--freeze_encoder", "--hidden_dropout", "0.5", "--max_steps", "6", "--eval_strategy", "steps"]
        words += ["--eval_steps", "3", "--save_strategy", "steps", "--save_steps", "3", "--augmentation", "null"]
        summary = finetune(*words, model=finetuned_run[0])
        before, after = weights_of(finetuned_run[0]), weights_of(tmp_path / "run")
        assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("ecg_model."))
        assert not torch.equal(before["classifier.0.weight"], after["classifier.0.weight"])
        assert summary.steps == 6

    def test_layers_of_random_weights_learn_alike(self, finetuner: Any, tiny_run: Path) -> None:
        assert finetuner("--layer_decay", "null").arguments.layer_decay == 1
        assert finetuner("--layer_decay", "null", "--overwrite", model=tiny_run).arguments.layer_decay == 0.75

    def test_balanced_weights_are_negatives_over_positives(self, finetuner: Any) -> None:
        trainer = finetuner("--pos_weight", "balanced", "--max_pos_weight", "1.2")
        targets = trainer.data.train.chosen.targets
        counts = targets.sum(axis=0)
        expected = [min((len(targets) - count) / count, 1.2) if count else 1.0 for count in counts]
        torch.testing.assert_close(trainer._pos_weight, torch.tensor(expected, dtype=torch.float32))
        assert finetuner("--overwrite", "--pos_weight", "3")._pos_weight.tolist() == [3.0] * 4


@pytest.fixture(scope="module")
def two_splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "two"
    write_corpus(WaveCorpus(num_train=80, splits=("train", "validation")), folder)
    return folder


class TestHeldOut:
    def test_test_records_are_neither_trained_on_nor_stopped_by(self, finetuner: Any, two_splits: Path) -> None:
        data = finetuner("--test_split", "validation", "--held_out_share", "0.3", corpus=two_splits).data
        assert data.held_out
        assert {row["ecg_id"] for row in data.test.records} <= {f"ecg{number}" for number in range(1000, 1020)}
        sides = [{patient for patient, _ in split.identities()} for split in (data.train, data.validation, data.test)]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
        assert len(sides[0] | sides[1]) == 40
        assert 4 <= len(sides[1]) <= 20
        assert len(data.train) + len(data.validation) == 72

    def test_a_corpus_without_test_split_needs_a_word(self, finetuner: Any, two_splits: Path) -> None:
        with pytest.raises(ValueError, match=r"has no split 'test'; it has train, validation"):
            finetuner(corpus=two_splits)


class TestRefusals:
    def test_shared_patients(self, finetuner: Any, tmp_path: Path) -> None:
        write_corpus(WaveCorpus(shared_patients=True), tmp_path / "shared")
        with pytest.raises(ValueError, match=r"patients are in both training and .*--allow_shared_patients"):
            finetuner(corpus=tmp_path / "shared")
        assert finetuner("--allow_shared_patients", corpus=tmp_path / "shared")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--task", "rhythm"], r"task 'rhythm' is not in this corpus, which has \['waves', 'one'\]"),
            (["--task", "one"], "no label of task 'one' tells the 48 training records apart.*one class only"),
            (["--from_scratch", "false"], "nothing to start from: give --model RUN, or --from_scratch"),
            (["--model", "RUN"], "encoder=.* cannot be changed, since --model RUN has its own"),
            (["--layer_decay", "0"], "layer_decay=0.0 must be above 0"),
            (["--pos_weight", "-1"], "pos_weight=-1.0 must be a positive number"),
            (["--test_split", "train"], "test_split=train is the split to learn from"),
            (["--held_out_share", "1"], "held_out_share=1.0 must be between 0 and 1"),
            (["--early_stopping_patience", "0"], "early_stopping_patience=0 must be at least 1"),
            (["--load_best_model_at_end", "false"], "would keep a worse model"),
            (["--save_strategy", "no"], "load_best_model_at_end needs eval_strategy and save_strategy alike"),
            (["--per_device_train_batch_size", "48"], "there are 44 training records .* fewer than one step takes"),
            (["--per_device_train_batch_size", "1", "--classifier_head", "mlp"], "at least 2"),
            (["--encoder.hidden_size", "25"], "hidden_size=25 must be"),
        ],
    )
    def test_bad_arguments(self, finetuner: Any, tmp_path: Path, words: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            finetuner(*words)
        assert not (tmp_path / "run" / "model.safetensors").exists()

    def test_models_that_cannot_be_started_from(self, finetuner: Any, tiny_run: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="nowhere' cannot be opened"):
            finetuner(model=tmp_path / "nowhere")
        incomplete = tmp_path / "incomplete"
        shutil.copytree(tiny_run, incomplete)
        kept = {name: tensor for name, tensor in weights_of(tiny_run).items() if not name.startswith("ecg_model.")}
        save_file(kept, incomplete / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match="lacks weights"):
            finetuner(model=incomplete)
