"""Every way into a host that OpenSSH's users have, against a real OpenSSH server on loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provisioner.errors import Unreachable
from provisioner.transport.connect import Connector
from provisioner.transport.target import Target

LIMIT = 20.0


@dataclass(frozen=True)
class Server:
    """A throw-away sshd that lets in one key."""

    port: int
    key: Path
    known_hosts: Path
    log: Path

    def target(self, **over: object) -> Target:
        target = Target("w1", "127.0.0.1", getpass.getuser(), self.port, self.key, known_hosts=self.known_hosts)
        return replace(target, **over)  # type: ignore[arg-type]

    def logins(self) -> int:
        return self.log.read_text().count("Accepted publickey")


def make_key(path: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True, timeout=LIMIT)
    return path


@pytest.fixture(scope="module")
def programs() -> str:
    """Have OpenSSH's server; returns its path."""
    if not Path("/usr/sbin/sshd").exists():
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.fail("these tests need OpenSSH's server: install openssh-server")
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=120)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "openssh-server"]
        subprocess.run(install, check=True, timeout=180, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    Path("/run/sshd").mkdir(exist_ok=True)
    return "/usr/sbin/sshd"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without keys, agent and configuration."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home"


@contextmanager
def running_server(programs: str, folder: Path, authorized: Path) -> Iterator[Server]:
    folder.mkdir(mode=0o700)
    host_key = make_key(folder / "host_key")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n"
        f"PidFile {folder}/pid\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n"
    )
    log = folder / "log"
    server = subprocess.Popen([programs, "-D", "-f", str(config), "-E", str(log)])
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    try:
        wait_for(port)
        yield Server(port, authorized.with_suffix(""), folder / "known_hosts", log)
    finally:
        server.terminate()
        server.wait(LIMIT)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "sshd does not answer"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder / "good")
    make_key(folder / "stranger")
    shutil.copy(folder / "good", folder / "locked")
    shutil.copy(folder / "good.pub", folder / "locked.pub")
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(folder / "locked")]
    subprocess.run(change, check=True, timeout=LIMIT)
    return folder


@pytest.fixture(scope="module")
def server(programs: str, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(programs, tmp_path_factory.mktemp("sshd") / "w1", keys / "good.pub") as server:
        yield server


@pytest.fixture(scope="module")
def bastion(programs: str, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(programs, tmp_path_factory.mktemp("sshd") / "bastion", keys / "good.pub") as server:
        yield server


def whoami(target: Target, connector: Connector | None = None) -> str:
    connection = (connector or Connector()).connect(target)
    with connection:
        return str(connection.run("whoami", hide=True, in_stream=False).stdout.strip())


def refusal(target: Target) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        whoami(target)
    assert caught.value.host == "w1"
    return caught.value


def test_a_key_file(server: Server, home: Path) -> None:
    assert whoami(server.target()) == getpass.getuser()


def test_a_key_with_a_passphrase(server: Server, keys: Path, home: Path) -> None:
    assert whoami(server.target(key=keys / "locked", passphrase="open sesame")) == getpass.getuser()
    assert "protected by a passphrase" in refusal(server.target(key=keys / "locked")).message
    wrong = refusal(server.target(key=keys / "locked", passphrase="open barley"))
    assert "open barley" not in str(wrong)


def test_the_users_default_key(server: Server, keys: Path, home: Path) -> None:
    shutil.copy(keys / "good", home / ".ssh" / "id_ed25519")
    assert whoami(server.target(key=None)) == getpass.getuser()


def test_the_agent(server: Server, keys: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(home / "agent")], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
        deadline = time.monotonic() + LIMIT
        while not (home / "agent").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(keys / "good")], check=True, timeout=LIMIT)
        assert whoami(server.target(key=None)) == getpass.getuser()
        assert whoami(server.target(key=keys / "locked")) == getpass.getuser()
    finally:
        agent.terminate()
        agent.wait(LIMIT)


def test_ssh_config(server: Server, keys: Path, home: Path) -> None:
    config = home / ".ssh" / "config"
    config.write_text(f"Host lab-*\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {keys / 'good'}\n")
    target = Target("w1", "lab-7", known_hosts=server.known_hosts)
    assert whoami(target) == getpass.getuser()
    elsewhere = home / "other_config"
    config.rename(elsewhere)
    assert whoami(replace(target, config=elsewhere)) == getpass.getuser()


@pytest.mark.parametrize("way", ["inventory", "ssh_config"])
def test_a_jump_host(server: Server, bastion: Server, keys: Path, home: Path, way: str) -> None:
    both = home / "known_hosts"
    both.write_text(server.known_hosts.read_text() + bastion.known_hosts.read_text())
    target = server.target(known_hosts=both)
    if way == "inventory":
        target = replace(target, jump=f"{getpass.getuser()}@127.0.0.1:{bastion.port}")
    else:
        jump = f"{getpass.getuser()}@bastion"
        (home / ".ssh" / "config").write_text(
            f"Host bastion\n  HostName 127.0.0.1\n  Port {bastion.port}\n  IdentityFile {keys / 'good'}\n"
            f"Host 127.0.0.1 !bastion\n  ProxyJump {jump}\n"
        )
    before = bastion.logins()
    assert whoami(target) == getpass.getuser()
    assert bastion.logins() == before + 1


def test_hosts_behind_one_jump_host_share_its_connection(server: Server, bastion: Server, home: Path) -> None:
    both = home / "known_hosts"
    both.write_text(server.known_hosts.read_text() + bastion.known_hosts.read_text())
    target = server.target(known_hosts=both, jump=f"{getpass.getuser()}@127.0.0.1:{bastion.port}")
    before, connector = bastion.logins(), Connector()
    for _ in range(3):
        assert whoami(target, connector) == getpass.getuser()
    connector.close()
    assert bastion.logins() == before + 1


@pytest.mark.parametrize("way", ["inventory", "ssh_config"])
def test_a_jump_hosts_key_is_checked_too(server: Server, bastion: Server, keys: Path, home: Path, way: str) -> None:
    target = server.target()
    if way == "inventory":
        target = replace(target, jump=f"{getpass.getuser()}@127.0.0.1:{bastion.port}")
    else:
        (home / ".ssh" / "config").write_text(
            f"Host bastion\n  HostName 127.0.0.1\n  Port {bastion.port}\n  IdentityFile {keys / 'good'}\n"
            f"Host 127.0.0.1 !bastion\n  ProxyJump {getpass.getuser()}@bastion\n"
        )
    error = refusal(target)
    assert f"the host key of [127.0.0.1]:{bastion.port} is unknown" in error.message
    assert "--accept-new-host-keys" in error.remedy


@pytest.mark.parametrize(
    ("over", "what"),
    [
        ({"key": "stranger"}, "does not accept the key or password"),
        ({"user": "nobody-of-that-name"}, "does not accept the key or password"),
        ({"known_hosts": None}, "is unknown: ssh-ed25519 SHA256:"),
        ({"address": "no-such-host.invalid"}, "the name no-such-host.invalid"),
        ({"port": 1}, "refused the connection"),
    ],
    ids=["wrong key", "wrong user", "unknown host key", "unknown name", "nobody listens"],
)
def test_refusals_are_told_apart(server: Server, keys: Path, home: Path, over: dict[str, object], what: str) -> None:
    if over.get("key"):
        over = {"key": keys / str(over["key"])}
    assert what in refusal(server.target(**over)).message


def test_a_new_host_key_is_accepted_on_request_and_a_changed_one_never(server: Server, home: Path) -> None:
    target = server.target(known_hosts=None)
    assert whoami(target, Connector(accept_new=True)) == getpass.getuser()
    assert whoami(target) == getpass.getuser()
    stranger = (home / "stranger_known_hosts", make_key(home / "other"))
    public = " ".join(Path(f"{stranger[1]}.pub").read_text().split()[:2])
    stranger[0].write_text(f"[127.0.0.1]:{server.port} {public}\n")
    (Path(os.environ["XDG_DATA_HOME"]) / "provision" / "known_hosts").unlink()
    changed = server.target(known_hosts=stranger[0])
    with pytest.raises(Unreachable, match="has CHANGED"):
        whoami(changed, Connector(accept_new=True))
