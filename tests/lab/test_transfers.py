"""Each file leaves this machine once, whatever happens to hosts and links on the way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from . import plumbing
from .bare import PACKAGES
from .cluster import Answer, Cluster
from .command import Provision, Running
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

PORT = 7070
MB = 10**6
ASK = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
connection.sendall(f"GET {sys.argv[3]} HTTP/1.1\\r\\n\\r\\n".encode())
print(connection.recv(100))
"""


class Room(Cluster):
    """Hosts that get packages and no Ray."""

    def run(self, verb: str, *flags: str, code: int | None = 0) -> Answer:
        playbook = self.inventory.with_name("light.yml")
        playbook.write_text(PACKAGES)
        return super().run(verb, "--playbook", str(playbook), *flags, code=code)

    def bare(self) -> None:
        """Have nothing on any host."""
        self.declare()
        self.teardown("--purge")


def sent(act: Callable[[], object]) -> int:
    """Return the bytes that left this machine for the hosts meanwhile."""
    before = plumbing.bytes_sent()
    act()
    return plumbing.bytes_sent() - before


def notices(answer: Answer) -> list[dict[str, str]]:
    """Return what was said of single hosts."""
    return [notice for notice in answer.document["notices"] if notice["host"]]


def stored(machine: Machine, root: str) -> dict[str, int]:
    """Return what is in a host's store: path below it -> bytes."""
    listed = machine.exec(["find", f"{root}/store", "-type", "f", "-printf", "%P %s\\n"], check=False).stdout
    rows = (line.rpartition(" ") for line in listed.splitlines())
    return {path: int(size) for path, _, size in rows}


@contextmanager
def slow(mbit: int) -> Iterator[None]:
    """A slow link from this machine to all hosts."""
    plumbing.slow_controller(mbit)
    try:
        yield
    finally:
        plumbing.slow_controller(0)


@pytest.fixture(scope="module")
def room(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(provision, tmp_path_factory.mktemp("transfers") / "lab.yml", module_machines(10, mem="2G"))


@pytest.fixture
def few(room: Room) -> Room:
    """Three of them, bare."""
    made = Room(room.provision, room.inventory.with_name("few.yml"), room.machines[:3], name="few")
    made.bare()
    return made


def test_each_byte_leaves_once(room: Room) -> None:
    room.declare()
    answers: list[Answer] = []
    count = sent(lambda: answers.append(room.apply()))
    files = stored(room.head, room.root)
    total = sum(files.values())
    assert total > 100 * MB
    print(f"{count / MB:.1f} MB for 10 hosts that need {total / MB:.1f} MB each: {count / total:.3f} times")
    assert count <= 1.2 * total
    assert set(answers[0].status().values()) == {"changed"}
    assert notices(answers[0]) == []
    assert all(stored(machine, room.root) == files for machine in room.machines[1:])
    assert ".part" not in " ".join(files)
    assert listening(room.head) == {22}
    room.bare()


def listening(machine: Machine) -> set[int]:
    """Return the TCP ports that are open to others on a host."""
    rows = (line.split() for line in machine.exec(["ss", "-Hltn"]).stdout.splitlines())
    return {int(row[3].rpartition(":")[2]) for row in rows if not row[3].startswith("127.")}


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_a_blocked_port_is_gone_round(verdict: str, few: Room) -> None:
    few.declare(artifacts={"port": PORT})
    few.head.nft(f"input tcp dport {PORT} {verdict}")
    try:
        answer = few.apply()
    finally:
        few.head.nft_reset()
    (notice,) = notices(answer)
    assert f"come from here and not from h1: {plumbing.NETWORK}.11 port 7070: " in notice["message"]
    assert f"open a TCP port of {few.head.name}" in notice["remedy"]
    assert answer.result.seconds < 60
    assert set(answer.status().values()) == {"changed"}


@contextmanager
def under_way(few: Room, machine: Machine, enough: int) -> Iterator[Running]:
    """An apply that has brought so many bytes to a machine, and is still bringing more."""
    running = few.start("apply", "--playbook", str(few.inventory.with_name("light.yml")))
    try:
        wait_until(lambda: sum(stored(machine, few.root).values()) > enough, f"{machine.name} to have files", 60)
        yield running
    finally:
        if running.running:
            running.wait(280)


def test_power_of_the_mirror_cut_in_the_middle(few: Room) -> None:
    """The others have what it gave them, and get the rest from here."""
    few.declare(artifacts={"mirror": "h3"})
    mirror = few.machines[2]
    try:
        with slow(160), under_way(few, few.machines[1], 30 * MB) as running:
            mirror.power_cut()
            answer = few.answer(running.wait(280), code=4)
    finally:
        mirror.boot()
    assert answer.status() == {"h1": "changed", "h2": "changed", "h3": "unreachable"}
    (notice,) = notices(answer)
    assert "come from here and not from h3" in notice["message"]
    assert set(few.apply().status().values()) == {"changed", "ok"}


def test_link_cut_in_the_middle_of_a_transfer(few: Room) -> None:
    """What had arrived is not sent again: not even of the file that was on its way."""
    few.declare(artifacts={"mirror": "none"}, machines=few.machines[:2])
    worker = few.machines[1]
    with slow(160), under_way(few, worker, 50 * MB) as running:
        worker.cut()
        answer = few.answer(running.wait(280), code=4)
        worker.uncut()
    assert answer.status() == {"h1": "changed", "h2": "unreachable"}
    wait_until(lambda: not few_programs(worker), "the program on the worker to end", 100)
    there = stored(worker, few.root)
    assert any(path.endswith("/.part") for path in there)
    count = sent(few.apply)
    total = sum(stored(worker, few.root).values())
    print(f"{sum(there.values()) / MB:.0f} of {total / MB:.0f} MB were there; {count / MB:.1f} MB were sent again")
    assert count < 1.05 * (total - sum(there.values())) + MB
    assert stored(worker, few.root) == stored(few.head, few.root)


def few_programs(machine: Machine) -> list[str]:
    return [process.command for process in machine.processes() if ".provision/program" in process.command]


def test_a_file_that_was_damaged_on_the_mirror_is_not_used(few: Room) -> None:
    few.declare(machines=few.machines[:1])
    few.apply()
    files = stored(few.head, few.root)
    largest = max(files, key=lambda path: files[path])
    few.head.exec(
        ["dd", "if=/dev/zero", f"of={few.root}/store/{largest}", "bs=1M", "seek=1", "count=1", "conv=notrunc"]
    )
    few.declare()
    count = sent(few.apply)
    digests = few.machines[2].exec(["sha256sum", f"{few.root}/store/{largest}"]).stdout
    assert digests.split()[0] == largest.split("/")[0]
    print(f"{count / MB:.1f} MB were sent for a damaged file of {files[largest] / MB:.1f} MB")
    assert count < 1.1 * files[largest] + MB, "the damaged file was sent to the mirror once, and nothing else"


def test_only_members_with_the_token_get_files(few: Room) -> None:
    few.declare(artifacts={"port": PORT})
    path = f"/{'0' * 64}"
    with slow(160), under_way(few, few.machines[1], 10 * MB) as running:
        with socket.create_connection((few.head.ip, PORT), 5) as stranger:
            stranger.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            with suppress(ConnectionResetError):  # closed with what was asked still unread
                assert stranger.recv(100) == b""
        said = few.machines[1].exec(["python3", "-c", ASK, few.head.ip, str(PORT), path]).stdout
        assert said.startswith("b'HTTP/1.1 403 Forbidden")
        assert PORT in listening(few.head)
        assert set(few.answer(running.wait(280)).status().values()) == {"changed"}
    assert listening(few.head) == {22}


def test_a_full_disk_is_told_before_anything_is_sent(few: Room) -> None:
    """With the mirror as without: how much is free, and how much more is needed."""
    worker = few.machines[1]
    worker.exec(["mkdir", "-p", f"{few.root}/store"])
    worker.exec(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", f"{few.root}/store"])
    try:
        answer = few.apply(code=3)
        assert "there is no room for packages: /opt/provision/few/store has 60 MiB free, " in answer.said("h2")
        assert "MiB more are needed" in answer.said("h2")
        assert stored(worker, few.root) == {}
        assert answer.status()["h3"] == "changed"
    finally:
        worker.exec(["umount", f"{few.root}/store"])
