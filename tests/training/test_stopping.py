from __future__ import annotations

import os
import signal
import threading

import pytest

from sslam.training.stopping import Ending, Limits, Signals


def test_steps_are_those_of_the_run() -> None:
    limits = Limits(steps=10)
    assert limits.reached(9) is None
    assert limits.reached(10) is Ending.STEPS


def test_minutes_are_those_of_the_call() -> None:
    now_s = [100.0]
    limits = Limits(minutes=2, clock=lambda: now_s[0], started_s=100.0)
    assert limits.reached(10**9) is None
    now_s[0] += 119.9
    assert limits.reached(0) is None
    now_s[0] += 0.2
    assert limits.reached(0) is Ending.MINUTES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_is_noted_and_a_second_interrupts(number: int) -> None:
    before = signal.getsignal(number)
    with Signals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    entered: list[bool] = []

    def enter() -> None:
        with Signals() as signals:
            entered.append(signals.received is None)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]
