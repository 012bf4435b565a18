"""The keys of a sandbox: one for the client, one per host, and the known_hosts file that goes with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def ensure_key(path: Path) -> str:
    """Make an ed25519 key pair in OpenSSH's format unless it is there already.

    Returns:
        The public half as OpenSSH writes it: ``ssh-ed25519 AAAA...``.
    """
    public = path.with_name(path.name + ".pub")
    if not (path.exists() and public.exists()):
        _make_key(path, public)
    return public.read_text("utf-8").strip()


def write_known_hosts(path: Path, keys: Mapping[int, str]) -> None:
    """Write known_hosts lines for hosts on loopback, given the public key behind each port."""
    lines = [f"[127.0.0.1]:{port} {key}\n" for port, key in keys.items()]
    _write_whole(path, "".join(lines).encode(), 0o600)


def _make_key(path: Path, public: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public_text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    _write_whole(public, public_text + b"\n", 0o644)
    _write_whole(path, private_text, 0o600)


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file aside and move it into place, so that nobody ever sees half of it or a wider mode."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.replace(path)
