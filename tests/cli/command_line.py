"""Running the command line inside the test process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lsa_cli.main import main
from tests import graphs


@dataclass(frozen=True)
class Outcome:
    """Exit code and both streams."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs ``lsa-onnx`` with the given words."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["lsa-onnx", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        streams = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Outcome(code, streams.out, streams.err)

    return run


def image_folder(folder: Path) -> Path:
    """``folder`` with a model of 3×5×7 images, 12 samples with labels, and broken files."""
    proto = graphs.conv_net()
    graphs.save(proto, folder / "model.onnx")
    whole = proto.SerializeToString()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("this is no model\n", encoding="utf-8")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "nothing").mkdir()
    x = graphs.samples(0, 12, 3, 5, 7)
    y = graphs.run(proto, {"x": x})["y"].argmax(axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "shape.npz", x=x[:, :, :4], y=y)
    np.savez(folder / "nan.npz", x=np.where(x > 0.99, np.nan, x), y=y)
    np.savez(folder / "range.npz", x=x * 300, y=y)
    np.savez(folder / "few.npz", x=x, y=y[:11])
    np.savez(folder / "other.npz", x=x, y=y + 6)
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(folder / "labels.npy", y[:5])
    np.save(folder / "wrong.npy", (y + 1) % 6)
    np.save(folder / "right.npy", y)
    (folder / "report.json").write_text("an earlier report\n", encoding="utf-8")
    return folder
