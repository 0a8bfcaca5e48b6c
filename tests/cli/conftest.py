"""The command line in this process: exit code, stdout and stderr of ``lsa-onnx ARGUMENTS``."""

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
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line on stderr."""
        (line,) = self.err.splitlines()
        return line


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``lsa-onnx`` with these arguments."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["lsa-onnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small convolutional classifier of 3×5×7 images with 6 classes."""
    return graphs.save(graphs.conv_net(), tmp_path / "net.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 images with labels, of which the model gets three quarters right."""
    x = graphs.samples(0, 40, 3, 5, 7)
    y = graphs.run(graphs.conv_net(), {"x": x})["y"].argmax(axis=1)
    y[:10] = (y[:10] + 1) % 6
    path = tmp_path / "data.npz"
    np.savez(path, x=x, y=y)
    return path
