"""A request to end a process is an exception, once, and only where nobody else handles it."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from lsa_onnx.ending import ending_in_order

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@posix
def test_signals_that_somebody_else_handles_stay_theirs() -> None:
    def mine(*_: object) -> None:
        """Handle it."""

    before = signal.signal(signal.SIGTERM, mine), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_in_order():
            assert signal.getsignal(signal.SIGTERM) is mine
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])


@posix
def test_a_second_signal_does_not_interrupt_the_cleaning_up() -> None:
    cleaned = False

    def ended_twice() -> None:
        nonlocal cleaned
        with ending_in_order():
            try:
                os.kill(os.getpid(), signal.SIGHUP)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                cleaned = True

    with pytest.raises(SystemExit) as caught:
        ended_twice()
    assert caught.value.code == 128 + signal.SIGHUP
    assert cleaned


def test_other_threads_leave_signals_alone() -> None:
    found: list[object] = []

    def inside() -> None:
        with ending_in_order():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)] == [signal.SIG_DFL]
