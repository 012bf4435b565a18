"""The lock on a host: who has it, whether what was seen before still counts, and whom to end that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.ear import IDLE_LIMIT
from provisioner.remote import turn
from provisioner.remote.failure import Failure
from provisioner.remote.main import Conversation
from provisioner.remote.platforms.linux import Linux
from provisioner.remote.turn import Busy, Turn, is_stale, read
from tests.waiting import soon

from .remote_host import World

HOLD = """
import sys, time
from provisioner.remote.platforms.linux import Linux
held = Linux().lock(sys.argv[1], 0)
print("held", flush=True)
while True:
    time.sleep(0.1)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="another system's processes")


@pytest.fixture
def site(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def holder(site: World) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that holds the lock."""
    site.host().folder()
    process = subprocess.Popen([sys.executable, "-c", HOLD, site.host().path("lock")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def leave(site: World, **note: Any) -> None:
    """Write a note as another program would."""
    now = time.time()
    told = {"pid": os.getpid(), "who": "kim@desk", "verb": "apply", "since": now, "alive": now, "ended": None, **note}
    Path(site.host().path("lock")).write_bytes(json.dumps(told).encode().ljust(512))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("WATCH", 0.6), ("LOOK", 0.2), ("GRACE", 0.5)):
        monkeypatch.setattr(turn, name, seconds)


STALE: list[tuple[str, dict[str, float] | None, float, float, bool]] = [
    ("ended before anybody looked", {"alive": -20, "ended": -20}, 10, 8, False),
    ("ended since the first one looked", {"alive": -5, "ended": -5}, 10, 2, True),
    ("killed before anybody looked", {"alive": -60}, 10, 8, False),
    ("killed, and may have worked a little longer", {"alive": -30}, 10, 8, True),
    ("no note, all looked at the same time", None, 10, 8, False),
    ("no note, and this one was late", None, 20, 2, True),
]


@pytest.mark.parametrize(("note", "age", "own", "stale"), [case[1:] for case in STALE], ids=[case[0] for case in STALE])
def test_whether_what_was_seen_still_counts(note: dict[str, float] | None, age: float, own: float, stale: bool) -> None:
    now = time.time()
    before = {name: now + value for name, value in note.items()} if note is not None else None
    assert is_stale(before, age, own) is stale


def test_the_note_says_who_and_is_ended(site: World) -> None:
    here = Turn(time.monotonic)
    here.operator = {"who": "kim@desk", "verb": "apply"}
    assert here.take(site.host(), 0) is None and not here.waited
    note = read(site.host().path("lock"))
    assert note is not None
    assert (note["pid"], note["who"], note["asks"], note["ended"]) == (os.getpid(), "kim@desk", False, None)
    assert note["born"] == Linux().birth(os.getpid()) or sys.platform != "linux"
    here.tell(asks=True)
    assert (read(site.host().path("lock")) or {})["asks"]


def test_a_folder_that_was_made_for_the_lock_alone_goes_with_it(site: World) -> None:
    here = Turn(time.monotonic)
    here.take(site.host(), 0)
    here.end(site.host())
    assert not Path(site.host().root).exists()


@pytest.mark.parametrize("other", ["file", "lock"])
def test_another_thing_in_it_keeps_the_folder(other: str, site: World) -> None:
    here = Turn(time.monotonic)
    here.take(site.host(), 0)
    if other == "file":
        Path(site.host().path("env")).touch()
    else:  # somebody tore it down, and somebody else made it anew
        Path(site.host().path("lock")).unlink()
        leave(site, pid=1)
    here.end(site.host())
    note = read(site.host().path("lock"))
    assert note is not None and bool(note["ended"]) is (other == "file"), "nobody writes into the lock of others"


@linux
def test_a_program_that_is_stopped_is_ended(quick: None, site: World, holder: subprocess.Popen[bytes]) -> None:
    leave(site, pid=holder.pid, born=Linux().birth(holder.pid), alive=time.time() - turn.STUCK - 5)
    holder.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    here = Turn(time.monotonic)
    here.take(site.host(), 10)
    assert here.held and here.waited
    assert time.monotonic() - begun >= 0.6, "it was watched"
    assert holder.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)


SPARED: list[tuple[str, dict[str, Any]]] = [
    ("gives signs of life", {"alive": 0.0}),
    ("runs, though its note is old", {"running": True}),
    ("says that it has ended", {"ended": 1.0}),
    ("is another one by now", {"born": "1"}),
    ("of which the note says too little", {"born": None}),
    ("is gone", {"pid": 1 << 22}),
]


@linux
@pytest.mark.parametrize("about", [case[1] for case in SPARED], ids=[case[0] for case in SPARED])
def test_a_program_is_spared_that(
    about: dict[str, Any], quick: None, site: World, holder: subprocess.Popen[bytes]
) -> None:
    note = {"pid": holder.pid, "born": Linux().birth(holder.pid), "alive": -turn.STUCK - 5, **about}
    note["alive"] += time.time()
    if not note.pop("running", False):
        holder.send_signal(signal.SIGSTOP)
    leave(site, **note)
    with pytest.raises(Busy, match="another run works on this host: apply of kim@desk"):
        Turn(time.monotonic).take(site.host(), 1.5)
    holder.send_signal(signal.SIGCONT)
    assert holder.poll() is None


@linux
@pytest.mark.parametrize("broken", ["birth", "pulse", "runs", "kill"])
def test_a_system_that_does_not_say_is_no_error(
    broken: str, quick: None, site: World, holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NotImplementedError if broken == "birth" else Failure("access is denied")

    leave(site, pid=holder.pid, born=Linux().birth(holder.pid), alive=time.time() - turn.STUCK - 5)
    holder.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(Linux, broken, fails)
    monkeypatch.setattr(turn, "_ask_to_end", lambda pid: None)
    here = Turn(time.monotonic)
    if broken == "pulse":  # then the note alone counts, for as long
        here.take(site.host(), 10)
    else:
        with pytest.raises(Busy):
            here.take(site.host(), 1.5)
        assert holder.poll() is None or broken == "runs"


@linux
def test_what_the_system_says_of_a_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.01)"])
    try:
        platform = Linux()
        assert platform.birth(process.pid).isdigit() and platform.birth(process.pid) == platform.birth(process.pid)
        before = platform.pulse(process.pid)
        assert soon(lambda: platform.pulse(process.pid) != before, 5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        before = platform.pulse(process.pid)
        time.sleep(0.3)
        assert platform.pulse(process.pid) == before
    finally:
        process.kill()
        process.wait()
    assert platform.birth(process.pid) == ""


def test_a_program_that_hangs_is_ended_before_anybody_gives_up() -> None:
    assert turn.STUCK + turn.WATCH + turn.GRACE < turn.LOCK_WAIT < IDLE_LIMIT


def test_what_was_seen_gets_older_while_the_head_looks_at_itself(site: World) -> None:
    """The question was on its way before; another run ended meanwhile."""
    here, said = Conversation(), list[dict[str, Any]]()
    here.host = site.host()
    here.host.folder()
    asking = threading.Thread(target=lambda: said.append(here._take_turn({"wait": 0.0, "age": 0.0})))
    asking.start()
    leave(site)
    leave(site, ended=time.time())
    time.sleep(1.5)
    here._looked = time.monotonic()
    here._observed.set()
    asking.join(10)
    assert said == [{"stale": True}]


KILLED = """
import sys
from provisioner.remote.platforms.linux import Linux
held = Linux().lock(sys.argv[1], 0)
Linux().run(["/bin/sleep", sys.argv[2]], 60)
"""


@linux
def test_what_a_killed_program_was_running_ends_with_it(site: World) -> None:
    """Whoever gets its lock must not meet that."""
    site.host().folder()
    seconds = f"59.{os.getpid()}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, site.host().path("lock"), seconds])

    def runs() -> bool:
        found = subprocess.run(["pgrep", "-xf", f"/bin/sleep {seconds}"], stdout=subprocess.DEVNULL, check=False)
        return found.returncode == 0

    assert soon(runs, 10)
    process.kill()
    process.wait()
    assert soon(lambda: not runs(), 5)
