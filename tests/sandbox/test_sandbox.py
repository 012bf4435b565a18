"""Starting and stopping a sandbox."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.errors import InputError, ProvisionError
from provisioner.sandbox import Sandbox, SandboxHost
from tests.waiting import soon

from .conftest import LIMIT, free_ports, log_in
from .support import alive, number_in


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    box = Sandbox(tmp_path / "box")
    yield box
    box.remove()
    assert not box.folder.exists()


def daemon_pid(box: Sandbox) -> int:
    return int((box.folder / "daemon.pid").read_text())


def test_what_start_lays_down(box: Sandbox) -> None:
    port = free_ports(2)
    hosts = box.start(2, port)
    assert [(host.name, host.port, host.home) for host in hosts] == [
        ("h1", port, box.folder / "h1"),
        ("h2", port + 1, box.folder / "h2"),
    ]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (box.folder, box.key)}
    assert modes == {"box": 0o700, "id_ed25519": 0o600}
    assert box.key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert box.key.with_suffix(".pub").read_text().startswith("ssh-ed25519 ")
    assert [line.split()[:2] for line in box.known_hosts.read_text().splitlines()] == [
        [f"[127.0.0.1]:{port}", "ssh-ed25519"],
        [f"[127.0.0.1]:{port + 1}", "ssh-ed25519"],
    ]


def test_starting_twice_changes_nothing(box: Sandbox) -> None:
    port = free_ports(2)
    first = box.start(2, port)
    pid, known = daemon_pid(box), box.known_hosts.read_bytes()
    assert Sandbox(box.folder).start(2, port) == first
    assert (daemon_pid(box), box.known_hosts.read_bytes()) == (pid, known)
    with pytest.raises(ProvisionError, match="already runs 2 hosts"):
        box.start(1, port)


def test_stop_leaves_nothing_running_but_what_detached_itself(box: Sandbox) -> None:
    host = box.start(1, free_ports(1))[0]
    client = log_in(box, host)
    client.exec_command("echo $$ > running; trap '' HUP; sleep 60; true")
    client.exec_command("sleep 60 > /dev/null 2>&1 & echo $! > left-behind")
    client.exec_command("setsid sh -c 'echo $$ > detached; exec sleep 60' < /dev/null > /dev/null 2>&1 &")
    running, left, detached = (number_in(host.home / name) for name in ("running", "left-behind", "detached"))
    daemon = daemon_pid(box)
    box.stop()
    assert not box.running()
    assert soon(lambda: not any(map(alive, (running, left, daemon))))
    assert alive(detached)
    os.kill(detached, signal.SIGKILL)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", host.port), timeout=2)
    client.close()


def test_stop_is_safe_to_repeat_and_start_works_again(box: Sandbox) -> None:
    box.stop()
    hosts = box.start(1, free_ports(1))
    (hosts[0].home / "kept").write_text("kept")
    known = box.known_hosts.read_bytes()
    box.stop()
    box.stop()
    assert box.start(1, hosts[0].port) == hosts
    assert box.known_hosts.read_bytes() == known
    assert (hosts[0].home / "kept").read_text() == "kept"


def test_stop_never_ends_a_stranger(box: Sandbox) -> None:
    box.start(1, free_ports(1))
    daemon = daemon_pid(box)
    os.kill(daemon, signal.SIGKILL)
    assert soon(lambda: not box.running())
    (box.folder / "daemon.pid").write_text(f"{os.getpid()}\n")
    box.stop()


def test_a_killed_daemon_is_not_running_and_can_be_started_again(box: Sandbox) -> None:
    hosts = box.start(1, free_ports(1))
    os.kill(daemon_pid(box), signal.SIGKILL)
    assert soon(lambda: not box.running())
    assert box.start(1, hosts[0].port) == hosts
    assert box.running()


def test_the_daemon_ends_when_its_folder_is_deleted(box: Sandbox) -> None:
    box.start(1, free_ports(1))
    daemon = daemon_pid(box)
    box.folder.rename(box.folder.with_name("moved"))
    assert soon(lambda: not alive(daemon), 3.0)


def test_a_taken_port_is_named(box: Sandbox) -> None:
    port = free_ports(2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + 1))
        other.listen()
        with pytest.raises(ProvisionError, match=f"port {port + 1} for sandbox host h2 is not free") as caught:
            box.start(2, port)
    assert "first port" in caught.value.remedy
    assert not box.running()


def test_a_daemon_that_cannot_start_is_reported_at_once(box: Sandbox) -> None:
    port = free_ports(1)
    box.start(1, port)
    box.stop()
    (box.folder / "id_ed25519").write_text("no key")
    started = time.monotonic()
    with pytest.raises(ProvisionError, match="did not start") as caught:
        box.start(1, port)
    assert time.monotonic() - started < 5
    assert "sshd.log" in caught.value.remedy


def test_impossible_wishes_and_folders_in_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fit"):
        Sandbox(tmp_path / "box").start(10, 65530)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        Sandbox(tmp_path).start(1, free_ports(1))
    Sandbox(tmp_path).remove()
    assert (tmp_path / "mine").exists()


def test_the_log_counts_connections_and_commands(box: Sandbox) -> None:
    hosts = box.start(2, free_ports(2))
    client = log_in(box, hosts[1])
    for command in ("true", "echo two\necho lines"):
        client.exec_command(command)[1].read()
    client.close()
    lines = [line.split(" ", 1) for line in box.log.read_text().splitlines()]
    assert all(line[0].startswith("20") for line in lines)
    assert [line[1].rsplit(":", 1)[0] for line in lines] == [
        "h2 connection from 127.0.0.1",
        "h2 exec true",
        "h2 exec echo two\\necho lines",
    ]


def test_thirty_hosts(box: Sandbox) -> None:
    started = time.monotonic()
    hosts = box.start(30, free_ports(30))
    assert time.monotonic() - started < 5

    def ask(host: SandboxHost) -> bytes:
        client = log_in(box, host)
        try:
            return client.exec_command("pwd", timeout=LIMIT)[1].read()
        finally:
            client.close()

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(ask, hosts, timeout=LIMIT))
    assert answers == [f"{host.home}\n".encode() for host in hosts]
