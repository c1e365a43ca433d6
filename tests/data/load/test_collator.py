"""Rows of a corpus → training batch: the extractor's own tensors, texts and ids, and chance by record."""

import dataclasses
import pickle

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from merit_hf import STANDARD_12, EcgRecord, MeritFeatureExtractor, MeritProcessor
from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.data.load.batch_sampler import RecordKey, ReportLengthBatchSampler
from merit_hf.data.load.collator import MeritCollator, prepare_worker
from merit_hf.data.load.dataset import PretrainingDataset, report_lengths
from merit_hf.data.load.report_augmentation import ReportAugmentation, split_phrases
from merit_hf.data.randomness import record_generator
from merit_hf.data.reports import clean_report, report_hash
from merit_hf.data.row import corpus_features, record_from_row, row_from_record
from merit_hf.training.pretraining.text_tower import train_tokenizer

REPORTS = [
    ("Sinus rhythm. Normal EKG", "en"),
    ("Atrial fibrillation, rapid ventricular response. Left axis deviation. Possible old inferior infarct", "en"),
    (None, None),
    ("sinus rhythm. NORMAL ecg.", "en"),
    ("Sinusrhythmus. Normales EKG", "de"),
    ("", "en"),
    ("Trace only requested.", "en"),
    ("Left bundle branch block", "en"),
]
EVERYTHING = {
    "augmentation": EcgAugmentation(),
    "report_augmentation": ReportAugmentation(),
    "seed": 3,
    "num_mask_units": 24,
    "num_patches": 20,
}


@pytest.fixture(scope="module")
def corpus_split() -> datasets.Dataset:
    """24 records that differ in length, sampling rate and lead set, in the columns of every corpus."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(24):
        rate = (100.0, 500.0)[index % 2]
        leads = STANDARD_12 if index % 3 else ("II", "V1", "V5")
        samples = int(rate * (10, 12, 7)[index % 3])
        time = np.arange(samples) / rate
        signal = np.sin(2 * np.pi * generator.uniform(1, 8, (len(leads), 1)) * time) + generator.normal(
            0, 0.1, (len(leads), samples)
        )
        if index == 4:
            signal[3, 100:400] = np.nan
        report, language = REPORTS[index % len(REPORTS)]
        record = EcgRecord(signal.astype(np.float32), rate, leads, report=report)
        row = row_from_record(
            record,
            ecg_id=f"r{index}",
            patient_id=f"p{index // 2}",
            report_language=language,
            adc_gain=[1000.0] * len(leads),
        )
        rows.append({**row, "signal": row["signal"].ravel(), "findings": []})
    return datasets.Dataset.from_list(rows, features=corpus_features({"findings": ["NORM"]}))


@pytest.fixture(scope="module")
def dataset(corpus_split) -> PretrainingDataset:
    return PretrainingDataset(corpus_split)


@pytest.fixture(scope="module")
def processor(dataset) -> MeritProcessor:
    tokenizer = train_tokenizer(dataset.reports(), vocab_size=300, max_length=40, min_frequency=1)
    return MeritProcessor(MeritFeatureExtractor(), tokenizer)


def keys(indices, epoch=0):
    return [RecordKey(index, epoch) for index in indices]


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class TestDataset:
    def test_rows_are_those_of_the_corpus(self, corpus_split, dataset):
        order = [5, 0, 23, 4, 5]
        rows = dataset.__getitems__(keys(order, epoch=2))
        for index, row in zip(order, rows, strict=True):
            assert (row["index"], row["epoch"]) == (index, 2)
            expected = corpus_split[index]
            assert row["signal"].dtype == np.int16
            assert row["adc_gain"].dtype == np.float32
            for name in set(row) - {"index", "epoch"}:
                assert np.array_equal(np.asarray(row[name], dtype=object), np.asarray(expected[name], dtype=object)), (
                    name
                )
        assert "findings" not in rows[0]

    def test_plain_indices_take_the_epoch_that_was_set(self, corpus_split):
        dataset = PretrainingDataset(corpus_split, epoch=4)
        assert dataset[3]["epoch"] == 4
        dataset.set_epoch(6)
        assert (dataset[-1]["index"], dataset[-1]["epoch"]) == (23, 6)
        assert len(dataset) == 24
        with pytest.raises(IndexError):
            dataset[24]

    def test_a_selection_counts_anew(self, corpus_split):
        dataset = PretrainingDataset(corpus_split.select([7, 3, 11]))
        assert [row["ecg_id"] for row in dataset.__getitems__([0, 1, 2])] == ["r7", "r3", "r11"]
        assert [row["index"] for row in dataset.__getitems__([2, 0])] == [2, 0]

    def test_reports_are_cleaned_and_filtered(self, dataset):
        everything, filtered = dataset.reports(), dataset.reports(ReportAugmentation(report_languages=["en"]))
        assert everything[:4] == [clean_report(text) for text, _ in REPORTS[:4]]
        assert everything[4] == "sinusrhythmus. normales ecg."
        assert [bool(report) for report in filtered[:8]] == [True, True, False, True, False, False, False, True]

    def test_lengths_are_those_of_the_collated_texts(self, dataset, processor):
        lengths = report_lengths(dataset.reports(), processor.tokenizer, 12)
        for index in range(8):
            batch = MeritCollator(processor, max_text_length=12)(dataset.__getitems__([index]))
            assert lengths[index] == batch["input_ids"].shape[1]
        assert lengths.max() == 12

    def test_wrong_corpora_are_refused(self, corpus_split):
        with pytest.raises(ValueError, match="DatasetDict"):
            PretrainingDataset(datasets.DatasetDict(train=corpus_split))
        with pytest.raises(ValueError, match="adc_gain"):
            PretrainingDataset(corpus_split.remove_columns("adc_gain"))


class TestSignals:
    @pytest.mark.parametrize("normalization", ["zscore", "zscore_record", "none"])
    def test_without_augmentation_they_are_the_extractors(self, dataset, normalization):
        extractor = MeritFeatureExtractor(normalization=normalization)
        rows = dataset.__getitems__(list(range(24)))
        batch = MeritCollator(extractor)(rows)
        expected = extractor([record_from_row(row) for row in rows], return_tensors="pt")
        assert set(batch) == {"input_values", "padding_mask"}
        same(batch, dict(expected))
        assert batch["input_values"].shape == (24, 12, 1000)
        assert batch["padding_mask"].dtype == torch.bool

    def test_real_recording_from_corpus_equals_the_file(self, real_data):
        from merit_hf import read_ecg

        record = read_ecg(real_data / "ptb-xl" / "records500" / "00000" / "00001_hr")
        row = row_from_record(record, ecg_id="1", patient_id="1", report_language=None)
        row["signal"] = row["signal"].ravel()
        extractor = MeritFeatureExtractor()
        same(MeritCollator(extractor)([row]), dict(extractor(record, return_tensors="pt")))

    def test_augmentation_gives_a_clean_target(self, dataset):
        augmentation = EcgAugmentation(circular_shift=0, time_stretch=(1, 1), lead_scale=0, lead_dropout=0.4)
        rows = dataset.__getitems__(list(range(24)))
        clean = MeritCollator(MeritFeatureExtractor())(rows)
        batch = MeritCollator(MeritFeatureExtractor(), augmentation=augmentation)(rows)
        assert torch.equal(batch["target_values"], clean["input_values"])
        assert not torch.equal(batch["input_values"], clean["input_values"])
        assert (batch["padding_mask"] <= clean["padding_mask"]).all()
        assert batch["padding_mask"].sum() < clean["padding_mask"].sum()

    def test_random_crops_follow_the_record(self, dataset):
        collator = MeritCollator(MeritFeatureExtractor(duration=5, truncation="random"))
        first = collator(dataset.__getitems__(keys([1, 4, 7])))
        alone = collator(dataset.__getitems__(keys([4])))
        later = collator(dataset.__getitems__(keys([4], epoch=1)))
        assert torch.equal(first["input_values"][1], alone["input_values"][0])
        assert not torch.equal(later["input_values"], alone["input_values"])


class TestTexts:
    def test_whole_reports_without_augmentation(self, dataset, processor):
        batch = MeritCollator(processor, max_text_length=40)(dataset.__getitems__(list(range(8))))
        texts = processor.tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True)
        expected = [clean_report(text) for text, _ in REPORTS]
        assert [text.replace(" ", "") for text in texts] == [text.replace(" ", "") for text in expected]
        assert batch["attention_mask"].sum(dim=1).max() == batch["input_ids"].shape[1]
        assert batch["attention_mask"].sum(dim=1)[2] == 2  # no report: only [CLS] and [SEP]

    def test_equal_reports_have_equal_ids_and_missing_ones_none(self, dataset, processor):
        batch = MeritCollator(processor)(dataset.__getitems__(list(range(8))))
        ids = batch["report_ids"].tolist()
        assert batch["report_ids"].dtype == torch.int64
        assert ids[0] == ids[3] == report_hash("sinus rhythm. normal ecg.")
        assert ids[2] == ids[5] == -1
        assert len(set(ids)) == 6
        assert min(ids) == -1

    def test_filtered_reports_are_no_reports(self, dataset, processor):
        only_english = ReportAugmentation(probability=0, report_languages=["en"])
        batch = MeritCollator(processor, report_augmentation=only_english)(dataset.__getitems__(list(range(8))))
        assert (batch["report_ids"] == -1).tolist() == [False, False, True, False, True, True, True, False]
        assert batch["attention_mask"].sum(dim=1)[4] == 2

    def test_ids_are_of_the_whole_report_whatever_is_shown(self, dataset, processor):
        collator = MeritCollator(processor, report_augmentation=ReportAugmentation(probability=1))
        whole = MeritCollator(processor)(dataset.__getitems__([1]))
        shown = set()
        for epoch in range(20):
            batch = collator(dataset.__getitems__(keys([1], epoch)))
            assert torch.equal(batch["report_ids"], whole["report_ids"])
            shown.add(processor.tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True))
        assert len(shown) == 4
        phrases = split_phrases(clean_report(REPORTS[1][0]))
        assert all(set(split_phrases(text)) < set(phrases) for text in shown)

    def test_long_reports_are_cut(self, dataset, processor):
        batch = MeritCollator(processor, max_text_length=6)(dataset.__getitems__([1, 2]))
        assert batch["input_ids"].shape == (2, 6)
        assert batch["input_ids"][0, -1] == processor.tokenizer.sep_token_id

    def test_a_tokenizer_without_special_tokens_still_gives_a_token(self, dataset):
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        plain = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, ".": 2}, unk_token="[UNK]"))
        plain.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
        batch = MeritCollator(MeritProcessor(MeritFeatureExtractor(), tokenizer))(dataset.__getitems__([2, 5]))
        assert batch["attention_mask"].tolist() == [[1], [1]]
        assert batch["report_ids"].tolist() == [-1, -1]


class TestChance:
    def test_a_record_gets_the_same_in_any_batch(self, dataset, processor):
        collator = MeritCollator(processor, **EVERYTHING)
        order = [9, 1, 17, 4, 20, 2, 13, 8]
        together = collator(dataset.__getitems__(keys(order, epoch=5)))
        for position, index in enumerate(order):
            alone = collator(dataset.__getitems__(keys([index], epoch=5)))
            length = alone["input_ids"].shape[1]
            for name, value in alone.items():
                other = together[name][position]
                if name in ("input_ids", "attention_mask"):
                    assert not together["attention_mask"][position, length:].any()
                    other = other[:length]
                assert torch.equal(value[0], other), name

    def test_noise_is_drawn_from_seed_epoch_and_record(self, dataset):
        collator = MeritCollator(MeritFeatureExtractor(), seed=3, num_mask_units=24, num_patches=20)
        batch = collator(dataset.__getitems__(keys([9, 1], epoch=5)))
        expected = [record_generator(3, 5, index, "mask").random(24, dtype=np.float32) for index in (9, 1)]
        np.testing.assert_array_equal(batch["noise"].numpy(), expected)
        assert batch["alignment_noise"].shape == (2, 20)
        assert not torch.equal(batch["alignment_noise"], batch["noise"][:, :20])
        for noise in (batch["noise"], batch["alignment_noise"]):
            assert noise.dtype == torch.float32
            assert 0 <= noise.min() < noise.max() < 1

    @pytest.mark.parametrize("change", [{"epoch": 6}, {"seed": 4}])
    def test_another_epoch_or_seed_changes_everything_random(self, dataset, processor, change):
        epoch, seed = change.get("epoch", 5), change.get("seed", 3)
        first = MeritCollator(processor, **EVERYTHING)(dataset.__getitems__(keys(range(24), 5)))
        second = MeritCollator(processor, **{**EVERYTHING, "seed": seed})(dataset.__getitems__(keys(range(24), epoch)))
        for name in ("input_values", "target_values", "noise", "alignment_noise", "input_ids"):
            assert first[name].shape != second[name].shape or not torch.equal(first[name], second[name]), name
        assert torch.equal(first["report_ids"], second["report_ids"])

    def test_loader_workers_change_nothing(self, dataset, processor):
        collator = MeritCollator(processor, **EVERYTHING)
        sampler = ReportLengthBatchSampler(None, 6, num_records=24)
        sampler.set_epoch(2)
        here = [collator(dataset.__getitems__(batch)) for batch in sampler]
        for workers in (0, 2):
            loader = DataLoader(
                dataset,
                batch_sampler=sampler,
                collate_fn=collator,
                num_workers=workers,
                worker_init_fn=prepare_worker,
            )
            for expected, found in zip(here, loader, strict=True):
                same(expected, found)

    def test_two_processes_draw_what_one_draws(self, dataset, processor):
        """Each takes its half of every batch, as the training loop shares them out."""
        from merit_hf.training.loop.batch_plan import ProcessShare
        from merit_hf.training.loop.loader import make_loader

        collator = MeritCollator(processor, **EVERYTHING)
        sampler = ReportLengthBatchSampler(report_lengths(dataset.reports(), processor.tokenizer, 40), 8)
        whole = list(make_loader(dataset, sampler, collator))
        halves = [list(make_loader(dataset, ProcessShare(sampler, process, 2), collator)) for process in range(2)]
        for batch, *parts in zip(whole, *halves, strict=True):
            for name in ("input_values", "target_values", "padding_mask", "report_ids", "noise", "alignment_noise"):
                assert torch.equal(batch[name], torch.cat([part[name] for part in parts])), name

    def test_it_can_be_pickled(self, dataset, processor):
        collator = MeritCollator(processor, **EVERYTHING)
        rows = dataset.__getitems__(keys([0, 1]))
        same(pickle.loads(pickle.dumps(collator))(rows), collator(rows))

    def test_rows_without_an_index_are_refused_only_where_it_matters(self, corpus_split, processor):
        rows = [corpus_split[0]]
        assert MeritCollator(processor)(rows)["input_values"].shape == (1, 12, 1000)
        for fields in ({"num_mask_units": 4}, {"augmentation": EcgAugmentation()}, {"num_patches": 4}):
            with pytest.raises(ValueError, match="PretrainingDataset"):
                MeritCollator(processor, **fields)(rows)

    def test_validation_shows_everything_as_it_is(self, dataset, processor):
        """The same filter without subsets or augmentation: what a validation loss is computed on."""
        filter_alone = dataclasses.replace(ReportAugmentation(report_languages=["en"]), probability=0)
        collator = MeritCollator(processor, report_augmentation=filter_alone)
        same(collator(dataset.__getitems__(keys([0, 4], 0))), collator(dataset.__getitems__(keys([0, 4], 9))))
