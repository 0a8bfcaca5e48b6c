"""Starting and ending the other process of a check, on every system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Takes the parent's places to look for modules, instead of what -m or an environment would add.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from lsa_onnx.checking.child import main; main()"
)
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")


def start(workspace: Path, errors: Path) -> subprocess.Popen[bytes]:
    """A child that waits for its request, with pipes to its standard input and output.

    Args:
        workspace: Its working directory, and where its temporary files go.
        errors: File of its standard error.
    """
    # The current folder, which an empty entry stands for, will not be that of the child.
    places = [os.path.abspath(each) for each in sys.path]  # noqa: PTH100 - resolve() would follow links
    environment = os.environ | dict.fromkeys(_TEMPORARY, str(workspace))
    with errors.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _START, json.dumps(places)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=workspace,
            env=environment,
            # A group of its own: an interrupt from the keyboard is ours to handle, and its children end with it.
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and whatever it started, close the pipes, and wait for its end."""
    if process.poll() is None:
        with suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        # A request that nobody read cannot be flushed.
        with suppress(OSError):
            if stream is not None:
                stream.close()


def ending(code: int) -> str:
    """How a process ended that was not killed by us: "crashed (SIGSEGV)"."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by the system ({name})" if name == "SIGKILL" else f"crashed ({name})"
