"""A streamed split gives the rows that a map-style one has, a few row groups at a time, also over a bad network.

Files of the corpus lie in a folder, behind a loopback web server, and behind one that answers as the Hub does.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from corpus_server import COMMIT, REPOSITORY, corpus_server

from merit_hf import MeritFeatureExtractor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.load import parquet_split
from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.data.load.batch_sampler import RecordKey
from merit_hf.data.load.collator import MeritCollator
from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.load.parquet_split import ParquetSplit
from merit_hf.data.load.row_group_order import RowGroupOrder, stretches_in_order
from merit_hf.data.load.stream import StreamedDataset
from merit_hf.training.loop.loader import GivenRows, make_loader


@pytest.fixture(scope="module")
def map_style(cut_corpus: Path) -> PretrainingDataset:
    return PretrainingDataset(load_corpus(cut_corpus, split="train"))


@pytest.fixture
def streamed(cut_corpus: Path) -> StreamedDataset:
    return StreamedDataset(cut_corpus, "train", window=2)


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_split, "SECONDS_BEFORE_RETRY", (0.0, 0.0, 0.0))


def in_order(dataset: StreamedDataset) -> Any:
    return stretches_in_order(dataset.files.rows_per_group, 0, len(dataset), dataset.window)


def epoch_of(dataset: StreamedDataset, epoch: int = 0, batch_size: int = 8, **process: int) -> list[list[Any]]:
    order = RowGroupOrder(dataset.files.rows_per_group, batch_size, window=dataset.window, **process)
    return list(dataset.batches(order.stretches(epoch), batch_size))


def rows_of(batches: list[list[Any]]) -> list[Any]:
    return [row for batch in batches for row in batch]


def assert_equal_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_array_equal(one[name], value, err_msg=name)
            if isinstance(value, np.ndarray):
                assert one[name].dtype == value.dtype


class TestRows:
    def test_in_order_they_are_those_of_the_map_style_split(
        self, streamed: StreamedDataset, map_style: PretrainingDataset
    ) -> None:
        assert len(streamed) == len(map_style)
        assert len(streamed.files.shards) > 2
        assert_equal_rows(list(streamed.rows(in_order(streamed))), map_style.__getitems__(range(len(map_style))))

    def test_shuffled_they_make_the_tensors_of_the_map_style_split(
        self, streamed: StreamedDataset, map_style: PretrainingDataset
    ) -> None:
        collator = MeritCollator(
            MeritFeatureExtractor(duration=1.0, truncation="random"),
            augmentation=EcgAugmentation(),
            num_mask_units=6,
            seed=3,
        )
        batches = epoch_of(streamed, epoch=2)
        assert len({row["index"] for batch in batches for row in batch}) == len(map_style) // 8 * 8
        for batch in batches[:3]:
            keys = [RecordKey(row["index"], 2) for row in batch]
            found, expected = collator(batch), collator(map_style.__getitems__(keys))
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected)

    def test_two_processes_have_what_one_has(self, cut_corpus: Path) -> None:
        dataset = StreamedDataset(cut_corpus, "train", window=3)
        parts = [epoch_of(dataset, 1, 4, process_index=index, num_processes=2) for index in range(2)]
        assert len(parts[0]) == len(parts[1]) == len(dataset) // 8
        names = [row["ecg_id"] for part in parts for batch in part for row in batch]
        assert len(set(names)) == len(names) == len(dataset) // 8 * 8

    def test_the_first_records_alone(self, cut_corpus: Path, map_style: PretrainingDataset) -> None:
        dataset = StreamedDataset(cut_corpus, "train", max_records=18)
        assert len(dataset) == 18
        assert dataset.files.rows_per_group.tolist() == [4, 4, 4, 1, 4, 1]
        assert_equal_rows(list(dataset.rows(in_order(dataset))), map_style.__getitems__(range(18)))
        assert {row["index"] for batch in epoch_of(dataset, batch_size=6) for row in batch} == set(range(18))
        assert list(dataset.reports()) == map_style.reports()[:18]

    def test_reports_are_those_of_the_map_style_split(
        self, streamed: StreamedDataset, map_style: PretrainingDataset
    ) -> None:
        assert list(streamed.reports()) == map_style.reports()

    def test_loader_workers_change_nothing(self, streamed: StreamedDataset) -> None:
        collator = MeritCollator(MeritFeatureExtractor(duration=2.0), num_mask_units=6)
        order = RowGroupOrder(streamed.files.rows_per_group, 8, window=2)

        def tensors(num_workers: int) -> list[Any]:
            return list(
                make_loader(GivenRows(), streamed.batches(order.stretches(0), 8), collator, num_workers=num_workers)
            )

        for one, other in zip(tensors(0), tensors(2), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


class TestMemory:
    def test_row_groups_are_read_once_and_few_at_a_time(
        self, streamed: StreamedDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[int] = []
        read = ParquetSplit.read

        def counted(self: ParquetSplit, group: int, *arguments: Any) -> Any:
            started.append(group)
            return read(self, group, *arguments)

        monkeypatch.setattr(ParquetSplit, "read", counted)
        done = 0
        for stretch in in_order(streamed):
            done += len(stretch.records)
        finished, number = [], 0
        for stretch in in_order(streamed):
            finished += [number] * len(stretch.records)
            number += len(stretch.groups)
        for row, before in zip(streamed.rows(in_order(streamed)), finished, strict=True):
            # those of the stretch that is given out, and as many again
            assert len(started) - before <= 2 * streamed.window
            assert row["signal"].base is None  # a view would keep its row group
            assert row["adc_gain"].base is None
        assert sorted(started) == list(range(len(streamed.files.rows_per_group)))

    def test_a_resumed_epoch_does_not_read_what_lies_behind(
        self, streamed: StreamedDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = epoch_of(streamed)
        groups: list[int] = []
        read = ParquetSplit.read
        monkeypatch.setattr(
            ParquetSplit, "read", lambda self, group, *rest: groups.append(group) or read(self, group, *rest)
        )
        order = RowGroupOrder(streamed.files.rows_per_group, 8, window=2)
        rest = list(streamed.batches(order.stretches(0, 4), 8))
        assert_equal_rows(rows_of(rest), rows_of(whole[4:]))
        assert len(groups) < len(streamed.files.rows_per_group) / 2

    def test_no_thread_outlives_a_stream_that_is_left(self, streamed: StreamedDataset) -> None:
        rows = streamed.rows(in_order(streamed))
        next(rows)
        rows.close()
        deadline = time.monotonic() + 10
        while any(thread.name.startswith("row-groups") for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


class TestFaults:
    @staticmethod
    def fail(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> list[str]:
        """Lets the first attempts to open a shard fail."""
        opened, failed = ParquetSplit._opened, []

        @contextlib.contextmanager
        def failing(self: ParquetSplit, shard: str) -> Any:
            if len(failed) < times:
                failed.append(shard)
                raise error
            with opened(self, shard) as file:
                yield file

        monkeypatch.setattr(ParquetSplit, "_opened", failing)
        return failed

    @pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError(), RuntimeError("session closed")])
    def test_a_fault_that_passes_changes_nothing(
        self,
        streamed: StreamedDataset,
        monkeypatch: pytest.MonkeyPatch,
        no_delay: None,
        error: Exception,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        expected = rows_of(epoch_of(streamed))
        failed = self.fail(monkeypatch, 3, error)
        with caplog.at_level(logging.WARNING):
            assert_equal_rows(rows_of(epoch_of(streamed)), expected)
        assert len(failed) == len(caplog.records) == 3
        assert "could not be read" in caplog.text
        assert "trying again" in caplog.text

    def test_a_fault_that_stays_names_shard_and_row_group(
        self, streamed: StreamedDataset, monkeypatch: pytest.MonkeyPatch, no_delay: None
    ) -> None:
        self.fail(monkeypatch, 10**6, ConnectionResetError("reset by peer"))
        given = []
        with pytest.raises(OSError, match=r"row group \d+ of .*/train-0000\d-of-.* could not be read after 4"):
            given.extend(streamed.rows(in_order(streamed)))
        assert given == []

    def test_a_shard_that_is_gone_or_another_now(self, cut_corpus: Path, tmp_path: Path, no_delay: None) -> None:
        folder = tmp_path / "corpus"
        shutil.copytree(cut_corpus, folder)
        dataset = StreamedDataset(folder, "train")
        shards = sorted((folder / "data").glob("train-*.parquet"))
        whole = shards[1].read_bytes()
        pq.write_table(pq.read_table(shards[1]), shards[1], row_group_size=3)
        with pytest.raises(ValueError, match=r"row group 0 of .* has 3 rows, but had 4 .*the corpus has changed"):
            list(dataset.rows(in_order(dataset)))
        shards[1].write_bytes(whole[:-100])
        with pytest.raises(OSError, match=r"row group 0 of .*could not be read after 4 attempts"):
            list(dataset.rows(in_order(dataset)))
        shards[1].unlink()
        with pytest.raises(OSError, match=r"row group 0 of .*after 4 attempts .*No such file"):
            list(dataset.rows(in_order(dataset)))

    def test_what_is_no_corpus(self, cut_corpus: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no corpus"):
            StreamedDataset(tmp_path, "train")
        with pytest.raises(ValueError, match="has no split 'training'; it has test, train, validation"):
            StreamedDataset(cut_corpus, "training")
        with pytest.raises(ValueError, match=r"URL that cannot be opened: .*gopher"):
            StreamedDataset("gopher://127.0.0.1/corpus", "train")
        with pytest.raises(ValueError, match="should be hf://datasets/owner/name"):
            StreamedDataset("hf://datasets/corpus", "train")
        folder = tmp_path / "corpus"
        shutil.copytree(cut_corpus, folder)
        for shard in (folder / "data").glob("train-*.parquet"):
            pq.write_table(pq.read_table(shard).drop_columns("adc_gain"), shard)
        with pytest.raises(ValueError, match=r"train-00000.* lacks the columns \['adc_gain'\]"):
            StreamedDataset(folder, "train")


class TestNetwork:
    def test_over_http_that_breaks_off(
        self, cut_corpus: Path, map_style: PretrainingDataset, no_delay: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        faults = ["footer"]
        with corpus_server(cut_corpus, faults) as url:
            dataset = StreamedDataset(url, "train", window=2)
            assert faults == []
            faults.append("row group")
            assert_equal_rows(list(dataset.rows(in_order(dataset))), map_style.__getitems__(range(len(map_style))))
            assert faults == []
            with pytest.raises(ValueError, match="no split 'training'; it has test, train, validation"):
                StreamedDataset(url, "training")
        assert "trying again" in caplog.text
        with corpus_server(cut_corpus, []) as gone:
            pass
        with pytest.raises(OSError, match=r"http://127.0.0.1:.* could not be read after 4 attempts"):
            StreamedDataset(gone, "train")

    def test_from_the_hub_at_the_revision_of_now(self, cut_corpus: Path, tmp_path: Path) -> None:
        """In a process of its own, which at its end leaves a stream half read: that must neither hang nor abort it."""
        program = """
            import sys
            from merit_hf.data.load.row_group_order import stretches_in_order
            from merit_hf.data.load.stream import StreamedDataset
            for name in sys.argv[1:]:
                dataset = StreamedDataset(name, "train")
                rows = dataset.rows(stretches_in_order(dataset.files.rows_per_group, 0, len(dataset)))
                print(*(row["ecg_id"] for row in rows))
                print(dataset.files.shards[0], len(list(dataset.reports())))
            left = dataset.rows(stretches_in_order(dataset.files.rows_per_group, 0, len(dataset)))
            next(left)
        """
        names = [REPOSITORY, f"hf://datasets/{REPOSITORY}", f"hf://datasets/{REPOSITORY}@main"]
        with corpus_server(cut_corpus, []) as url:
            environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
            environment.update({"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"})
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(program), *names],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        split = load_corpus(cut_corpus, split="train")
        where = f"datasets/{REPOSITORY}@{COMMIT}/data/train-00000-of-00004.parquet {len(split)}"
        assert done.stdout.splitlines() == [" ".join(split["ecg_id"][:]), where] * 3
