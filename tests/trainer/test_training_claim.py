"""A folder is one run's at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer import fit
from lsa_trainer.hardening import harden
from lsa_trainer.training.claim import claimed
from lsa_trainer.training.setup import launch
from tests.trainer import fragile
from tests.trainer.small_runs import Recorder, blobs, mlp, options


class Meanwhile(Recorder):
    """Does something during the third step."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act = act

    def stepped(self, step: int, values: Any) -> None:
        super().stepped(step, values)
        if step == 3:
            with pytest.raises(
                DataError, match=r"another run is at work in '.*run'; wait"
            ) as caught:
                self.act()
            assert "\n" not in str(caught.value)


def test_a_second_hardening_is_refused(model: Path, samples: Path, tmp_path: Path) -> None:
    how, target = fragile.options(samples, epochs=1, checkpoint_every=1), tmp_path / "h.onnx"
    seen = Meanwhile(lambda: harden(model, target, how))
    first = harden(model, target, how, listener=seen)
    assert len(seen.steps) == 3
    assert harden(model, target, how).history == first.history


def test_a_second_fit_is_refused(tmp_path: Path) -> None:
    data, folder = blobs(40), tmp_path / "run"

    def train(listener: Recorder | None = None) -> Any:
        return fit(
            mlp(), data.x, data.y, options=options(epochs=2), folder=folder, listener=listener
        )

    seen = Meanwhile(train)
    assert train(seen).history == train().history
    assert len(seen.steps) == 4


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_failure_gives_it_up(error: type[BaseException], tmp_path: Path) -> None:
    fabric, folder = launch(options(), "cpu"), tmp_path / "a" / "run"

    def failing(*leaves: str) -> None:
        with claimed(folder, fabric):
            for name in leaves:
                (folder / name).write_text("x")
            raise error

    with pytest.raises(error):
        failing()
    assert not folder.exists()
    with pytest.raises(error):
        failing("scan.json")
    with claimed(folder, fabric):
        assert {path.name for path in folder.iterdir()} == {"lock", "scan.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(DataError, match=r"cannot write '.*lock': .*; name another folder"),
        claimed(tmp_path / "run", launch(options(), "cpu")),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "precious"
