"""Many hosts without any Python: the interpreter, too, leaves this machine once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import interpreters
from tests.interpreters import Archive

from . import plumbing
from .bare import PACKAGES, PYTHON_ONLY, give, managed, strip
from .cluster import Answer, Cluster, ours
from .command import Provision
from .conftest import MachineFactory
from .listing import Listing, changes
from .machines import Machine
from .shell import wait_until

COUNT = 6
MB = 10**6
PORT = 7070


@pytest.fixture(scope="module")
def machines(module_machines: MachineFactory) -> list[Machine]:
    """The last one has no program that fetches files."""
    made = module_machines(COUNT, mem="2G")
    for number, machine in enumerate(made):
        strip(machine, "python3*")
        if number < COUNT - 1:
            give(machine, "curl" if number % 2 else "wget")
    return made


class Room(Cluster):
    """Bare hosts that get an interpreter, and packages if that is said."""

    archive: Archive
    mirror: str
    bare: dict[str, Listing]

    def declare(self, machines: Any = None, **over: Any) -> None:
        super().declare(machines, **managed(self.archive, self.mirror, **over))

    def start(self, verb: str, *flags: str) -> Any:
        playbook = self.inventory.with_name("light.yml")
        if not playbook.exists():
            playbook.write_text(PYTHON_ONLY)
        return super().start(verb, "--playbook", str(playbook), *flags)

    def sent(self, *flags: str, code: int = 0) -> tuple[int, Answer]:
        """Apply; return the bytes that left this machine for the hosts, and what was said."""
        before = plumbing.bytes_sent()
        answer = self.apply(*flags, code=code)
        return plumbing.bytes_sent() - before, answer

    def notices(self, answer: Answer) -> list[str]:
        return [f"{each['host']}: {each['message']}" for each in answer.document["notices"] if each["host"]]


@pytest.fixture(scope="module")
def fleet(
    machines: list[Machine], archive: Archive, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Room:
    folder = tmp_path_factory.mktemp("fleet")
    made = Room(provision, folder / "lab.yml", machines)
    made.archive, made.mirror = archive, interpreters.mirror(folder / "mirror", [archive])
    made.bare = {machine.name: machine.listing() for machine in machines}
    return made


@pytest.fixture
def room(fleet: Room) -> Iterator[Room]:
    """All but the last, bare; they are so again afterwards, to the last byte."""
    fleet.declare(fleet.machines[:-1])
    yield fleet
    fleet.inventory.with_name("light.yml").unlink(missing_ok=True)
    fleet.declare()
    fleet.teardown("--purge")
    for machine in fleet.machines:
        assert ours(machine) == []
        assert changes(fleet.bare[machine.name], machine.listing()) == []


def stored(machine: Machine, root: str) -> dict[str, int]:
    """Return what is in a host's store: path below it -> bytes."""
    listed = machine.exec(["find", f"{root}/store", "-type", "f", "-printf", "%P %s\\n"], check=False).stdout
    return {path: int(size) for path, _, size in (line.rpartition(" ") for line in listed.splitlines())}


@contextmanager
def slow(mbit: int) -> Iterator[None]:
    plumbing.slow_controller(mbit)
    try:
        yield
    finally:
        plumbing.slow_controller(0)


def test_the_interpreter_leaves_once(room: Room) -> None:
    size = room.archive.path.stat().st_size
    with slow(50):
        count, answer = room.sent()
    hosts = len(room.machines) - 1
    print(f"{count / MB:.1f} MB for {hosts} bare hosts that need {size / MB:.1f} MB each: {count / size:.3f} times, "
          f"{answer.result.seconds:.1f} s at 50 Mbit/s")  # fmt: skip
    assert count <= 1.2 * size
    assert room.notices(answer) == []
    assert set(answer.status().values()) == {"changed"}
    for machine in room.machines[:-1]:
        assert [path.split("/")[0] for path in stored(machine, room.root)] == [room.archive.sha256]
        left = machine.exec(["ls", "/root/.provision/python"]).stdout.split()
        assert left == [f"{room.archive.version}-linux-x86_64"], "neither a part nor a token stays"


def test_so_does_everything_else(room: Room) -> None:
    room.inventory.with_name("light.yml").write_text(PACKAGES)
    count, answer = room.sent()
    files = stored(room.head, room.root)
    total = sum(files.values())
    assert total > 100 * MB
    print(f"{count / MB:.1f} MB for {len(room.machines) - 1} bare hosts that need {total / MB:.1f} MB each: "
          f"{count / total:.3f} times, {answer.result.seconds:.1f} s")  # fmt: skip
    assert count <= 1.2 * total
    assert room.notices(answer) == []
    assert all(stored(machine, room.root) == files for machine in room.machines[:-1])


def test_a_host_that_can_not_fetch_is_sent_it(room: Room) -> None:
    room.declare([room.head, room.machines[1], room.machines[-1]])
    size = room.archive.path.stat().st_size
    count, answer = room.sent()
    (notice,) = room.notices(answer)
    assert notice == f"h{COUNT}: its files come from here and not from h1: it has neither curl nor wget"
    assert 2 * size < count < 2.2 * size
    assert set(answer.status().values()) == {"changed"}


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_a_blocked_port_is_gone_round(verdict: str, room: Room) -> None:
    room.declare(room.machines[:3], artifacts={"port": PORT})
    room.head.nft(f"input tcp dport {PORT} {verdict}")
    try:
        _, answer = room.sent()
    finally:
        room.head.nft_reset()
    (notice,) = room.notices(answer)
    assert f"come from here and not from h1: {plumbing.NETWORK}.11 port 7070: " in notice
    assert answer.result.seconds < 60
    assert set(answer.status().values()) == {"changed"}


def test_a_mirror_whose_power_is_cut_holds_nobody_back(room: Room) -> None:
    """It is as bare as the others, and they wait for it."""
    room.declare(room.machines[:3])
    with slow(20):
        running = room.start("apply")
        part = f"/root/.provision/python/{room.archive.sha256}.tar.gz.part"
        wait_until(lambda: int(room.head.exec(["stat", "-c", "%s", part], check=False).stdout or 0) > MB, "a MB", 60)
        room.head.power_cut()
        answer = room.answer(running.wait(280), code=4)
    room.head.boot()
    assert answer.status() == {"h1": "unreachable", "h2": "changed", "h3": "changed"}


def test_without_the_mirror_host_nobody_waits_for_it(room: Room) -> None:
    size = room.archive.path.stat().st_size
    count, answer = room.sent("--limit", "h2,h3")
    assert 2 * size < count < 2.2 * size
    assert room.notices(answer) == []
    assert answer.status() == {"h2": "changed", "h3": "changed"}


def test_a_worker_that_joins_gets_it_from_the_head(room: Room) -> None:
    room.declare(room.machines[:1])
    room.apply()
    room.declare(room.machines[:3])
    count, answer = room.sent()
    print(f"{count / MB:.1f} MB for two more")
    assert count < 0.2 * room.archive.path.stat().st_size
    assert answer.status() == {"h1": "ok", "h2": "changed", "h3": "changed"}
