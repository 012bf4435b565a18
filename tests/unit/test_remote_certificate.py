"""A host's certificate, end to end with the controller's side that signs: what is a difference, what lies where."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.authority import Authority
from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.ray import certificates
from provisioner.remote import secrets, tls
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host as RemoteHost
from provisioner.remote.main import Conversation
from provisioner.remote.resources import ray_spec

from .remote_host import World, make, shown

DAY = 86400
HOSTS = (
    Host("ctl", "head", "10.0.0.10", "3.11.9", (), RayOptions()),
    Host("w1", "worker", "10.0.0.11", "3.11.9", (), RayOptions({"node_ip": "10.0.0.21"})),
)
LAB = Inventory("lab", "2.60.0", HOSTS, Path("inv.yml"), tls=True)
NAMES = ["10.0.0.11", "10.0.0.21", "127.0.0.1", "::1", "localhost", "w1"]


class Room:
    """A head and a worker in folders, and a controller between them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hidden: list[str] = []
        self.asked: list[str] = []
        self.now = int(time.time())
        self._clock = monkeypatch
        self.worlds = {}
        for host in HOSTS:
            (folder / host.name).mkdir()
            self.worlds[host.name] = World(folder / host.name)
            self.worlds[host.name]._hello.update(host=host.name)
        self.begin()

    def begin(self, days: int = 0) -> None:
        """Begin another run, that many days later."""
        self.now += days * DAY
        moment = datetime.fromtimestamp(self.now, timezone.utc)
        self._clock.setattr("provisioner.engine.authority._now", lambda: moment)
        self.authority = Authority(LAB, self._ask, self.hidden.extend)
        for host in HOSTS:
            world = self.worlds[host.name]
            world._hello.update(run=self.now)
            world.controller.answers = {
                ("controller", "certificate"): lambda _, host=host: self.authority.certificate(host),
                ("ctl", "authority"): lambda _: self._ask("ctl", "authority", None, 1.0),
            }

    def _ask(self, to: str, what: str, args: Any, timeout: float) -> Any:
        self.asked.append(what)
        talk = Conversation()
        talk.host, talk.mode = self.host(to), "apply"
        talk._greeted.set()
        answer = talk.answer(what, args)
        if talk._turn.held:
            talk._turn._file.close()  # type: ignore[attr-defined]
        return answer

    def host(self, name: str = "w1") -> RemoteHost:
        return self.worlds[name].host()

    def task(self, name: str = "w1") -> Any:
        host = LAB.host(name)
        return make("certificate", names=certificates.node_names(host), head="ctl")

    def differences(self, name: str = "w1") -> list[tuple[str, str, str, str]]:
        return shown(self.task(name).observe(self.host(name)))

    def apply(self, *names: str) -> None:
        for name in names or ("ctl", "w1"):
            self.task(name).ensure(self.host(name))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path, monkeypatch)


def test_from_nothing_to_certified_and_quiet(room: Room) -> None:
    kept = ("add", "the cluster's own certificate authority", "", "made and kept on this host")
    head_names = ["10.0.0.10", "127.0.0.1", "::1", "ctl", "localhost"]
    assert room.differences("ctl") == [kept, ("add", "certificate", "", "for " + ", ".join(head_names))]
    assert room.differences("w1") == [("add", "certificate", "", "for " + ", ".join(NAMES))]
    room.apply()
    for name in ("ctl", "w1"):
        assert room.differences(name) == []
        assert tls.PENDING not in room.host(name).shared
    assert room.asked.count("keep authority") == 1
    assert room.asked.count("secret") == 0, "what was just made is not asked for"


def test_where_everything_lies_and_who_may_use_it(room: Room) -> None:
    room.apply()
    made = {
        name: {
            str(path.relative_to(world.root)): stat.S_IMODE(path.stat().st_mode)
            for path in world.root.rglob("*")
            if path.is_file() and path.parent.name in ("secrets", "service")
        }
        for name, world in room.worlds.items()
    }
    for name, files in made.items():
        assert set(files.values()) == {0o600}, name
        identity = tls.note(room.host(name))["id"]  # type: ignore[index]
        parts = {f"service/tls-{identity}.{part}.pem" for part in ("authority", "certificate", "key")}
        assert set(files) == {"secrets/certificate", *parts} | ({"secrets/authority"} if name == "ctl" else set())
    key = json.loads((room.worlds["ctl"].root / "secrets/authority").read_text())["key"]
    assert room.hidden == [key]
    for path in room.worlds["w1"].root.rglob("*.pem"):
        assert key not in path.read_text()


def test_what_ray_is_given(room: Room) -> None:
    room.apply()
    env = {"RAY_USE_TLS": "1"}
    told = tls.complete(room.host(), env)
    note = tls.note(room.host())
    assert note is not None
    assert (told["id"], told["authority"]) == (note["id"], tls.authority_id(room.host("ctl")))
    certificate, key, authority = (Path(env[name]).read_text() for name in tls.VARIABLES)
    pair = certificates.Pair(certificate, key)
    assert certificates.fingerprint(authority) == told["authority"]
    assert certificates.validity(certificate) == (note["since"], note["until"])
    with pytest.raises(certificates.BadAuthority, match="may not sign"):
        certificates.check_authority(pair)


def _edit(part: str, content: str) -> Callable[[Room], None]:
    def edit(room: Room) -> None:
        (path,) = (room.worlds["w1"].root / "service").glob(f"tls-*.{part}.pem")
        path.write_text(content)

    return edit


def _remove(pattern: str) -> Callable[[Room], None]:
    def remove(room: Room) -> None:
        (path,) = room.worlds["w1"].root.glob(pattern)
        path.unlink()

    return remove


def _open(room: Room) -> None:
    (path,) = room.worlds["w1"].root.glob("service/*.key.pem")
    path.chmod(0o644)


def _moved(room: Room) -> None:
    note = json.loads((room.worlds["w1"].root / "secrets/certificate").read_text())
    note["names"] = ["10.9.9.9", "localhost"]
    (room.worlds["w1"].root / "secrets/certificate").write_text(json.dumps(note))


def _other_authority(room: Room) -> None:
    (room.worlds["ctl"].root / "secrets/authority").unlink()
    room.begin()
    room.apply("ctl")


CHANGES = [
    ("key edited", _edit("key", "x"), "was edited", "a new one"),
    ("certificate edited", _edit("certificate", "x"), "was edited", "a new one"),
    ("key removed", _remove("service/*.key.pem"), "is missing", "a new one"),
    ("key open to others", _open, "may be used by others: 0644", "a new one"),
    ("another address", _moved, "for 10.9.9.9, localhost", "for 10.0.0.11"),
    ("another authority", _other_authority, "of another authority", "a new one"),
    ("a third left", lambda room: room.begin(days=245), "until 20", "renewed"),
    ("note damaged", lambda room: (room.worlds["w1"].root / "secrets/certificate").write_text("{"), "", "for 10.0"),
]


@pytest.mark.parametrize(("spoil", "before", "after"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_what_is_wrong_is_a_difference_and_mended(
    room: Room, spoil: Callable[[Room], object], before: str, after: str
) -> None:
    room.apply()
    old = tls.note(room.host())
    spoil(room)
    (found,) = room.differences("w1")
    assert found[1] == "certificate"
    assert before in found[2] and found[3].startswith(after)
    room.begin()
    room.apply("w1")
    assert room.differences("w1") == []
    assert tls.note(room.host()) != old


def test_two_thirds_of_its_time_it_stays(room: Room) -> None:
    room.apply()
    room.begin(days=242)
    assert room.differences("w1") == [] == room.differences("ctl")


def test_a_new_authority_comes_in_time_and_certifies_all_anew(room: Room) -> None:
    room.apply()
    former = tls.authority_id(room.host("ctl"))
    room.begin(days=2440)
    assert ("change", "the cluster's own certificate authority") in [row[:2] for row in room.differences("ctl")]
    room.apply()
    assert tls.authority_id(room.host("ctl")) not in ("", former)
    assert room.differences("w1") == [] == room.differences("ctl")


def test_the_next_run_takes_the_authority_from_the_head(room: Room) -> None:
    room.apply()
    before = tls.authority_id(room.host("ctl"))
    room.begin(days=250)
    room.apply()
    assert room.asked.count("secret") == 1, "two hosts, asked once"
    assert tls.authority_id(room.host("ctl")) == before
    assert len(room.hidden) == 2, "in every run"


@pytest.mark.parametrize(("mode", "owner"), [(0o644, 0), (0o640, 0), (0o600, 65534)])
def test_an_authority_that_others_could_use_is_replaced(room: Room, mode: int, owner: int) -> None:
    """They may have its key by now, or have put their own in its place."""
    if owner and os.geteuid():
        pytest.skip("only root gives files away")
    room.apply()
    path = room.worlds["ctl"].root / "secrets/authority"
    before = tls.authority_id(room.host("ctl"))
    path.chmod(mode)
    if owner:
        os.chown(path, owner, owner)
    ((action, what, now, wanted), _) = room.differences("ctl")
    assert (action, what, wanted) == ("change", "the cluster's own certificate authority", "a new one")
    assert now.startswith(f"open to others ({mode:04o}, of ")
    room.begin()
    assert [row[1] for row in room.differences("w1")] == ["certificate"]
    room.apply()
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o600, os.geteuid())
    assert tls.authority_id(room.host("ctl")) not in ("", before)
    assert room.differences("w1") == [] == room.differences("ctl")


def test_a_host_that_was_the_head_keeps_no_authority(room: Room) -> None:
    room.apply()
    kept, path = (room.worlds[name].root / "secrets/authority" for name in ("ctl", "w1"))
    path.write_bytes(kept.read_bytes())
    path.chmod(0o600)
    assert room.differences("w1") == [("remove", "the cluster's own certificate authority", str(path), "")]
    room.apply("w1")
    assert not path.exists() and kept.exists()
    assert room.differences("w1") == []


def test_an_authority_in_use_is_not_replaced_by_another_one(room: Room) -> None:
    room.apply()
    before = (room.worlds["ctl"].root / "secrets/authority").read_text()
    with pytest.raises(Failure, match="keeps a certificate authority already"):
        room._ask("ctl", "keep authority", "{}", 1.0)
    assert (room.worlds["ctl"].root / "secrets/authority").read_text() == before


def test_an_authority_that_is_none_is_named_and_not_shown(room: Room) -> None:
    room.apply()
    path = room.worlds["ctl"].root / "secrets/authority"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "key": "-----BEGIN PRIVATE KEY-----\nHUSH\n-----END PRIVATE KEY-----"}))
    room.begin()
    with pytest.raises(HostFailed) as caught:
        room.authority.certificate(LAB.host("w1"))
    assert "ctl keeps as the cluster's certificate authority is none" in caught.value.message
    assert "secrets/authority" in caught.value.remedy
    assert "HUSH" not in str(caught.value)


def test_a_head_that_is_only_looked_at_makes_no_authority(room: Room) -> None:
    talk = Conversation()
    talk.host, talk.mode = room.host("ctl"), "check"
    talk._greeted.set()
    assert talk.answer("authority", None) == ""
    with pytest.raises(Exception, match="takes no part in this run"):
        talk.answer("keep authority", "{}")
    assert not room.worlds["ctl"].root.exists()


def test_files_stay_while_something_runs_with_them(room: Room) -> None:
    room.apply()
    host = room.host()
    before = tls.complete(host, {})
    spec = {"argv": [], "env": {}, "python": "", "tls": before}
    host.write(host.path("service", "ray-lab.json"), json.dumps(spec).encode())
    room.begin(days=300)
    room.apply("w1")
    after = tls.note(room.host())
    assert after is not None
    assert {name.partition(".")[0] for name in tls._found(host)} == {"tls-" + before["id"], "tls-" + after["id"]}
    host.write(host.path("service", "ray-lab.json"), json.dumps({**spec, "tls": {"id": after["id"]}}).encode())
    room.apply("w1")
    assert {name.partition(".")[0] for name in tls._found(host)} == {"tls-" + after["id"]}


def test_removed_without_a_trace(room: Room) -> None:
    room.apply()
    for name in ("ctl", "w1"):
        task = room.task(name)
        assert shown(task.traces(room.host(name)))[0][:2] == ("remove", "certificate")
        task.remove(room.host(name))
        assert task.traces(room.host(name)) == []
        left = [path for path in room.worlds[name].root.rglob("*") if path.is_file() and path.name != "lock"]
        assert left == []


def test_only_who_should_have_one_gets_a_certificate(room: Room) -> None:
    plain = Authority(Inventory("lab", "2.60.0", HOSTS, Path("inv.yml")), room._ask, room.hidden.extend)
    with pytest.raises(HostFailed, match="needs no certificate"):
        plain.certificate(LAB.host("w1"))
    with pytest.raises(HostFailed, match="is no node of a cluster with"):
        room.authority.certificate(Host("w9", "worker", "10.0.0.19", "3.11.9", (), RayOptions()))
    assert room.asked == []


SPEC = {"versions": {"ray": "2.60.0", "python": "3.11.9"}, "gcs": "10.0.0.10:6379", "env": {}}


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (None, None, True),
        ({"authority": "a"}, {"authority": "a"}, True),
        ({"authority": "a"}, {"authority": "b"}, False),
        ({"authority": "a"}, None, False),
        (None, {"id": "", "until": "", "authority": "a"}, False),
    ],
)
def test_nodes_of_one_cluster_have_one_authority(one: Any, other: Any, fits: bool) -> None:
    first, second = ({**SPEC, **({"tls": each} if each else {})} for each in (one, other))
    assert ray_spec.fits(first, second) is fits


def test_going_back_keeps_the_tls_of_today() -> None:
    today = {"env": {"RAY_USE_TLS": "1", "RAY_TLS_SERVER_KEY": "/new", "A": "1"}, "tls": {"id": "n", "authority": "a"}}
    then = {"env": {"RAY_USE_TLS": "1", "RAY_TLS_SERVER_KEY": "/old", "B": "2"}, "tls": {"id": "o"}, "gcs": "x"}
    plain = {"env": {"B": "2"}, "gcs": "x"}
    wanted = {"env": {"RAY_USE_TLS": "1", "RAY_TLS_SERVER_KEY": "/new", "B": "2"}, "tls": today["tls"], "gcs": "x"}
    assert tls.carried(then, today) == wanted == tls.carried(plain, today)
    assert tls.carried(then, plain) == plain


def test_an_edited_path_can_not_lead_elsewhere(room: Room) -> None:
    room.apply()
    host = room.host()
    note = tls.note(host)
    assert note is not None
    path = Path(secrets.copy_path(host, tls._name(note["id"], "key")))
    other = path.rename(path.with_suffix(".else"))
    path.symlink_to(other)
    assert tls.damage(host, note) == f"{path} is missing"
