"""An SSH server that takes the connection, or the jump host's, and then says no more: given up, named, alone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from provisioner.errors import Unreachable
from provisioner.sandbox.server import Door
from provisioner.transport import patience
from provisioner.transport.choice import Choice
from provisioner.transport.connect import Connector
from provisioner.transport.target import Target

from .bare import Make


@pytest.mark.parametrize("request_", ["check_channel_exec_request", "check_channel_subsystem_request"])
def test_a_request_that_is_never_answered(request_: str, bare: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.answered.__wrapped__, "__defaults__", (1.0,))  # type: ignore[attr-defined]
    freed = threading.Event()
    monkeypatch.setattr(Door, request_, lambda *_: freed.wait(30) and False)
    host, begun = bare(), time.monotonic()
    with pytest.raises(Unreachable, match=r"took the connection, and gave no answer to .* within 1 s"):
        host.contact(Choice("3.11.9"))
    assert time.monotonic() - begun < 10
    freed.set()


def test_a_host_that_its_jump_host_does_not_reach(bare: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jump host waits for it as long as its system does, more than two minutes."""
    freed = threading.Event()
    monkeypatch.setattr(Door, "check_channel_direct_tcpip_request", lambda *_: freed.wait(30) and 1, raising=False)
    ssh = bare().declared().ssh
    jump = f"{ssh.user}@127.0.0.1:{ssh.port}"
    target = Target("w1", "10.0.0.9", ssh.user, 22, ssh.key, jump=jump, known_hosts=ssh.known_hosts)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"10\.0\.0\.9:22 did not answer in time"):
        Connector(timeout=2.0).connect(target)
    assert time.monotonic() - begun < 8
    freed.set()


@pytest.fixture
def mute() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_jump_host_that_says_nothing_is_tried_once_and_delays_nobody_else(mute: str) -> None:
    connector, refused = Connector(timeout=2.0), []

    def connect(name: str) -> None:
        target = Target(name, "10.0.0.1", "ray", 22, password="x", jump=mute)
        try:
            connector.connect(target)
        except Unreachable as error:
            refused.append((error.host, error.message))

    threads = [threading.Thread(target=connect, args=(f"w{number}",)) for number in range(5)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert connector.real_name("10.0.0.9", None) == "10.0.0.9"
    assert time.monotonic() - begun < 1.5, "others are not kept waiting"
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - begun < 8
    assert {name for name, _ in refused} == {f"w{number}" for number in range(5)}
    assert len({message for _, message in refused}) == 1
