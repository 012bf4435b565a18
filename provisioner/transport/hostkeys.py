"""Host keys: strict. An unknown key is refused with its fingerprint, a changed one always."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from paramiko import HostKeys, MissingHostKeyPolicy, PKey, SSHClient, SSHException
from paramiko.hostkeys import HostKeyEntry
from platformdirs import user_data_path

from provisioner.errors import Unreachable
from provisioner.portable import command_line, system_file
from provisioner.transport.refusals import key_of_host


def own_file() -> Path:
    """Return our own known_hosts, beside the user's."""
    return user_data_path("provision") / "known_hosts"


def fingerprint(key: PKey) -> str:
    """Return the fingerprint as OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


class KnownHosts:
    """The keys to trust: of the user, of the system, of the inventory and of ours, read once per run.

    Args:
        accept_new: trust a host that is seen for the first time, and remember its key in a file of ours.
    """

    def __init__(self, accept_new: bool = False) -> None:
        self._accept_new = accept_new
        self._loaded: dict[Path | None, HostKeys] = {}

    def prepare(self, client: SSHClient, lookup_name: str, extra: Path | None) -> None:
        """Tell a client which keys that host may show, and what to do about any other."""
        known: Mapping[str, PKey] = self._keys(extra).lookup(lookup_name) or {}
        for kind, key in known.items():
            client.get_host_keys().add(lookup_name, kind, key)
        client.set_missing_host_key_policy(_Policy(self._accept_new and not known, tuple(known.values()), extra))

    def _keys(self, extra: Path | None) -> HostKeys:
        if extra not in self._loaded:
            places = (Path("~/.ssh/known_hosts").expanduser(), system_file("ssh", "ssh_known_hosts"), own_file(), extra)
            keys, seen = HostKeys(), set()
            for name, key in (each for file in places if file is not None and file.is_file() for each in _read(file)):
                if (name, key.get_name()) not in seen:  # of two keys of a kind the first counts
                    seen.add((name, key.get_name()))
                    keys.add(name, key.get_name(), key)
            self._loaded[extra] = keys
        return self._loaded[extra]


def _read(file: Path) -> Iterator[tuple[str, PKey]]:
    """Yield the names and keys in a file: UTF-8, as OpenSSH writes it, whatever this machine's own code page is."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        text = line.strip()
        try:
            entry = HostKeyEntry.from_line(text, number) if text and not text.startswith("#") else None
        except SSHException:  # what is no key is passed over, as OpenSSH does
            continue
        if entry is not None and entry.key is not None:
            yield from ((name, entry.key) for name in entry.hostnames)


class _Policy(MissingHostKeyPolicy):
    def __init__(self, accept: bool, known: tuple[PKey, ...], extra: Path | None) -> None:
        self._accept = accept
        self._known = known
        self._extra = extra

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        if self._known:
            raise changed(hostname, key, self._known[0], self._extra)
        if not self._accept:
            raise Unreachable(
                f"the host key of {hostname} is unknown: {key.get_name()} {fingerprint(key)}",
                remedy=f"compare it with `{key_of_host(client, key)}` on the host, then run again "
                "with --accept-new-host-keys",
            )
        remember(hostname, key)


def remember(hostname: str, key: PKey) -> None:
    """Add a key to our own known_hosts."""
    from filelock import FileLock

    file = own_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=10), file.open("a", encoding="ascii") as lines:
        lines.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")


def changed(hostname: str, shown: PKey, known: PKey, extra: Path | None) -> Unreachable:
    """Return the error for a host that shows another key than it did.

    Args:
        extra: the inventory's own file of host keys.
    """
    file = next((file for file in (own_file(), extra) if file is not None and _has(file, hostname)), None)
    forget = ["ssh-keygen", "-R", hostname, *(["-f", str(file)] if file else [])]
    return Unreachable(
        f"the host key of {hostname} has CHANGED: it shows {fingerprint(shown)}, known is {fingerprint(known)}; "
        "somebody may be listening in, or the machine was installed anew",
        remedy=f"if you know why, forget the old key: {command_line(forget)}",
    )


def _has(file: Path, hostname: str) -> bool:
    """Tell whether a host's key is in that file."""
    return file.is_file() and any(name == hostname for name, _ in _read(file))
