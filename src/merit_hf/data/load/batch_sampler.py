"""Which records are trained on together: shuffled by (seed, epoch), with reports of like length in one batch.

Rows are fetched in dataset.py and made into tensors in collator.py; nothing here sees a signal or a text.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from merit_hf.data.randomness import record_generator


class RecordKey(NamedTuple):
    """What a dataset is asked for: a record, by its position, and the epoch it is asked for in.

    The epoch travels with the record because a loader's workers hold copies of the dataset, which `set_epoch` on the
    original does not reach once they run.
    """

    record: int
    epoch: int


class ReportLengthBatchSampler(Sampler[list[RecordKey]]):
    """Training batches of records whose reports fall into the same length bucket, so that little padding is needed.

    An epoch is a permutation of the records, cut into windows of `window` batches. Inside a window records are ordered
    by bucket only and stay in random order inside a bucket; then the order of the window's batches is drawn. Buckets
    are wide on purpose: ordering by exact length would fill whole batches with one frequent report ("sinus rhythm.
    normal ecg."), which a contrastive loss would then have to tell apart.

    The batches of an epoch are a function of the arguments and the epoch alone, so a run can resume at any of them.
    They are batches of the whole run: with several processes each takes its part of every batch, and the same records
    meet whatever the number of processes. Records that do not fill a batch are left out, others in each epoch.

    Args:
        lengths: tokens of each record's report; None makes no buckets.
        batch_size: records of a batch, on all processes together.
        num_records: number of records; needed only where `lengths` is None.
        seed: seed of the run.
        window: batches of a window.
        bucket_width: tokens from one bucket to the next.

    Raises:
        ValueError: if a size is below 1, or if the records do not fill a batch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray | None,
        batch_size: int,
        *,
        num_records: int | None = None,
        seed: int = 0,
        window: int = 50,
        bucket_width: int = 32,
    ) -> None:
        if lengths is not None and num_records not in (None, len(lengths)):
            raise ValueError(f"num_records is {num_records}, but lengths has {len(lengths)} entries.")
        if lengths is None and num_records is None:
            raise ValueError("lengths is None, so num_records must say how many records there are.")
        self.num_records = len(lengths) if lengths is not None else int(num_records or 0)
        for name, value in (("batch_size", batch_size), ("window", window), ("bucket_width", bucket_width)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or greater, but is {value}.")
        if self.num_records < batch_size:
            raise ValueError(
                f"{self.num_records} records do not fill one batch of {batch_size} (all processes together): choose a "
                "smaller batch size."
            )
        # [CLS] and [SEP] are part of a length, so no report has length 0; bucket n ends at n * bucket_width tokens.
        self._buckets = None if lengths is None else (np.asarray(lengths, dtype=np.int64) - 1) // bucket_width
        self.batch_size = batch_size
        self.seed = seed
        self.window = window
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose batches the next iteration gives."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return self.num_records // self.batch_size

    def __iter__(self) -> Iterator[list[RecordKey]]:
        epoch, size = self.epoch, self.batch_size
        generator = record_generator(self.seed, epoch, 0, "order")
        order = generator.permutation(self.num_records)[: len(self) * size]
        for start in range(0, len(order), self.window * size):
            records = order[start : start + self.window * size]
            batches = np.arange(len(records) // size)
            if self._buckets is not None:
                records = records[np.argsort(self._buckets[records], kind="stable")]
                batches = generator.permutation(batches)
            for batch in batches:
                yield [RecordKey(int(record), epoch) for record in records[batch * size : (batch + 1) * size]]
