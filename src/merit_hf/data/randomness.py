"""Random numbers of training, drawn by counter: what a record gets depends on (seed, epoch, record, stream) alone.

Only the keys are made here. The augmentations, the sampler and the collator draw the numbers.
"""

import hashlib
from functools import lru_cache

import numpy as np


class _PhiloxKey(np.random.bit_generator.ISeedSequence):
    """Hands Philox a ready key; without it every construction would first ask the operating system for entropy."""

    def __init__(self, key: np.ndarray) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: np.typing.DTypeLike = np.uint32) -> np.ndarray:
        if n_words != 2 or np.dtype(dtype) != np.uint64:
            raise ValueError(
                f"a Philox key has 2 words of uint64; {n_words} words of {np.dtype(dtype)} were asked for."
            )
        return self._key


@lru_cache(maxsize=256)
def _philox_key(seed: int, stream: str) -> _PhiloxKey:
    name = hashlib.blake2b(stream.encode(), digest_size=8).digest()
    return _PhiloxKey(np.array([seed, int.from_bytes(name, "little")], dtype=np.uint64))


def record_generator(seed: int, epoch: int, index: int, stream: str) -> np.random.Generator:
    """A generator for one record, one epoch and one purpose.

    Philox-4x64 with key (seed, hash of `stream`) and start counter (0, index, epoch, 0): different arguments give
    streams that do not meet before 2**64 blocks, and no state is shared, so the numbers are the same whatever the
    batch, the number of loader workers or the number of processes. Costs a few microseconds.

    Args:
        seed: seed of the run, 0 or greater.
        epoch: epoch, 0 or greater.
        index: position of the record in its dataset, 0 or greater.
        stream: name of the purpose ("augmentation", "mask" ...), so that purposes do not disturb each other.

    Raises:
        ValueError: if `seed`, `epoch` or `index` is negative.
    """
    if seed < 0 or epoch < 0 or index < 0:
        raise ValueError(f"seed, epoch and index must be 0 or greater, but are {seed}, {epoch} and {index}.")
    counter = np.array([0, index, epoch, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(_philox_key(int(seed), stream), counter=counter))  # type: ignore[arg-type]
