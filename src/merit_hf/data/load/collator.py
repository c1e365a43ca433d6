"""From rows of a corpus to one training batch: feature extractor, augmentation, tokenizer and the noise of masks.

It joins these and adds nothing of its own: signals become tensors in feature_extraction_merit.py alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merit_hf.data.randomness import record_generator
from merit_hf.data.reports import report_hash
from merit_hf.data.row import records_from_rows
from merit_hf.modeling_merit import NO_REPORT

from .augmentation import EcgAugmentation
from .report_augmentation import ReportAugmentation, usable_report


class MeritCollator:
    """Makes a batch of `MeritForPreTraining` out of rows of a `PretrainingDataset`.

    Whatever is random is drawn from (seed, epoch, record): a record gets the same crop, augmentation, text and
    noise in any batch, loader worker or process.

    Args:
        processor: `MeritProcessor`, or a `MeritFeatureExtractor` alone, which gives batches without text.
        max_text_length: tokens after which a report is cut; the tokenizer's own limit if None.
        augmentation: changes the signals; None leaves `input_values` exactly as the feature extractor makes them.
        report_augmentation: filters reports and shows parts of them; None shows all of every report.
        seed: seed of the run.
        num_mask_units: length of `noise`, `MeritConfig.num_mask_units`; 0 gives no noise.
        num_patches: length of `alignment_noise`, `MeritEcgConfig.num_patches`; 0 gives none.
    """

    def __init__(
        self,
        processor: Any,
        *,
        max_text_length: int | None = None,
        augmentation: EcgAugmentation | None = None,
        report_augmentation: ReportAugmentation | None = None,
        seed: int = 0,
        num_mask_units: int = 0,
        num_patches: int = 0,
    ) -> None:
        self.feature_extractor = getattr(processor, "feature_extractor", processor)
        self.tokenizer: Any = getattr(processor, "tokenizer", None)
        self.max_text_length = max_text_length
        self.augmentation = augmentation
        self.report_augmentation = report_augmentation
        self.seed = seed
        self.num_mask_units = num_mask_units
        self.num_patches = num_patches
        if self.tokenizer is not None:
            # A text tower cannot read a text without a single token, which "" is to tokenizers that add no special
            # ones.
            self._text_of_no_report = "" if self.tokenizer("")["input_ids"] else "."

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Makes the batch.

        Args:
            rows: rows of a corpus, with `index` and `epoch` if anything random is asked for.

        Returns:
            `input_values` float32 and `padding_mask` bool, both (batch, leads, samples); with augmentation
            `target_values` of the same shape, the signal before noise, wander and lead dropout; with a tokenizer
            `input_ids` and `attention_mask` int64 (batch, tokens), padded to the longest report of the batch, and
            `report_ids` int64 (batch,), equal for equal cleaned reports and −1 where there is none; `noise`
            (batch, num_mask_units) and `alignment_noise` (batch, num_patches), float32 in [0, 1), if their lengths
            are not 0.

        Raises:
            ValueError: if a record cannot be made into a tensor, or if `index` and `epoch` are needed and missing.
        """
        records = records_from_rows(rows)
        crops = self._generators(rows, "crop") if self.feature_extractor.truncation == "random" else None
        features = self.feature_extractor(records, generator=crops, return_tensors="pt")
        batch = {"input_values": features["input_values"], "padding_mask": features["padding_mask"]}
        if self.augmentation is not None:
            batch["input_values"], batch["target_values"], batch["padding_mask"] = self.augmentation(
                features["input_values"],
                features["padding_mask"],
                self._generators(rows, "augmentation"),
                self.feature_extractor.sampling_rate,
            )
        if self.tokenizer is not None:
            batch.update(self._text(rows))
        if self.num_mask_units:
            batch["noise"] = self._noise(rows, "mask", self.num_mask_units)
        if self.num_patches:
            batch["alignment_noise"] = self._noise(rows, "alignment", self.num_patches)
        return batch

    def _text(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        reports = [usable_report(row["report"], row["report_language"], self.report_augmentation) for row in rows]
        shown = [report or self._text_of_no_report for report in reports]
        augmentation = self.report_augmentation
        if augmentation is not None and augmentation.probability:
            generators = self._generators(rows, "report")
            for number, report in enumerate(reports):
                if report:
                    shown[number] = augmentation(report, generators[number])
        tokens = self.tokenizer(
            shown,
            padding=True,
            truncation=True,
            max_length=self.max_text_length,
            return_attention_mask=True,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        ids = [report_hash(report) if report else NO_REPORT for report in reports]
        return {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "report_ids": torch.tensor(ids, dtype=torch.int64),
        }

    def _noise(self, rows: Sequence[Mapping[str, Any]], stream: str, length: int) -> Tensor:
        noise = np.empty((len(rows), length), dtype=np.float32)
        for values, generator in zip(noise, self._generators(rows, stream), strict=True):
            generator.random(out=values, dtype=np.float32)
        return torch.from_numpy(noise)

    def _generators(self, rows: Sequence[Mapping[str, Any]], stream: str) -> list[np.random.Generator]:
        if rows and not ("index" in rows[0] and "epoch" in rows[0]):
            raise ValueError(
                f"rows need `index` and `epoch` to draw {stream!r} by: take them from a PretrainingDataset."
            )
        return [record_generator(self.seed, row["epoch"], row["index"], stream) for row in rows]


def prepare_worker(worker_id: int) -> None:
    """For `DataLoader(worker_init_fn=...)`: keeps the tokenizer of a loader worker to one core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
