"""Commands on a sandbox host, through paramiko and through OpenSSH's client."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from pathlib import Path

import paramiko
import pytest

from provisioner.sandbox import Sandbox, SandboxHost
from provisioner.sandbox.keys import ensure_key
from tests.waiting import soon

from .conftest import LIMIT, Connect, Ssh
from .support import alive, number_in, zombies

MEGABYTE = 1 << 20


def run(client: paramiko.SSHClient, command: str) -> tuple[int, bytes, bytes]:
    _, out, err = client.exec_command(command, timeout=LIMIT)
    return out.channel.recv_exit_status(), out.read(), err.read()


def begin(client: paramiko.SSHClient, command: str) -> paramiko.Channel:
    """Start a command and keep its input open, which exec_command's files close when they are forgotten."""
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=LIMIT)
    channel.settimeout(LIMIT)
    channel.exec_command(command)
    return channel


def test_output_and_status_with_paramiko(client: paramiko.SSHClient) -> None:
    assert run(client, "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")


def test_output_and_status_with_openssh(ssh: Ssh) -> None:
    done = ssh("echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_death_by_signal_is_reported(client: paramiko.SSHClient, ssh: Ssh) -> None:
    assert run(client, "kill -9 $$")[0] == -1
    assert ssh("kill -9 $$").returncode == 255


def test_commands_find_a_bare_environment(client: paramiko.SSHClient, host: SandboxHost, sandbox: Sandbox) -> None:
    lines = run(client, "pwd; env")[1].decode().splitlines()
    found = dict(line.split("=", 1) for line in lines[1:])
    assert lines[0] == found["HOME"] == str(host.home)
    assert found["USER"] == found["LOGNAME"] == sandbox.user
    assert found["SSH_CONNECTION"].endswith(f" 127.0.0.1 {host.port}")
    assert set(found) <= {
        "HOME",
        "PROVISION_SANDBOX",
        "USER",
        "LOGNAME",
        "SHELL",
        "PATH",
        "LANG",
        "SSH_CONNECTION",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }


def test_python3_is_the_python_that_runs_us_outside_its_environment(client: paramiko.SSHClient) -> None:
    out = run(client, "python3 -c 'import sys; print(sys.version); print(sys.prefix)'")[1].decode()
    assert out == f"{sys.version}\n{sys.base_prefix}\n"


def test_64_megabytes_of_stdin(client: paramiko.SSHClient, ssh: Ssh) -> None:
    data = os.urandom(MEGABYTE) * 64
    wanted = hashlib.sha256(data).hexdigest().encode() + b"  -\n"
    stdin, out, _ = client.exec_command("sha256sum", timeout=LIMIT)
    for start in range(0, len(data), MEGABYTE):
        stdin.channel.sendall(data[start : start + MEGABYTE])
    stdin.channel.shutdown_write()
    assert out.read() == wanted
    assert ssh("sha256sum", data).stdout == wanted


def test_64_megabytes_of_stdout(client: paramiko.SSHClient, ssh: Ssh) -> None:
    command = f"head -c {64 * MEGABYTE} /dev/zero"
    assert run_large(client, command) == ssh(command).stdout == bytes(64 * MEGABYTE)


def run_large(client: paramiko.SSHClient, command: str) -> bytes:
    channel = begin(client, command)
    return b"".join(iter(lambda: channel.recv(4 * MEGABYTE), b""))


def test_a_command_that_does_not_read_holds_its_client_back(client: paramiko.SSHClient) -> None:
    channel = begin(client, "sleep 60")
    channel.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(64):
            channel.sendall(bytes(MEGABYTE))
    channel.close()


def test_input_nobody_reads_is_discarded(client: paramiko.SSHClient) -> None:
    stdin, out, _ = client.exec_command("exec <&-; sleep 0.3; echo done", timeout=LIMIT)
    with contextlib.suppress(OSError):  # the command may end first
        for _ in range(16):
            stdin.channel.sendall(bytes(MEGABYTE))
    assert out.read() == b"done\n"


def test_end_of_input_reaches_the_command(client: paramiko.SSHClient) -> None:
    stdin, out, _ = client.exec_command("cat; echo end", timeout=LIMIT)
    stdin.write(b"last words\n")
    stdin.channel.shutdown_write()
    assert out.read() == b"last words\nend\n"


def test_a_conversation_goes_back_and_forth_at_once(client: paramiko.SSHClient) -> None:
    channel = begin(client, "cat")
    started = time.monotonic()
    for number in range(50):
        channel.sendall(b"%d\n" % number)
        assert channel.recv(100) == b"%d\n" % number
    assert time.monotonic() - started < 3


def test_a_wrong_key_is_refused(tmp_path: Path, connect: Connect, host: SandboxHost, ssh: Ssh) -> None:
    other = tmp_path / "other"
    ensure_key(other)
    with pytest.raises(paramiko.AuthenticationException):
        connect(host, key=other)
    refused = ssh("true", key=other)
    assert refused.returncode == 255 and b"Permission denied (publickey)" in refused.stderr


def test_a_wrong_user_is_refused(connect: Connect, host: SandboxHost, ssh: Ssh) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        connect(host, user="somebody")
    assert b"Permission denied (publickey)" in ssh("true", user="somebody").stderr


def test_shells_and_forwarding_are_refused(client: paramiko.SSHClient, host: SandboxHost) -> None:
    with pytest.raises(paramiko.SSHException):
        client.invoke_shell()
    transport = client.get_transport()
    assert transport is not None
    with pytest.raises(paramiko.ChannelException):
        transport.open_channel("direct-tcpip", ("127.0.0.1", host.port), ("127.0.0.1", 1))
    assert run(client, "echo still here")[1] == b"still here\n"


def test_keepalives_are_answered(client: paramiko.SSHClient, ssh: Ssh) -> None:
    transport = client.get_transport()
    assert transport is not None
    asking = threading.Thread(target=transport.global_request, args=("keepalive@openssh.com",), daemon=True)
    asking.start()
    asking.join(5)
    assert not asking.is_alive()
    alive_for_long = ssh("sleep 2.5; echo done", extra=("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1"))
    assert alive_for_long.stdout == b"done\n"


@pytest.mark.parametrize("cut", ["connection", "channel"])
def test_a_cut_ends_the_command(cut: str, connect: Connect, sandbox: Sandbox, host: SandboxHost) -> None:
    pid_file = host.home / f"cut-{cut}"
    client = connect(host)
    channel = begin(client, f"echo $$ > {pid_file}; sleep 60; true")
    pid = number_in(pid_file)
    assert alive(pid)
    if cut == "connection":
        client.close()
    else:
        channel.close()
    assert soon(lambda: not alive(pid))
    assert zombies(int((sandbox.folder / "daemon.pid").read_text())) == []


def test_a_detached_process_survives_its_connection(connect: Connect, host: SandboxHost) -> None:
    pid_file = host.home / "detached"
    client = connect(host)
    run(client, f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 60' < /dev/null > /dev/null 2>&1 &")
    pid = number_in(pid_file)
    client.close()
    assert not soon(lambda: not alive(pid), 1.0)
    os.kill(pid, 9)


def test_the_status_arrives_while_something_left_behind_holds_the_output(client: paramiko.SSHClient) -> None:
    channel = begin(client, "sleep 5 & exit 3")
    started = time.monotonic()
    assert channel.recv_exit_status() == 3
    assert time.monotonic() - started < 1
    assert not channel.closed
    channel.close()


def test_many_commands_on_one_connection(client: paramiko.SSHClient) -> None:
    """Also that a command which ends at once never loses the answer to its request."""
    assert [run(client, f"exit {number}")[0] for number in range(50)] == list(range(50))
