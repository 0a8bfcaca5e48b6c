"""The models of the benchmark run, and what it measures are all steps and the memory of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks import large
from lsa_onnx.model import load_model


@pytest.mark.parametrize("make", [large.chain_of, large.stream_of])
def test_graphs_have_the_nodes_asked_for_and_run(make: Callable[[int], onnx.ModelProto]) -> None:
    proto = make(40)
    onnx.checker.check_model(proto)
    assert len(proto.graph.node) == 40
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert session.run(["y"], {"x": np.ones((1, 4), np.float32)})[0].shape == (1, 4)


def test_the_model_keeps_its_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "WIDTH", 64)
    monkeypatch.setattr(large, "_ROWS_AT_A_TIME", 16)
    model = load_model(large.write_model(tmp_path, 3))
    assert model.parameters == 3 * 64 * 64 + 64 * 10
    assert [Path(file.path).name for file in model.sidecars] == ["weights.data"]
    large.run_plainly(model.path)


def test_every_step_is_timed(tmp_path: Path) -> None:
    onnx.save(large.stream_of(400), tmp_path / "m.onnx")
    assert len(large.step_seconds(tmp_path / "m.onnx")) == len(large.STEPS)


@pytest.mark.skipif(sys.platform != "linux", reason="sizes are read from /proc")
def test_memory_of_a_process_and_its_children_is_watched() -> None:
    hold = "import time; held = b'x' * 50_000_000; time.sleep(0.6)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    peak = large.watched([sys.executable, "-c", start])
    assert 48 <= peak.anonymous <= peak.proportional <= peak.resident < 200
    assert peak.seconds >= 0.6
    with pytest.raises(SystemExit, match="ended with 3"):
        large.watched([sys.executable, "-c", "raise SystemExit(3)"])
