"""A request to end, as an exception: what cleans up after errors then cleans up after it, too."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")
# What shells add to the number of the signal that ended a process.
_SIGNALLED = 128


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP leave by ``SystemExit``, as SIGINT does by ``KeyboardInterrupt``.

    Signals that somebody handles or ignores (``nohup``) stay as they are; so do all of them outside of
    the main thread, where Python handles none.
    """
    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        taken = [each for each in known if signal.getsignal(each) is signal.SIG_DFL]

    def end(number: int, _frame: Any) -> None:
        # A second request must not interrupt the cleaning up.
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(_SIGNALLED + number)

    for each in taken:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)
