"""Which of several processes this is, where ``torchrun`` started them."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this one writes results and reports."""
    return os.environ.get("RANK", "0") == "0"


def is_first_here() -> bool:
    """Whether this one is the first on its machine, and speaks for all whose messages appear there."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
