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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_another_account_has_made_is_no_secret_of_ours(tmp_path: Path) -> None:
    """As after `become: true` was added: what was ours then is Ray's account's now."""
    host = World(tmp_path).host()
    secrets.keep(host, "token", "abc")
    folder = Path(host.path("secrets"))
    for path in (folder, folder / "token"):
        os.chown(path, 65534, 65534)
    assert secrets.original(host, "token") is None
    secrets.keep(host, "token", "def")
    assert secrets.original(host, "token") == "def"
    assert {(path.stat().st_uid, mode(str(path))) for path in (folder, folder / "token")} == {(0, 0o700), (0, 0o600)}


def test_a_link_in_place_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    host, elsewhere = World(tmp_path).host(), tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "secrets").symlink_to(elsewhere)
    secrets.keep(host, "token", "abc")
    assert list(elsewhere.iterdir()) == [] and mode(str(elsewhere)) == 0o755
    assert mode(host.path("secrets")) == 0o700


def test_what_a_run_left_that_was_ended_while_it_wrote_is_removed(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    secrets.keep(host, "authority", "key")
    secrets.admit(host, "authority", "key")
    for folder in ("secrets", "service"):
        for left in ("authority.part7", "authority.new", "authority.new.part7-ab"):
            Path(host.path(folder, left)).write_text("key")
    secrets.forget(host, "authority")
    assert not Path(host.path("secrets")).exists() and list(Path(host.path("service")).iterdir()) == []


def test_and_what_no_task_knows_of_goes_at_the_end_of_a_teardown(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    for name in ("secrets/authority.new.part7", "redis/redis.conf.new.part7", "service/token.part7"):
        Path(host.path(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(host.path(name)).write_text("key")
    Path(host.path("redis", "data")).mkdir()
    host.marker.forget()
    assert [path.name for path in Path(host.root).rglob("*")] == ["redis", "data"]


@pytest.mark.parametrize("args", [None, "redis", {"name": "redis"}, {"name": "redis", "key": 7}, {"name": "certificate",
                                  "key": "k"}, {"name": ["redis"], "key": "k"}])  # fmt: skip
def test_only_what_may_be_lent_is_compared(tmp_path: Path, args: object) -> None:
    host = World(tmp_path).host()
    for name in ("redis", "certificate"):
        secrets.keep(host, name, "abc")
    with pytest.raises(Failure, match=r"keeps no secret|compared by a key"):
        secrets.compared(host, args)
    told = secrets.compared(host, {"name": "redis", "key": "k"})
    assert told == secrets.sealed("k", "abc") != secrets.sealed("l", "abc")


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
