"""Why a host lets nobody in: a sentence for each cause, and what fits the kind of host."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paramiko import AuthenticationException, SSHException
from paramiko.ssh_exception import NoValidConnectionsError

from provisioner.transport.refusals import explain, key_of_host
from provisioner.transport.target import Target

LINUX, WINDOWS = "SSH-2.0-OpenSSH_9.2p1 Debian-2", "SSH-2.0-OpenSSH_for_Windows_9.5"


def opened(banner: str = LINUX) -> Any:
    """A connection as far as it got: the server has introduced itself."""
    client = SimpleNamespace(get_transport=lambda: SimpleNamespace(remote_version=banner) if banner else None)
    return SimpleNamespace(user="kim", host="h", port=22, client=client)


@pytest.mark.parametrize(
    ("error", "message", "remedy"),
    [
        (NoValidConnectionsError({("h", 22): ConnectionRefusedError(111, "x")}), "kim@h:22 refused", "SSH server"),
        (NoValidConnectionsError({("h", 22): TimeoutError("x")}), "kim@h:22 did not answer in time", "machine on"),
        (
            NoValidConnectionsError({("h", 22): OSError(errno.EHOSTUNREACH, "No route to host")}),
            "nothing answers at kim@h:22: No route to host",
            "asleep",
        ),
        (TimeoutError("timed out"), "kim@h:22 did not answer in time", "machine on"),
        (socket.gaierror(-2, "Name or service not known"), "the name h:22 is unknown", "address:"),
        (AuthenticationException("x"), "kim@h:22 does not accept the key or password", "ssh -p 2222 kim@h"),
        (AuthenticationException("Authentication timeout."), "kim@h:22 did not answer in time", "by hand"),
        (SSHException("Error reading SSH protocol banner"), "what answers at kim@h:22 is no SSH server", "by hand"),
        (SSHException("Incompatible ssh peer"), "no connection to kim@h:22: Incompatible ssh peer", "by hand"),
        (EOFError(), "no connection to kim@h:22: EOFError", "by hand"),
    ],
)
def test_errors_are_explained(error: Exception, message: str, remedy: str) -> None:
    told = explain(error, opened(), Target("w1", "h", "kim", 2222))
    assert message in told[0]
    assert remedy in told[1]


@pytest.mark.parametrize(
    ("banner", "said"),
    [
        (LINUX, "check `ssh: user, key, password` in the inventory"),
        (WINDOWS, "C:\\ProgramData\\ssh\\administrators_authorized_keys"),
        ("", "check `ssh: user, key, password` in the inventory"),
    ],
)
def test_where_a_key_belongs_depends_on_the_server(banner: str, said: str) -> None:
    assert said in explain(AuthenticationException("x"), opened(banner), Target("w1", "h"))[1]


def test_by_hand_means_the_same_way_in() -> None:
    target = Target("w1", "h", "kim", 2222, Path("key"), jump="b@gate", config=Path("cfg"))
    remedy = explain(AuthenticationException("x"), opened(), target)[1]
    assert remedy.endswith("try it by hand: ssh -p 2222 -i key -J b@gate -F cfg kim@h")


@pytest.mark.parametrize(
    ("banner", "kind", "command"),
    [
        (LINUX, "ssh-ed25519", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
        (LINUX, "ecdsa-sha2-nistp256", "ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub"),
        (WINDOWS, "ssh-rsa", "ssh-keygen -lf C:\\ProgramData\\ssh\\ssh_host_rsa_key.pub"),
    ],
)
def test_a_host_key_is_compared_on_the_host(banner: str, kind: str, command: str) -> None:
    assert key_of_host(opened(banner).client, SimpleNamespace(get_name=lambda: kind)) == command  # type: ignore[arg-type]
