"""Which records go into which batch: shuffled by (seed, epoch), and records with reports of like length together.

Rows are fetched in pretraining_dataset.py and made into tensors in collator.py; nothing here sees a signal or a text.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from .randomness import record_generator


class RecordKey(NamedTuple):
    """What a dataset is asked for: a record, and the epoch it is asked for in.

    The epoch travels with the record because a loader's workers hold copies of the dataset, which `set_epoch` on the
    original does not reach once they run.
    """

    record: int
    epoch: int


class ReportLengthBatchSampler(Sampler[list[RecordKey]]):
    """Batches of records whose reports fall into the same length bucket, so that little padding is needed.

    An epoch is a permutation of the records, cut into windows of `window` batches. Inside a window records are
    ordered by bucket only and stay in random order inside a bucket; then the order of the window's batches is
    drawn. Buckets are
    wide on purpose: ordering by exact length would fill whole batches with one frequent report ("sinus rhythm. normal
    ecg."), which a contrastive loss would then have to tell apart. On PTB-XL the default leaves 40 % fewer tokens
    than no buckets at all, and 1.1 times as many pairs with equal reports (exact ordering: 8 times).

    The batches of an epoch are a function of the constructor's arguments and the epoch. They are batches of the
    whole run: with several processes, let accelerate split them (`DataLoaderConfiguration(split_batches=True)`,
    `batch_size` a multiple of the number of processes), and the same records meet whatever that number is.
    `skip_first_batches` resumes exactly. A last incomplete batch comes last.

    Args:
        lengths: tokens of each record's report; None, or `bucket_width=None`, only shuffles.
        batch_size: records of a batch on all processes together.
        num_records: number of records; needed only where `lengths` is None.
        seed: seed of the run.
        shuffle: False keeps the order of the records and makes no buckets.
        drop_last: leave out the records of an epoch that do not fill a batch; which they are differs by epoch.
        window: batches of a window.
        bucket_width: tokens from one bucket to the next.

    Raises:
        ValueError: if a size is below 1, or if a full batch is asked of fewer records.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray | None,
        batch_size: int,
        *,
        num_records: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        window: int = 50,
        bucket_width: int | None = 32,
    ) -> None:
        if lengths is None and num_records is None:
            raise ValueError("lengths is None, so num_records must say how many records there are.")
        if lengths is not None and num_records not in (None, len(lengths)):
            raise ValueError(f"num_records is {num_records}, but lengths has {len(lengths)} entries.")
        self.num_records = len(lengths) if lengths is not None else int(num_records or 0)
        if batch_size < 1 or window < 1 or (bucket_width is not None and bucket_width < 1):
            raise ValueError(
                "batch_size, window and bucket_width must be 1 or greater, but are "
                f"{batch_size}, {window} and {bucket_width}."
            )
        if self.num_records < (batch_size if drop_last else 1):
            raise ValueError(
                f"{self.num_records} records do not fill a batch of {batch_size}: choose a smaller batch_size, or "
                "drop_last=False."
            )
        self._buckets = None
        if lengths is not None and bucket_width is not None and shuffle:
            self._buckets = (np.asarray(lengths, dtype=np.int64) - 1) // bucket_width
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.window = window
        self.epoch = 0

    @property
    def sampler(self) -> "ReportLengthBatchSampler":
        """Itself: of a batch sampler that it splits, accelerate tells the epoch only to this attribute."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose batches the next iteration gives."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        full, rest = divmod(self.num_records, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[list[RecordKey]]:
        epoch = self.epoch
        for batch in self._batches(epoch):
            yield [RecordKey(int(index), epoch) for index in batch]

    def _batches(self, epoch: int) -> Iterator[np.ndarray]:
        size = self.batch_size
        generator = record_generator(self.seed, epoch, 0, "order")
        order = generator.permutation(self.num_records) if self.shuffle else np.arange(self.num_records)
        full = self.num_records // size * size
        for start in range(0, full, self.window * size):
            window = order[start : min(start + self.window * size, full)]
            batches = np.arange(len(window) // size)
            if self._buckets is not None:
                window = window[np.argsort(self._buckets[window], kind="stable")]
                batches = generator.permutation(batches)
            for batch in batches:
                yield window[batch * size : (batch + 1) * size]
        if full < self.num_records and not self.drop_last:
            yield order[full:]
