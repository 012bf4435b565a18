"""How OpenSSH's client is told what the inventory says of a host."""

from __future__ import annotations

from pathlib import Path

from provisioner.transport.hostkeys import own_file
from provisioner.transport.target import Target


def command(target: Target) -> list[str]:
    """Return the arguments of ssh(1) that reach a host as we do; a password it asks for by itself."""
    words: list[str] = []
    if target.config:
        words += ["-F", str(target.config)]
    if target.port:
        words += ["-p", str(target.port)]
    if target.key:
        words += ["-i", str(target.key), "-o", "IdentitiesOnly=yes"]
    if target.jump:
        words += ["-J", target.jump]
    files = [Path("~/.ssh/known_hosts").expanduser(), own_file(), *([target.known_hosts] if target.known_hosts else [])]
    words += ["-o", "UserKnownHostsFile=" + " ".join(_quoted(file) for file in files)]
    place = f"{target.user}@{target.address}" if target.user else target.address
    return [*words, "--", place]


def _quoted(file: Path) -> str:
    """Return a path as a list of files in ssh_config(5) has it; % begins one of its tokens."""
    text = str(file).replace("%", "%%")
    return f'"{text}"' if " " in text else text
