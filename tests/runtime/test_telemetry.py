"""ONNX Runtime tells nobody about the models of this tool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]
_RUN = """
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.session import Session
from tests import graphs
Session(graphs.elu_mlp(), resolve_device("cpu")).run({"x": graphs.samples(0, 3, 2)})
import os
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("0", "0")])
def test_telemetry_is_off_unless_it_is_asked_for(given: str | None, found: str) -> None:
    code = "import os, lsa_onnx.runtime.session; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert _python(code, ORT_DISABLE_TELEMETRY=given) == found


def test_a_session_leaves_no_identifier_behind(tmp_path: Path) -> None:
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    # ONNX Runtime keeps quiet where it takes itself to be tested.
    quiet = dict.fromkeys(("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"))
    _python(_RUN, ORT_DISABLE_TELEMETRY=None, **places, **quiet)
    assert list(tmp_path.rglob("*")) == []


def _python(code: str, **variables: str | None) -> str:
    """What ``code`` prints, in an environment with these variables; ``None`` takes one away."""
    environment: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(_REPOSITORY), **variables}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={name: text for name, text in environment.items() if text is not None},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
