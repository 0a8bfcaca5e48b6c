"""The files of a study, and who is at work on which of its trials."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, Timeout

from lsa_trainer.folder import LOCK
from lsa_trainer.training.checkpoint import make_folder
from lsa_trainer.training.claim import acquired

# Of the study.
TRIALS, STUDY, ORIGINAL, JOURNAL = "trials.json", "study.json", "original.json", "journal.log"
TRAINING, SCORING = "train.npz", "validation.npz"
# Locked while a study is opened, and while a setting is drawn.
OPENING, ASKING = "opening", "asking"
# Of a trial.
SETTING, RECORD = "setting.json", "trial.json"
# Of one of its seeds.
HARDENED, EVALUATION = "hardened.onnx", "evaluation.json"
_TRIAL = "trial-"


def place(folder: Path, trial: str) -> Path:
    """The folder of a trial."""
    return folder / f"{_TRIAL}{trial}"


def trials_with(folder: Path, file: str) -> dict[str, Path]:
    """By name, in order, the trials that have a file, and its path."""
    paths = sorted(folder.glob(f"{_TRIAL}*/{file}"))
    return {path.parent.name.removeprefix(_TRIAL): path for path in paths}


def locked(folder: Path) -> BaseFileLock | None:
    """The lock of a folder, which is made where it is missing; ``None`` if another process holds it.

    Also a kill gives it up.

    Raises:
        DataError: The folder cannot be made or written to.
    """
    make_folder(folder)
    try:
        return acquired(folder / LOCK, timeout=0)
    except Timeout:
        return None
