"""Why a host lets nobody in, in a sentence, and what to do about it: on Windows that is something else."""

from __future__ import annotations

import errno
import socket

from fabric import Connection
from paramiko import AuthenticationException, PasswordRequiredException, PKey, SSHClient, Transport
from paramiko.ssh_exception import NoValidConnectionsError

from provisioner.portable import command_line
from provisioner.transport.target import Target

WINDOWS_BANNER = "OpenSSH_for_Windows"
"""How the SSH server of Windows introduces itself (Win32-OpenSSH)."""
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, 10064, 10065, 10051)
"""Nothing answers, not even the machine: as POSIX and as Windows (WSAEHOSTDOWN ...) number it."""


def is_windows(transport: Transport | None) -> bool:
    """Tell whether a host's SSH server is that of Windows, as far as it has introduced itself."""
    return transport is not None and WINDOWS_BANNER in transport.remote_version


def explain(error: Exception, connection: Connection, target: Target) -> tuple[str, str]:
    """Return what happened and what to do."""
    where = f"{connection.user}@{connection.host}:{connection.port}"
    by_hand = f"try it by hand: {_typed(connection, target)}"
    if isinstance(error, PasswordRequiredException):
        return f"the key for {where} is protected by a passphrase", (
            "add it to the ssh-agent (ssh-add), or give `ssh: {passphrase: {from_env: NAME}}`"
        )
    if isinstance(error, AuthenticationException) and "timeout" not in str(error):
        return f"{where} does not accept the key or password that we offered", _let_in(connection, by_hand)
    if isinstance(error, socket.gaierror):
        return f"the name {where.split('@', 1)[1]} is unknown", "give the host an `address:`, or mend the name service"
    cause: object = error
    if isinstance(error, NoValidConnectionsError) and error.errors:
        cause = next(iter(error.errors.values()))
    if isinstance(cause, ConnectionRefusedError):
        return f"{where} refused the connection", "is the SSH server running there, and on that port?"
    if isinstance(cause, (TimeoutError, AuthenticationException)):
        return f"{where} did not answer in time", f"is the machine on, and its SSH port open for this one? {by_hand}"
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return f"nothing answers at {where}: {cause.strerror}", (
            "is the machine on and not asleep, its cable in, and its `address:` right?"
        )
    if "banner" in str(error) or "No existing session" in str(error):  # paramiko's words when its time is over
        return f"what answers at {where} is no SSH server, or an overloaded one", by_hand
    if isinstance(error, ValueError) or "Invalid key" in str(error) or (isinstance(error, OSError) and error.filename):
        why = str(getattr(error, "strerror", None) or error)
        settings = "`ssh: key` and `passphrase`" if target.passphrase else "`ssh: key`"
        return f"the key for {where} can't be read: {why}", f"check {settings} in the inventory"
    return f"no connection to {where}: {str(cause) or type(cause).__name__}", by_hand


def key_of_host(client: SSHClient, key: PKey) -> str:
    """Return the command that shows, on the host itself, the fingerprint of its key."""
    kind = key.get_name().removeprefix("ssh-").split("-")[0]  # ed25519, rsa, ecdsa-sha2-nistp256
    folder = "C:\\ProgramData\\ssh\\" if is_windows(client.get_transport()) else "/etc/ssh/"
    return f"ssh-keygen -lf {folder}ssh_host_{kind}_key.pub"


def _let_in(connection: Connection, by_hand: str) -> str:
    """Return what to look at when a host knows neither key nor password.

    Where Windows' server looks: learn.microsoft.com, "Key-based authentication in OpenSSH for Windows".
    """
    if not is_windows(connection.client.get_transport()):
        return f"check `ssh: user, key, password` in the inventory; {by_hand}"
    return (
        "the public key belongs into C:\\ProgramData\\ssh\\administrators_authorized_keys if the account is an "
        "administrator's (nobody but Administrators and SYSTEM may have access to that file), else into "
        ".ssh\\authorized_keys of the account's own folder; `ssh: user` is what `whoami` says on the host "
        f"(docs/windows.md); {by_hand}"
    )


def _typed(connection: Connection, target: Target) -> str:
    """Return the ssh command that tries the same."""
    words = ["ssh"]
    if target.port:
        words += ["-p", str(target.port)]
    if target.key:
        words += ["-i", str(target.key)]
    if target.jump:
        words += ["-J", target.jump]
    if target.config:
        words += ["-F", str(target.config)]
    return command_line([*words, f"{connection.user}@{connection.host}"])
