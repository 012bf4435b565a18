"""What keeps us out of a host, each told apart in a sentence, against real servers and things that are none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provisioner.errors import Unreachable
from provisioner.sandbox import Sandbox, SandboxHost
from provisioner.sandbox.keys import ensure_key
from provisioner.transport.connect import Connector
from provisioner.transport.target import Target


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, agent, configuration or known hosts of the user who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def target(sandbox: Sandbox, host: SandboxHost) -> Target:
    return Target("w1", "127.0.0.1", sandbox.user, host.port, sandbox.key, known_hosts=sandbox.known_hosts)


def refusal(target: Target, timeout: float = 10.0, accept_new: bool = False) -> Unreachable:
    connector = Connector(timeout, accept_new)
    with pytest.raises(Unreachable) as caught:
        connector.connect(target).close()
    connector.close()
    assert caught.value.host == target.name
    return caught.value


def test_the_right_key_gets_in(target: Target) -> None:
    connection = Connector().connect(target)
    assert connection.is_connected
    connection.close()


def key_file(path: Path, passphrase: bytes | None = None) -> Path:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, how)
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(*form))
    return path


def garbage(path: Path) -> Path:
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n")
    return path


def nonsense(path: Path) -> Path:
    path.write_bytes(b"\x00\xff no key at all")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "passphrase", "message", "remedy"),
    [
        (lambda path: key_file(path), None, "does not accept the key or password", "check `ssh: user, key, password`"),
        (lambda path: key_file(path, b"x"), None, "is protected by a passphrase", "ssh-add"),
        (lambda path: key_file(path, b"x"), "wrong", "can't be read: Invalid key", "passphrase"),
        (garbage, None, "can't be read", "check `ssh: key`"),
        (nonsense, None, "can't be read", "check `ssh: key`"),
        (folder, None, "can't be read", "check `ssh: key`"),
        (lambda path: path, None, "can't be read", "check `ssh: key`"),
    ],
    ids=["a stranger's", "no passphrase", "wrong passphrase", "garbage", "nonsense", "a folder", "missing"],
)
def test_keys(
    make: Callable[[Path], Path], passphrase: str | None, message: str, remedy: str, target: Target, tmp_path: Path
) -> None:
    error = refusal(replace(target, key=make(tmp_path / "key"), passphrase=passphrase))
    assert message in error.message
    assert remedy in error.remedy


def test_an_unknown_host_key_is_shown(target: Target, sandbox: Sandbox, host: SandboxHost) -> None:
    key = paramiko.Ed25519Key(filename=str(sandbox.folder / "host_keys" / host.name))
    error = refusal(replace(target, known_hosts=None))
    assert error.message == f"the host key of [127.0.0.1]:{host.port} is unknown: ssh-ed25519 {key.fingerprint}"
    assert "--accept-new-host-keys" in error.remedy


def test_a_changed_host_key_is_refused_always(target: Target, host: SandboxHost, tmp_path: Path) -> None:
    stranger = ensure_key(tmp_path / "stranger")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{host.port} {stranger}\n")
    for accept_new in (False, True):
        error = refusal(replace(target, known_hosts=known), accept_new=accept_new)
        assert f"the host key of [127.0.0.1]:{host.port} has CHANGED" in error.message
        assert error.remedy.endswith(f": ssh-keygen -R '[127.0.0.1]:{host.port}' -f {known}")


def test_a_key_of_ours_is_forgotten_in_our_own_file(target: Target, host: SandboxHost, tmp_path: Path) -> None:
    ours = tmp_path / "data" / "provision" / "known_hosts"
    ours.parent.mkdir(parents=True)
    ours.write_text(f"[127.0.0.1]:{host.port} {ensure_key(tmp_path / 'stranger')}\n")
    error = refusal(replace(target, known_hosts=None))
    assert error.remedy.endswith(f": ssh-keygen -R '[127.0.0.1]:{host.port}' -f {ours}")


def test_a_new_host_key_is_remembered_on_request(target: Target, host: SandboxHost, tmp_path: Path) -> None:
    new = replace(target, known_hosts=None)
    Connector(accept_new=True).connect(new).close()
    ours = tmp_path / "data" / "provision" / "known_hosts"
    assert ours.read_text().startswith(f"[127.0.0.1]:{host.port} ssh-ed25519 ")
    Connector().connect(new).close()
    Connector(accept_new=True).connect(new).close()
    assert len(ours.read_text().splitlines()) == 1


@pytest.fixture
def listener() -> Iterator[Callable[[bytes | None], int]]:
    """Listens on a port; whoever connects is told these bytes and hung up on, or (None) left waiting."""
    made: list[socket.socket] = []

    def listen(words: bytes | None) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        made.append(server)

        def greet() -> None:
            try:
                while True:
                    client, _ = server.accept()
                    made.append(client)
                    if words is not None:
                        client.sendall(words)
                        client.close()
            except OSError:
                return

        threading.Thread(target=greet, daemon=True).start()
        return int(server.getsockname()[1])

    yield listen
    for each in made:
        each.close()


@pytest.mark.parametrize("words", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"", b"220 smtp ready\r\n" * 300])
def test_something_else_listens_there(words: bytes, target: Target, listener: Callable[[bytes | None], int]) -> None:
    error = refusal(replace(target, port=listener(words)), timeout=5.0)
    assert "is no SSH server, or an overloaded one" in error.message or "no connection to" in error.message
    assert "try it by hand: ssh -p" in error.remedy


def test_something_listens_and_never_answers(target: Target, listener: Callable[[bytes | None], int]) -> None:
    begun = time.monotonic()
    error = refusal(replace(target, port=listener(None)), timeout=1.0)
    assert time.monotonic() - begun < 5
    assert "is no SSH server, or an overloaded one" in error.message


def test_nobody_listens(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    error = refusal(replace(target, port=port))
    assert error.message.endswith(f"127.0.0.1:{port} refused the connection")


def test_a_name_that_nobody_knows(target: Target) -> None:
    error = refusal(replace(target, address="no-such-host.invalid"))
    assert "the name no-such-host.invalid" in error.message
    assert "address:" in error.remedy


def test_a_jump_host_that_refuses_is_named(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    error = refusal(replace(target, jump=f"kim@127.0.0.1:{port}"))
    assert f"kim@127.0.0.1:{port} refused the connection" in error.message
