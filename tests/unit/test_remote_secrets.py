"""Secrets on a host: where they lie, who may use them, and what is wrong with them when somebody has been there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.remote import secrets
from provisioner.remote.failure import Failure
from provisioner.remote.main import Conversation

from .remote_host import World


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_secret_is_new_each_time_and_tells_nothing_of_itself() -> None:
    one, other = secrets.new(), secrets.new()
    assert one != other and len(bytes.fromhex(one)) == 32
    assert len(secrets.fingerprint(one)) == 16 and secrets.fingerprint(one) != secrets.fingerprint(other)
    assert secrets.fingerprint(one) not in one


def test_kept_for_us_and_admitted_for_ray(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    old = os.umask(0)
    try:
        secrets.keep(host, "token", "abc")
        path = secrets.admit(host, "token", "abc")
    finally:
        os.umask(old)
    kept = secrets.original_path(host, "token")
    folder = Path(kept).parent
    assert (mode(kept), mode(path), mode(str(folder))) == (0o600, 0o600, 0o700)
    assert secrets.original(host, "token") == "abc" == secrets.read(path)
    for place, account in ((kept, ""), (path, host.account)):
        assert secrets.flaws(host, place, "Ray's token", "abc", account) == []
    secrets.keep(host, "token", "def")
    assert secrets.original(host, "token") == "def"
    secrets.forget(host, "token")
    assert secrets.original(host, "token") is None
    assert not folder.exists() and list(Path(path).parent.iterdir()) == []
    secrets.forget(host, "token")


def test_another_secret_stays_where_one_is_forgotten(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    secrets.keep(host, "token", "abc")
    secrets.keep(host, "authority", "key")
    secrets.forget(host, "token")
    assert secrets.original(host, "authority") == "key"


def link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


FLAWS: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("removed", Path.unlink, ["missing"]),
    ("emptied", lambda path: path.write_text(""), ["unreadable"]),
    ("another", lambda path: path.write_text("xyz"), [secrets.fingerprint("xyz")]),
    ("not text", lambda path: path.write_bytes(b"\xff\xfe"), ["unreadable"]),
    ("endless", lambda path: path.write_bytes(b"a" * 70000), ["unreadable"]),
    ("readable by all", lambda path: path.chmod(0o644), ["0644, of "]),
    ("readable by its group", lambda path: path.chmod(0o640), ["0640, of "]),
    ("a link", link, ["unreadable", "0777, of "]),
]


@pytest.mark.parametrize(("change", "told"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
def test_what_is_wrong_with_a_secret(tmp_path: Path, change: Callable[[Path], object], told: list[str]) -> None:
    host = World(tmp_path).host()
    path = secrets.admit(host, "token", "abc")
    change(Path(path))
    found = secrets.flaws(host, path, "Ray's token", "abc", host.account)
    assert [before.startswith(text) for (_, before, _), text in zip(found, told, strict=True)] == [True] * len(told)
    assert not any("abc" in text for each in found for text in each)
    secrets.admit(host, "token", "abc")
    assert secrets.flaws(host, path, "Ray's token", "abc", host.account) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_copy_belongs_to_rays_account(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    host.account = "nobody"
    path = secrets.admit(host, "token", "abc")
    assert secrets.flaws(host, path, "Ray's token", "abc", "nobody") == []
    os.chown(path, 0, 0)
    assert secrets.flaws(host, path, "Ray's token", "abc", "nobody") == [
        (f"who may use {path}", "0600, of root", "0600, of nobody")
    ]
    host.account = "no-such-account"
    with pytest.raises(Failure, match="there is no account"):
        secrets.admit(host, "token", "abc")


def test_only_what_others_need_is_lent(tmp_path: Path) -> None:
    talk = Conversation()
    talk.host = World(tmp_path).host()
    talk._greeted.set()
    secrets.keep(talk.host, "certificate", "key")
    for name in ("token", "certificate", "../marker.json", None, ["token"]):
        with pytest.raises(Failure, match="keeps no secret"):
            talk.answer("secret", name)
    secrets.keep(talk.host, "token", "abc")
    assert talk.answer("secret", "token") == "abc"
