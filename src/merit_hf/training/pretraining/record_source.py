"""A split of the corpus as one process of a run uses it, the same to the loop whether it is map-style or streamed.

A source says which batches there are; a loader asks its `dataset` for them, in worker processes if there are any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from merit_hf.data.build.open import load_corpus
from merit_hf.data.load.batch_sampler import ReportLengthBatchSampler
from merit_hf.data.load.dataset import PretrainingDataset, report_lengths
from merit_hf.data.load.report_augmentation import ReportAugmentation
from merit_hf.data.load.row_group_order import RowGroupOrder, stretches_in_order
from merit_hf.data.load.stream import StreamedDataset
from merit_hf.data.randomness import record_generator
from merit_hf.training.loop.batch_plan import BatchPlan, ShuffledBatchPlan, WholeBatches
from merit_hf.training.loop.loader import GivenRows

from .arguments import PretrainingArguments

# Reports that a tokenizer is trained on where the corpus is streamed: a sample decides a few thousand word pieces, and
# the memory for all reports would grow with the corpus.
MOST_REPORTS_FOR_TOKENIZER = 100_000


class RecordSource(ABC):
    """One split, map-style or streamed.

    Args:
        report_augmentation: says which reports count.
        seed: seed of the run.
        process_index, num_processes: which process this is, of how many.
    """

    dataset: Dataset[Any]

    def __init__(
        self, report_augmentation: ReportAugmentation | None, seed: int, process_index: int, num_processes: int
    ) -> None:
        self.report_augmentation = report_augmentation
        self.seed = seed
        self.process_index = process_index
        self.num_processes = num_processes

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What of the data decides the losses of a run, as far as it can be told quickly."""

    @abstractmethod
    def has_reports(self) -> bool:
        """Whether any record has a report that counts."""

    @abstractmethod
    def reports_for_tokenizer(self) -> Iterable[str]:
        """Cleaned reports to train a tokenizer on; empty ones say nothing."""

    @abstractmethod
    def plan_batches(
        self, batch_size: int, tokenizer: PreTrainedTokenizerBase | None, max_text_length: int
    ) -> BatchPlan:
        """Shuffled batches of every record.

        Args:
            batch_size: records of one process.
            tokenizer: tells how long reports are, where batches are made by that; None if reports are not read.
            max_text_length: tokens after which they are cut.
        """

    @abstractmethod
    def batches_in_order(self, batch_size: int) -> Iterable[Sequence[Any]]:
        """All records in order, in whole batches that do not depend on the number of processes, shared among them."""


def open_source(
    arguments: PretrainingArguments,
    split: str,
    process_index: int,
    num_processes: int,
    max_records: int | None = None,
) -> RecordSource:
    """The split of the run's corpus, in the form the arguments ask for.

    Raises:
        ValueError: no such corpus or split, or a column is missing.
    """
    facts = (arguments.report_augmentation, arguments.seed, process_index, num_processes)
    if arguments.streaming:
        window = arguments.shuffle_row_groups
        return StreamedSource(StreamedDataset(arguments.corpus, split, max_records=max_records, window=window), *facts)
    records = load_corpus(arguments.corpus, split=split)
    if max_records is not None:
        records = records.select(range(min(max_records, len(records))))
    return MapStyleSource(PretrainingDataset(records), *facts)


class MapStyleSource(RecordSource):
    """Records that are read from the disk one by one, wherever they lie: batches of any of them.

    Args:
        records: the split.
        facts: those of `RecordSource`.
    """

    def __init__(self, records: PretrainingDataset, *facts: Any) -> None:
        super().__init__(*facts)
        self.dataset = self.records = records

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def _reports(self) -> list[str]:
        return self.records.reports(self.report_augmentation)

    def identity(self) -> dict[str, Any]:
        return {"train_records": len(self), "reports": sum(map(bool, self._reports))}

    def has_reports(self) -> bool:
        return any(self._reports)

    def reports_for_tokenizer(self) -> Iterable[str]:
        return self._reports

    def plan_batches(
        self, batch_size: int, tokenizer: PreTrainedTokenizerBase | None, max_text_length: int
    ) -> BatchPlan:
        lengths = None if tokenizer is None else report_lengths(self._reports, tokenizer, max_text_length)
        batches = ReportLengthBatchSampler(
            lengths, batch_size * self.num_processes, num_records=len(self), seed=self.seed
        )
        return ShuffledBatchPlan(batches, self.process_index, self.num_processes)

    def batches_in_order(self, batch_size: int) -> Iterable[Sequence[Any]]:
        return WholeBatches(len(self), batch_size, self.process_index, self.num_processes)


class StreamedSource(RecordSource):
    """Records that are read row group by row group, by threads of the training process; workers collate what they get.

    Args:
        records: the split.
        facts: those of `RecordSource`.
    """

    def __init__(self, records: StreamedDataset, *facts: Any) -> None:
        super().__init__(*facts)
        self.records = records
        self.dataset = GivenRows()

    def __len__(self) -> int:
        return len(self.records)

    def identity(self) -> dict[str, Any]:
        # the order follows from the row groups, so the same records in other ones make another run
        return {"train_records": len(self), "row_groups": self.records.files.layout}

    def has_reports(self) -> bool:
        return any(self.records.reports(self.report_augmentation))  # ends at the first

    def reports_for_tokenizer(self) -> Iterator[str]:
        """Reports of row groups drawn from the seed, up to `MOST_REPORTS_FOR_TOKENIZER`: all, of a smaller corpus."""
        rows = self.records.files.rows_per_group
        groups = record_generator(self.seed, 0, 0, "tokenizer").permutation(len(rows))
        enough = int((rows[groups].cumsum() < MOST_REPORTS_FOR_TOKENIZER).sum()) + 1
        return self.records.reports(self.report_augmentation, groups[:enough].tolist())

    def plan_batches(
        self, batch_size: int, tokenizer: PreTrainedTokenizerBase | None, max_text_length: int
    ) -> BatchPlan:
        order = RowGroupOrder(
            self.records.files.rows_per_group,
            batch_size,
            process_index=self.process_index,
            num_processes=self.num_processes,
            seed=self.seed,
            window=self.records.window,
        )
        return _StreamedBatchPlan(self.records, order)

    def batches_in_order(self, batch_size: int) -> Iterable[Sequence[Any]]:
        number = -(-len(self) // batch_size)
        start, stop = (number * part // self.num_processes for part in (self.process_index, self.process_index + 1))
        stretches = stretches_in_order(
            self.records.files.rows_per_group,
            start * batch_size,
            min(stop * batch_size, len(self)),
            self.records.window,
        )
        return self.records.batches(stretches, batch_size)


class _StreamedBatchPlan:
    def __init__(self, records: StreamedDataset, order: RowGroupOrder) -> None:
        self.records = records
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def of_epoch(self, epoch: int, first_batch: int) -> Iterable[Sequence[Any]]:
        return self.records.batches(self.order.stretches(epoch, first_batch), self.order.batch_size)
