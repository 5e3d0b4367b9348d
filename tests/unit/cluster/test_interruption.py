"""Signals, the end of the time, and the grace that both leave to the epochs in flight."""

import os
import signal
import sys
import threading
import time

import pytest

from raynas_snn.cluster.driver.interruption import Interruption

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handlers():
    return [signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)]


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = handlers()
    yield
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("number", SIGNALS)
def test_without_trials_a_signal_ends_the_sweep_at_once(number):
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt), interruption.by_signals():
        signal.raise_signal(number)
    assert interruption.reason == "Interrupted"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_until_each_trial_has_reported_once_more(number):
    interruption = Interruption()
    with interruption.by_signals(), interruption.graceful(lambda: ["a", "b"]):
        interruption.check()
        assert interruption.news() is None
        signal.raise_signal(number)
        assert interruption.has_come
        news = "Interrupted: up to 20 s for the epochs in flight; Ctrl-C again to stop at once"
        assert [interruption.news(), interruption.news()] == [news, None]
        for uid in ("a", "c", "a"):
            interruption.reported(uid)
            interruption.check()
        interruption.reported("b")
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_a_second_signal_ends_it_at_once_but_not_an_echo_of_the_first():
    interruption = Interruption()
    with interruption.by_signals(), interruption.graceful(lambda: ["a"]):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # as `timeout` sends it: to the process, then to its group
        interruption.check()
        time.sleep(0.4)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_terminal_that_is_gone_cannot_ask_for_haste():
    interruption = Interruption()
    with interruption.by_signals(), interruption.graceful(lambda: ["a"]):
        signal.raise_signal(signal.SIGHUP)
        time.sleep(0.4)
        signal.raise_signal(signal.SIGHUP)  # from the shell
        interruption.check()


def test_the_grace_ends_although_nobody_checks():
    interruption = Interruption(grace=0.1)
    with interruption.by_signals(), interruption.graceful(lambda: ["a"]):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)


def test_the_deadline_gives_the_same_grace():
    interruption = Interruption(0.05 / 3600)
    with interruption.by_signals(), interruption.graceful(lambda: ["a"]):
        time.sleep(0.2)
        assert interruption.news() == (
            "Time is up after 1.38889e-05 h: up to 20 s for the epochs in flight; Ctrl-C again to stop at once"
        )
        interruption.reported("a")
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_a_deadline_counts_from_when_the_sweep_began():
    interruption = Interruption(1.0, begun=time.monotonic() - 3601)
    with pytest.raises(KeyboardInterrupt), interruption.by_signals(), interruption.graceful(list):
        time.sleep(10)


def test_a_deadline_that_is_far_off_leaves_no_trace():
    for hours in (None, 1.0):
        interruption = Interruption(hours)
        with interruption.by_signals(), interruption.graceful(list):
            pass
        assert not interruption.has_come


def test_the_loss_of_ray_ends_whatever_the_main_thread_does():
    interruption = Interruption()
    with interruption.by_signals(), interruption.graceful(lambda: ["a"]):
        threading.Timer(0.1, interruption.ray_is_gone).start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    assert interruption.cause == "ray"


def test_what_comes_while_the_sweep_is_ending_is_ignored():
    interruption = Interruption()
    with interruption.by_signals():
        interruption.close()
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_that_was_swallowed_comes_again(number, monkeypatch):
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: swallowed.append(lost.exc_type))

    class Swallows:
        def __del__(self):
            signal.raise_signal(number)
            time.sleep(0.01)

    interruption = Interruption()
    with interruption.by_signals():
        interruption.check()
        Swallows()
        assert swallowed == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
