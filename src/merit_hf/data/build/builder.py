"""CorpusBuilder: the base of every corpus, which states its tasks, its records and its card.

The layout of each corpus on disk is in `data/corpora/`, one file per corpus; none is known here by name.

To add a corpus, derive from `CorpusBuilder` and define four methods: `tasks()` (label universe of each task), `work()`
(one small picklable item per record, by split), `row(item)` (that record's row, usually by `row_from_record`) and
`card()` (its facts).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from merit_hf.data.fetch.project import PhysioNetProject
from merit_hf.data.row import SkipRecord, corpus_features

from .card import CardFacts

if TYPE_CHECKING:  # loaded where it is used, so that `--help` answers at once
    import datasets


class CorpusBuilder:
    """Base of every corpus; see the top of this file for what a new one has to define.

    Derive a dataclass from it: its fields are the options of the corpus (paths, sampling rate, number of records).
    """

    project: PhysioNetProject | None = None  # where `--download` finds it, if it is public

    @classmethod
    def files_needed(cls, options: Mapping[str, Any]) -> re.Pattern[str]:
        """Which files of `project` a conversion with these options reads, by their path in it; matched as a whole."""
        raise NotImplementedError

    def tasks(self) -> dict[str, list[str]]:
        """Label universe of each task."""
        raise NotImplementedError

    def extra_features(self) -> dict[str, Any]:
        """Further columns, as features of the datasets library."""
        return {}

    def work(self) -> Mapping[str, Sequence[Any]]:
        """Work items by split (`SPLITS`), one small picklable item per record; worker processes share them out.

        They are read in slices, so a sequence may make them on demand. The `repr` of an item must contain all that
        makes it different from others: a conversion that resumes after a stop finds by it what is finished.
        """
        raise NotImplementedError

    def row(self, item: Any) -> dict[str, Any]:
        """Row of one record: `signal` int16 (leads, samples), every other column as the features say, labels by name.

        Raises:
            SkipRecord: where the record cannot be part of the corpus.
        """
        raise NotImplementedError

    def card(self) -> CardFacts:
        """Facts for the dataset card."""
        raise NotImplementedError

    @property
    def own_splits(self) -> bool:
        """Whether the user may change the splits of the corpus.

        False only for published splits, which are used to compare with others: a patient or a signal that two of them
        share is listed as a known fault in the card. In all other splits it is an error.
        """
        return True

    def left_out(self) -> list[SkipRecord]:
        """Records of the source that are left out on purpose; they are counted and listed like those that fail."""
        return []

    def notes(self) -> list[str]:
        """What a command prints after the conversion: assumptions about the input that its owner should know."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes get only the options and read tables again: sending millions of cells would take longer.
        cached = {name for name in self.__dict__ if isinstance(getattr(type(self), name, None), cached_property)}
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    @property
    def features(self) -> datasets.Features:
        """Columns of the corpus."""
        return corpus_features(self.tasks(), self.extra_features())
