"""What may still begin in a program that is to pause, to give up what it does, or to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from provisioner.remote import ending
from provisioner.remote.ending import Steps


def going(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_nothing_begins_during_a_pause() -> None:
    steps = Steps()
    steps.pause(True)
    begins = going(lambda: steps.begin("install", breaks_off=False))
    begins.join(0.3)
    assert begins.is_alive()
    steps.pause(False)
    begins.join(10)
    assert not begins.is_alive()


def test_what_tidies_up_does_not_pause() -> None:
    steps = Steps()
    steps.pause(True)
    steps.begin("", breaks_off=False, last=True)


def test_what_is_given_up_says_nothing_more_and_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr("provisioner.remote.service.finish", lambda: ended.append("finished"))
    monkeypatch.setattr("provisioner.remote.platforms.end_children", lambda: ended.append("children"))
    monkeypatch.setattr(ending, "_ENDED", [])
    steps, told = Steps(), list[str]()
    steps.begin("install", breaks_off=False)
    steps.cut()
    ending.break_off()
    assert ended == ["finished", "children", "finished"], "children once: nothing can be started any more"
    goes = [going(lambda: steps.end(lambda: told.append("ended"))), going(lambda: steps.begin("next", False))]
    for thread in goes:
        thread.join(0.3)
    assert [thread.is_alive() for thread in goes] == [True, True] and told == []
