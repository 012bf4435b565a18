"""Whether an account's password is still the one that Windows was told: it does not tell passwords, and says nothing of
a wrong one until the task is to start. What is kept is a salted hash that takes long to guess from.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from provisioner.remote.host import Host

ROUNDS = 60000
"""Of PBKDF2, where Python was built without scrypt: some 50 ms."""


def path_of(host: Host, name: str) -> str:
    return host.path("service", name + ".password.json")


def note(host: Host, name: str) -> None:
    """Remember the password that a service was registered with."""
    salt = os.urandom(16)
    text = json.dumps({"salt": salt.hex(), "hash": _hash(host.account_password, salt)})
    host.write(path_of(host, name), text.encode("ascii"), 0o600)


def difference(host: Host, name: str) -> Optional[str]:
    """Return in words what tells the password from the one that was registered; None if it is the same."""
    try:
        with open(path_of(host, name), encoding="ascii") as file:
            kept = json.load(file)
        same = _hash(host.account_password, bytes.fromhex(kept["salt"])) == kept["hash"]
    except (OSError, ValueError, KeyError, TypeError):
        return "with a password that was not noted"
    return None if same else "its password changed"


def _hash(password: str, salt: bytes) -> str:
    import hashlib

    secret = password.encode("utf-8", "surrogatepass")
    if hasattr(hashlib, "scrypt"):
        return hashlib.scrypt(secret, salt=salt, n=1 << 13, r=8, p=1, dklen=32).hex()  # 8 MiB, some 25 ms
    return hashlib.pbkdf2_hmac("sha256", secret, salt, ROUNDS, 32).hex()
