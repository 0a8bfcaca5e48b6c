"""What a run that is ended from outside leaves, and what the next one does about it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lsa_trainer.hardening import harden
from lsa_trainer.hardening.drafts import draft_prefix
from tests.trainer.fragile import options
from tests.trainer.small_runs import Recorder

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


class AtTheVerdict(Recorder):
    """Does something while the verdict on the new file is passed."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act, self.trained = act, False

    def training_ended(self) -> None:
        self.trained = True

    def begin(self, stage: str, total: int) -> None:
        if self.trained and stage == "pgd eps 0.1":
            self.act()


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("reexport", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_request_to_end_leaves_no_draft(
    reexport: bool, number: signal.Signals, model: Path, samples: Path, tmp_path: Path
) -> None:
    how, target = options(samples, epochs=1, reexport=reexport), tmp_path / "h.onnx"
    drafts: list[Path] = []

    def end() -> None:
        drafts.extend(hidden(tmp_path))
        os.kill(os.getpid(), number)

    with pytest.raises(SystemExit) as caught:
        harden(model, target, how, listener=AtTheVerdict(end))
    assert caught.value.code == 128 + number
    assert len(drafts) == 1
    assert hidden(tmp_path) == []
    assert signal.getsignal(number) is signal.SIG_DFL
    assert harden(model, target, how).steps == 3


def test_drafts_of_a_killed_run_are_removed(model: Path, samples: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "h.onnx", tmp_path / "other.onnx"
    how = options(samples, epochs=1, force=True)

    def copy() -> None:
        """A kill now would leave what is there now."""
        (draft,) = (path for path in hidden(tmp_path) if "copy" not in path.name)
        shutil.copytree(draft, draft.with_name(f"{draft.name}copy"))

    for each in (target, other):
        harden(model, each, how, listener=AtTheVerdict(copy))
    assert len(hidden(tmp_path)) == 2
    harden(model, target, how)
    (left,) = hidden(tmp_path)
    assert left.name.startswith(draft_prefix(tmp_path / "other.onnx.run"))
    # What was moved aside for a new file may be the only copy there is.
    (left / "earlier").mkdir()
    harden(model, other, how)
    assert hidden(tmp_path) == [left]
