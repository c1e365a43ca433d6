"""One record, every way in: training, evaluation, both pipelines and the processor make the very same tensors of it.

No tolerance anywhere: the comparison is bit for bit, from corpus rows, from files and from arrays, at 100 and 500 Hz.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
from transformers import AutoProcessor, pipeline

from merit_hf import MeritEcgModel
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.ptb_xl import PtbXl
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.encoders.encoder import load_encoder
from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, zero_shot_scores
from merit_hf.simulation.corpus import SyntheticCorpus
from merit_hf.training.loop.batch_plan import WholeBatches
from merit_hf.training.loop.loader import make_loader

ROW = 3
Tensors = tuple[torch.Tensor, torch.Tensor]


class Entries:
    """Every way in, from a corpus split and a file of its row `ROW` to what the model is given."""

    def __init__(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processor = AutoProcessor.from_pretrained(run)
        self.model, self.extractor, self.tokenizer = load_zero_shot(str(run), "cpu")
        self.encoder = load_encoder(str(run), device="cpu")
        self.pipes = [
            pipeline("ecg-zero-shot-classification", model=str(run), device="cpu", candidate_labels=["normal ECG"]),
            pipeline("ecg-feature-extraction", model=str(run), device="cpu"),
        ]
        self.seen: list[Tensors] = []
        encode = MeritEcgModel.forward

        def spied(model: Any, input_values: torch.Tensor, padding_mask: torch.Tensor, **kwargs: Any) -> Any:
            self.seen.append((input_values, padding_mask))
            return encode(model, input_values, padding_mask=padding_mask, **kwargs)

        monkeypatch.setattr(MeritEcgModel, "forward", spied)

    def encoded(self, call: Callable[[], Any], row: int = 0) -> Tensors:
        """What reached the encoder while `call` ran, of one row."""
        self.seen.clear()
        call()
        values, mask = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        return values[row : row + 1], mask[row : row + 1]

    def all_of(self, split: Any, file: Path) -> dict[str, Tensors]:
        row = split[ROW]
        record = record_from_row(row)
        array = {"sampling_rate": record.sampling_rate, "lead_names": record.lead_names}
        collator = MeritCollator(self.processor)
        dataset = PretrainingDataset(split)
        loader = make_loader(dataset, WholeBatches(len(dataset), 2, 0, 1), collator)
        batches = list(loader)
        made = {
            "training": tuple(torch.cat([batch[key] for batch in batches])[[ROW]] for key in self.keys),
            "training, alone": tuple(collator([dataset[ROW]])[key] for key in self.keys),
            "processor, record": tuple(self.processor(ecg=record, return_tensors="pt")[key] for key in self.keys),
            "processor, array": tuple(
                self.processor(ecg=record.signal, return_tensors="pt", **array)[key] for key in self.keys
            ),
            "evaluation, zero-shot": self.encoded(
                lambda: zero_shot_scores(
                    self.model, self.extractor, self.tokenizer, split, {"NORM": ["normal ecg."]}, batch_size=2
                ),
                ROW,
            ),
            "evaluation, features": self.encoded(lambda: self.encoder.features(split), ROW),
        }
        for pipe in self.pipes:
            inputs = {"row": row, "record": record, "file": file, "dict": {"signal": record.signal, **array}}
            for name, item in inputs.items():
                made[f"{pipe.task}, {name}"] = self.encoded(lambda pipe=pipe, item=item: pipe(item))
            made[f"{pipe.task}, array"] = self.encoded(lambda pipe=pipe: pipe(record.signal, **array))
            rows = [split[index] for index in range(len(split))]
            made[f"{pipe.task}, batch"] = self.encoded(lambda pipe=pipe, rows=rows: pipe(rows, batch_size=3), ROW)
        return made

    keys = ("input_values", "padding_mask")


def write_file(row: dict[str, Any], folder: Path) -> Path:
    """The counts of a row as a WFDB record, leads in MIMIC-IV-ECG's order, which is not ours."""
    counts = np.asarray(row["signal"]).reshape(len(row["lead_names"]), -1)
    order = [0, 1, 2, 3, 5, 4, *range(6, 12)]
    wfdb.wrsamp(
        "ecg",
        fs=row["sampling_rate"],
        units=["mV"] * 12,
        sig_name=[row["lead_names"][lead] for lead in order],
        d_signal=counts[order].T,
        fmt=["16"] * 12,
        adc_gain=[row["adc_gain"][lead] for lead in order],
        baseline=[0] * 12,
        write_dir=str(folder),
    )
    return folder / "ecg"


def assert_identical(made: dict[str, Tensors]) -> None:
    values, mask = made["processor, record"]
    assert values.shape == mask.shape == (1, 12, 1000)
    assert mask.all()
    assert values.std() == pytest.approx(1, abs=0.01)
    for name, (other_values, other_mask) in made.items():
        assert torch.equal(other_values, values), name
        assert torch.equal(other_mask, mask), name


@pytest.mark.parametrize("sampling_rate", [100, 500])
def test_the_tensors_of_training_evaluation_and_pipelines_are_identical(
    tiny_run, tmp_path, monkeypatch, sampling_rate
):
    write_corpus(SyntheticCorpus(num_records=8, sampling_rate=sampling_rate), tmp_path / "corpus")
    split = load_corpus(tmp_path / "corpus", "train")
    made = Entries(tiny_run, monkeypatch).all_of(split, write_file(split[ROW], tmp_path))
    assert len(made) == 18
    assert_identical(made)


@pytest.mark.parametrize(("sampling_rate", "suffix"), [(100, "lr"), (500, "hr")])
def test_a_file_of_ptb_xl_and_its_row_in_the_corpus_are_identical(
    tiny_run, tmp_path, monkeypatch, real_data, sampling_rate, suffix
):
    raw = real_data / "ptb-xl"
    corpus = PtbXl(data_dir=str(raw), sampling_rate=sampling_rate)
    items = corpus.work()
    # Five records of the real tree are enough; the whole of it is converted in the tests of the corpus.
    monkeypatch.setattr(PtbXl, "work", lambda self: {name: found[:5] for name, found in items.items()})
    write_corpus(corpus, tmp_path / "corpus")
    split = load_corpus(tmp_path / "corpus", "train")
    number = int(split[ROW]["ecg_id"])
    file = raw / f"records{sampling_rate}" / f"{number // 1000 * 1000:05d}" / f"{number:05d}_{suffix}"
    assert_identical(Entries(tiny_run, monkeypatch).all_of(split, file))
