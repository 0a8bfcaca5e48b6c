"""The command line in this process: exit code, stdout and stderr of ``lsa-onnx ARGUMENTS``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import final

import numpy as np
import pytest

from lsa_cli import checks
from lsa_cli.main import main
from tests import graphs
from tests.cli.command_line import Cli, Outcome
from tests.cli.refusals import image_folder


@final
class Unchecked:
    """In place of a check, which costs a process: hundreds of tests run commands on models of their own."""

    def __enter__(self) -> Unchecked:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""

    def check(self, *_: object, **__: object) -> None:
        """Find nothing."""


@pytest.fixture(autouse=True)
def _no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the check put it back."""
    monkeypatch.setattr(checks, "start", Unchecked)


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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models and data, also the current one, so that paths are short."""
    monkeypatch.chdir(tmp_path)
    return image_folder(tmp_path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Training that is not shared out: on models this small, threads only wait for each other."""
    import torch  # noqa: TID251 - its number of threads is what this is about

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
