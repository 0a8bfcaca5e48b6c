"""A page in a real browser, for the tests of whatever writes HTML."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")


def browse(page: Path) -> str:
    """The document after the page's scripts ran in a browser, which must have had no complaint."""
    options = """--headless --no-sandbox --disable-gpu --disable-background-networking
        --no-first-run --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"""
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(BROWSER), *options.split(), profile, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout
