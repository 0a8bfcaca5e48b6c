"""What a hardening cannot end with is known before it trains, and leaves nothing."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.lib import format as npy_format

from lsa_onnx.errors import DataError, LsaError, ModelError
from lsa_trainer.hardening import harden
from tests import graphs
from tests.graphs import node, value, weight
from tests.trainer import fragile
from tests.trainer.fragile import options
from tests.trainer.small_runs import Recorder


class Attacked(Recorder):
    """Counts the attacks of verdicts; may be interrupted after a step."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__()
        self.attacks, self.stop = 0, stop

    def begin(self, stage: str, total: int) -> None:
        self.attacks += stage == "pgd eps 0.1"

    def stepped(self, step: int, values: Any) -> None:
        super().stepped(step, values)
        if step == self.stop:
            raise KeyboardInterrupt


def with_a_determinant() -> onnx.ModelProto:
    """torch has a gradient of Det, the graph of gradients for ONNX Runtime has none."""
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Reshape", ["r", "square"], ["m"]),
        node("Det", ["m"], ["d"]),
        node("Unsqueeze", ["d", "last"], ["column"]),
        node("Gemm", ["r", "v"], ["c"]),
        node("Add", ["c", "column"], ["y"]),
    ]
    held = {
        "w": 0.3 * weight(1, 6, 9),
        "v": 0.3 * weight(2, 9, 3),
        "square": np.array([-1, 3, 3]),
        "last": np.array([1]),
    }
    return graphs.model(nodes, [value("x", ["N", 6])], [value("y", ["N", 3])], held)


def test_an_attack_without_a_gradient(samples: Path, tmp_path: Path) -> None:
    model, target = graphs.save(with_a_determinant(), tmp_path / "det.onnx"), tmp_path / "h.onnx"
    with pytest.raises(
        ModelError,
        match=r"'pgd' in ONNX .*no gradient: Det 'n_d' .*give --verify-attack square, which",
    ) as caught:
        harden(model, target, options(samples))
    assert "\n" not in str(caught.value)
    assert "--attack" not in str(caught.value)
    assert not (tmp_path / "h.onnx.run/log.jsonl").exists()
    how = options(samples, verify_attack="square", verify_steps=9, epochs=1, force=True)
    assert harden(model, target, how).comparison.attack == "square"


def test_too_little_memory_for_the_verdict(model: Path, samples: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--max-memory 1\.0 KiB is too little"):
        harden(model, tmp_path / "h.onnx", options(samples, max_memory_bytes=1024))
    assert not (tmp_path / "h.onnx.run/log.jsonl").exists()


class TestTheOriginal:
    """It is attacked once, before training."""

    def test_not_again_where_a_run_goes_on(
        self, model: Path, samples: Path, tmp_path: Path
    ) -> None:
        how, first, second = options(samples), Attacked(stop=13), Attacked()
        with pytest.raises(KeyboardInterrupt):
            harden(model, tmp_path / "h.onnx", how, listener=first)
        found = harden(model, tmp_path / "h.onnx", how, listener=second)
        assert (first.attacks, second.attacks) == (1, 1)
        assert found.comparison == harden(model, tmp_path / "b.onnx", how).comparison

    def test_not_where_a_run_is_refused(self, model: Path, samples: Path, tmp_path: Path) -> None:
        how, seen = options(samples, epochs=1, force=True), Attacked()
        harden(model, tmp_path / "h.onnx", how)
        config = (tmp_path / "h.onnx.run/config.toml").read_bytes()
        with pytest.raises(DataError, match=r"has lr = 0\.1 and this one 0\.2"):
            harden(model, tmp_path / "h.onnx", dataclasses.replace(how, lr=0.2), listener=seen)
        assert seen.attacks == 0
        assert (tmp_path / "h.onnx.run/config.toml").read_bytes() == config

    @pytest.mark.parametrize("changes", [{"verify_steps": 7}, {"fresh": True}], ids="".join)
    def test_again_where_the_answer_may_be_another(
        self, changes: dict[str, Any], model: Path, samples: Path, tmp_path: Path
    ) -> None:
        how, seen = options(samples, epochs=1, force=True), Attacked()
        harden(model, tmp_path / "h.onnx", how)
        harden(model, tmp_path / "h.onnx", dataclasses.replace(how, **changes), listener=seen)
        assert seen.attacks == 2

    @pytest.mark.parametrize(
        "damage", [lambda text: text[:50], lambda _: "[]", lambda text: text.replace('"n"', '"m"')]
    )
    def test_again_where_the_record_is_damaged(
        self, damage: Any, model: Path, samples: Path, tmp_path: Path
    ) -> None:
        how, seen = options(samples, epochs=1, force=True), Attacked()
        first = harden(model, tmp_path / "h.onnx", how)
        record = tmp_path / "h.onnx.run/before.json"
        intact = record.read_text("ascii")
        record.write_text(damage(intact), "ascii")
        again = harden(model, tmp_path / "h.onnx", how, listener=seen)
        assert seen.attacks == 2
        assert again.comparison == first.comparison
        assert json.loads(record.read_text("ascii")) == json.loads(intact)

    def test_without_classes(self, tmp_path: Path) -> None:
        arrays = fragile.data(60)
        arrays["y"] = arrays["x"][:, :3] * 0.5
        data = fragile.save_data(tmp_path / "r.npz", arrays)
        proto = fragile.mlp()
        proto.graph.node.append(node("Reshape", ["y", "grid"], ["z"]))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 3, 1]), "grid"))
        proto.graph.output[0].CopyFrom(value("z", ["N", 3, 1]))
        model = graphs.save(proto, tmp_path / "r.onnx")
        how = options(data, epochs=1, force=True)
        first = harden(model, tmp_path / "h.onnx", how).comparison
        kept = json.loads((tmp_path / "h.onnx.run/before.json").read_text("ascii"))
        assert first.measure == "fit"
        assert kept["robust"] == dataclasses.asdict(first.robust_before)
        assert harden(model, tmp_path / "h.onnx", how).comparison == first


def test_data_of_the_model_are_no_output(samples: Path, tmp_path: Path) -> None:
    model = graphs.save_external(fragile.mlp(), tmp_path / "m.onnx")
    before = (tmp_path / "weights.data").read_bytes()
    with pytest.raises(DataError, match=r"weights\.data' is .*, a file of the model"):
        harden(model, tmp_path / "weights.data", options(samples))
    assert (tmp_path / "weights.data").read_bytes() == before
    assert not (tmp_path / "weights.data.run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_what_is_no_regular_file_is_no_output(model: Path, samples: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"pipe': this is no regular file: name another file"):
        harden(model, pipe, options(samples))
    assert not (tmp_path / "pipe.run").exists()


@pytest.mark.parametrize("made", [False, True], ids=["new folder", "folder that was there"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu"}, "device 'tpu' is not known"),
        ({"mvl": (), "eps": "200%"}, "eps 2 is larger"),
        ({"mvl": ("nothing",)}, "layer 'nothing'"),
        ({"report": Path("absent.json"), "mvl": ()}, r"absent\.json"),
        ({"samples": 9}, "9 samples are too few"),
    ],
)
def test_errors_leave_no_empty_folder(
    changes: dict[str, Any], message: str, made: bool, model: Path, samples: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "h.onnx.run"
    if made:
        folder.mkdir()
    with pytest.raises(LsaError, match=message):
        harden(model, tmp_path / "h.onnx", options(samples, **changes))
    assert folder.exists() == made


def test_a_folder_that_cannot_be_made(model: Path, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"cannot make the folder .*file.run"):
        harden(model, tmp_path / "h.onnx", options(samples), folder=tmp_path / "file/run")


def test_a_disk_that_is_full_names_the_file(
    model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(npy_format, "write_array", full)
    with pytest.raises(DataError, match=r"verification\.npz': the disk is full: free some space"):
        harden(model, tmp_path / "h.onnx", options(samples))
    names = {path.name for path in (tmp_path / "h.onnx.run").iterdir()}
    assert names == {"config.toml", "lock"}
