"""Private folders in which new files are made, and what a kill leaves of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def draft_prefix(folder: Path) -> str:
    """How the names of a run's drafts begin; drafts of runs in other folders are named otherwise."""
    return f".lsa-onnx-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]}-"


def remove_drafts(target: Path, folder: Path) -> None:
    """Remove drafts of ``target`` that a killed run in ``folder`` left.

    The folder must be claimed: only then is nobody at work on them. One with data files of an earlier
    ``target``, which a kill in the midst of publishing leaves, stays: those may be the only copy.
    """
    for draft in Path(os.path.realpath(target)).parent.glob(f"{draft_prefix(folder)}*"):
        if not (draft / "earlier").exists():
            shutil.rmtree(draft, ignore_errors=True)
