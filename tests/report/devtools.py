"""A page in a browser that is told what to do: keys, screen sizes, themes, paper, pictures of it.

Speaks the DevTools protocol over pipes, so that it needs neither a port nor a client library.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tests.report.browser import BROWSER

_OPTIONS = """--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run
    --hide-scrollbars --remote-debugging-pipe"""
# The browser reads commands from descriptor 3 and answers on 4.
_AS_3_AND_4 = 'exec "$@" 3<&{} 4>&{}'
_KEYS = {"Enter": 13, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36, "ArrowLeft": 37}
_KEYS |= {"ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}


class Tab:
    """One page of a browser; ``complaints`` holds what its console, policy and scripts said."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self.complaints: list[str] = []
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run a command of the protocol and wait for its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._read()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        """Load a page and wait until its scripts ran."""
        self._loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._note(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it is."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys as a person does."""
        for key in keys:
            code = _KEYS.get(key, ord(key[0].upper()))
            named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            typed = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **named, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def show(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the screen in CSS pixels and the preferred theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Write the whole page as a PNG file."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def paper(self) -> bytes:
        """The page as it is printed, a PDF file of A4 sheets."""
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(printed["data"])

    def _read(self) -> dict[str, Any]:
        taken = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser ended"
            taken += byte
        message: dict[str, Any] = json.loads(taken)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        self._loaded = self._loaded or method == "Page.loadEventFired"
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(told))


@contextmanager
def opened(folder: Path) -> Iterator[Tab]:
    """A browser with its profile in ``folder``, for as long as the block runs."""
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    passed = (to_browser, from_browser)
    script = _AS_3_AND_4.format(*passed)
    options = [*_OPTIONS.split(), f"--user-data-dir={folder / 'profile'}", "about:blank"]
    command = ["bash", "-c", script, "bash", str(BROWSER), *options]
    with subprocess.Popen(command, pass_fds=passed, stderr=subprocess.DEVNULL) as browser:
        for end in passed:
            os.close(end)
        with os.fdopen(commands, "wb") as write, os.fdopen(answers, "rb") as read:
            tab = Tab(write, read)
            yield tab
            tab.call("Browser.close")
        browser.wait(20)
