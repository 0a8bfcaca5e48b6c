"""How shards are handed out and gathered, with an engine in this process in the place of Ray."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.cluster import ClusterOptions, scan_on_cluster
from lsa_onnx.cluster.engine import connected
from lsa_onnx.errors import DataError
from lsa_onnx.report.document import Report
from lsa_onnx.runtime.devices import limit_threads, thread_count
from lsa_onnx.scanning import ScanOptions, scan
from tests import graphs
from tests.scanning.helpers import classes_of, saved, stored


class Lost(Exception):
    """In place of what Ray raises."""


class Engine:
    """Runs calls here, one after the other; ``fate`` may replace the result of a shard."""

    def __init__(self, fate: Callable[[int], BaseException | None]) -> None:
        self.workers = self.threads = 2
        self.shards: list[int] = []
        self._fate = fate

    def run(
        self, function: Callable[..., Any], calls: Mapping[Any, tuple[Any, ...]]
    ) -> Iterator[tuple[Any, Any]]:
        for name, arguments in calls.items():
            shard = arguments[2].shard
            fate = self._fate(shard[0]) if shard else None
            if isinstance(fate, KeyboardInterrupt):
                raise fate
            if shard:
                self.shards.append(shard[0])
            yield name, fate or function(*arguments)


Start = Callable[..., Engine]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Puts an engine in the place of Ray."""
    monkeypatch.chdir(tmp_path)

    def started(fate: Callable[[int], BaseException | None] = lambda _: None) -> Engine:
        engine = Engine(fate)

        @contextmanager
        def in_place(_: object, *, gpu: bool) -> Iterator[Engine]:
            assert not gpu
            yield engine

        monkeypatch.setattr("lsa_onnx.cluster.run.connected", in_place)
        return engine

    yield started
    limit_threads(None)


@pytest.fixture
def options(tmp_path: Path) -> ScanOptions:
    proto = graphs.conv_net()
    saved(tmp_path, proto)
    x = graphs.samples(5, 30, 3, 5, 7)
    data = stored(tmp_path, x=x, y=classes_of(proto, {"x": x}))
    return ScanOptions(data=data, device="cpu", batch=8, perturbations=("salt",))


CLUSTER = ClusterOptions(Path("work"), shards=3)


def run(options: ScanOptions, cluster: ClusterOptions = CLUSTER) -> list[Report]:
    found: list[Report] = []
    scan_on_cluster(["model.onnx"], options, cluster, lambda _, report: found.append(report))
    return found


def test_the_report_is_that_of_one_process(start: Start, options: ScanOptions) -> None:
    engine = start()
    (report,) = run(options)
    assert engine.shards == [1, 2, 3]
    whole = scan("model.onnx", options)
    assert (report.perturbations, report.mvl) == (whole.perturbations, whole.mvl)
    assert report.shard is None
    # What is merged is not kept.
    assert not list(Path("work").rglob("*.npz"))


def test_no_more_shards_than_batches(start: Start, options: ScanOptions) -> None:
    engine = start()
    run(options, ClusterOptions(Path("work"), shards=50))
    assert engine.shards == [1, 2, 3, 4]


def test_an_interrupted_run_goes_on(start: Start, options: ScanOptions) -> None:
    start(lambda shard: KeyboardInterrupt() if shard == 3 else None)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    assert len(list(Path("work").rglob("*.npz"))) == 2
    engine = start()
    (report,) = run(options)
    assert engine.shards == [3]
    assert report.perturbations == scan("model.onnx", options).perturbations


def test_other_choices_do_not_find_those_shards(start: Start, options: ScanOptions) -> None:
    start(lambda shard: KeyboardInterrupt() if shard == 3 else None)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    engine = start()
    run(ScanOptions(**{**vars(options), "seed": 5}))
    assert engine.shards == [1, 2, 3]


def test_shards_of_other_data_are_not_merged(start: Start, options: ScanOptions) -> None:
    start(lambda shard: KeyboardInterrupt() if shard == 3 else None)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    stored(Path(), x=graphs.samples(6, 30, 3, 5, 7))
    start()
    with pytest.raises(DataError, match="not shards of one scan: the data's fingerprint"):
        run(options)


def test_a_worker_that_is_lost_again_and_again(start: Start, options: ScanOptions) -> None:
    start(lambda shard: Lost() if shard == 2 else None)
    with pytest.raises(DataError) as error:
        run(options)
    message = str(error.value)
    assert message.startswith("shard 2 of 3 of 'model.onnx' lost its worker 4 times (Lost)")
    assert "finished shards are kept in 'work': the same command goes on from there" in message
    engine = start()
    assert len(run(options)) == 1
    assert engine.shards == [2]


def test_shards_go_with_a_run_that_names_no_folder(start: Start, options: ScanOptions) -> None:
    start(lambda shard: Lost() if shard == 2 else None)
    with pytest.raises(DataError, match="give --work FOLDER, in which finished shards are kept"):
        run(options, ClusterOptions(shards=3))
    engine = start()
    assert len(run(options, ClusterOptions(shards=3))) == 1
    assert engine.shards == [1, 2, 3]


def test_an_error_of_the_user_is_told_as_it_is(start: Start, options: ScanOptions) -> None:
    start()
    with pytest.raises(DataError, match="'slat'"):
        run(ScanOptions(**{**vars(options), "perturbations": ("slat",)}))


def test_a_worker_runs_as_many_threads_as_are_its_own(
    start: Start, options: ScanOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsa_onnx.runtime.devices._cpus", lambda: 8)
    start()
    run(options)
    assert thread_count() == 2
    limit_threads(None)
    assert thread_count() == 8


def test_ray_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    missing = pytest.raises(DataError, match=r"--cluster local needs Ray, .*'lsa-onnx\[cluster\]'")
    with missing, connected(ClusterOptions(Path("work")), gpu=False):
        pass


def test_no_cluster_at_the_address() -> None:
    pytest.importorskip("ray", reason="needs the extra [cluster]")
    silent = pytest.raises(DataError, match=r"--cluster 127\.0\.0\.1:9: no Ray cluster answers: ")
    with silent, connected(ClusterOptions(Path("work"), "127.0.0.1:9"), gpu=False):
        pass


def test_numbers_that_are_none() -> None:
    with pytest.raises(DataError, match="--workers 0 is not usable"):
        ClusterOptions(Path("work"), workers=0)
    with pytest.raises(DataError, match="--shards -1 is not usable"):
        ClusterOptions(Path("work"), shards=-1)
