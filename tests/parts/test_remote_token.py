"""Ray's token on a head and on a worker: made once, laid down privately, shown to Ray, missed when it is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.resources import ray_state, ray_token
from tests.unit.ray_stage import Dashboard, Node, dashboard
from tests.unit.remote_host import World, shown

__all__ = ["dashboard"]

ONE, OTHER = "1" * 64, "2" * 64
MARKS = {ONE: secrets.fingerprint(ONE), OTHER: secrets.fingerprint(OTHER)}
Row = tuple[str, str, str, str]


class Guarded(Node):
    """A node of a cluster with a token; a worker's head has ``ONE``."""

    def __init__(self, world: World, dashboard: Dashboard, kind: str) -> None:
        super().__init__(world, dashboard, kind)
        self.params["env"] = {"X": "1", "RAY_AUTH_MODE": "token"}
        self.params["head"] = "w1" if kind == "ray_head" else "ctl"
        self.rotate = False
        self.service.on_restart = self._run
        self.begun = 0
        self.head_has(ONE)

    def head_has(self, token: str) -> None:
        self.token = MARKS.get(token, "")
        self.world.controller.answers["ctl", "secret"] = token or None

    def _run(self) -> None:
        """What Ray does: it reads the file once, and asks for what stood there."""
        self.begun += 1
        self.dashboard.token = self.copy.read_text() if self.guarded and self.kind == "ray_head" else ""
        self.join(f"n{self.begun}")

    @property
    def guarded(self) -> bool:
        return bool(self.params["env"].get("RAY_AUTH_MODE") == "token")

    @property
    def copy(self) -> Path:
        return self.world.root / "service" / "token"

    @property
    def original(self) -> Path:
        return self.world.root / "secrets" / "token"

    def host(self) -> Host:
        ray_state._cache.clear()
        host = self.world.host()
        host.rotate = self.rotate
        return host

    def found(self) -> list[Row]:
        return shown(self.resource().observe(self.host()))

    def stops(self) -> list[bool]:
        return [bool(each["stops"]) for each in self.resource().observe(self.host())]

    def bring(self) -> str:
        return str(self.resource().ensure(self.host()))

    def spec(self) -> dict[str, Any]:
        found = service.read_spec(self.world.host(), "ray-lab")
        assert found is not None
        return found


@pytest.fixture
def head(tmp_path: Path, dashboard: Dashboard) -> Guarded:
    return Guarded(World(tmp_path), dashboard, "ray_head")


@pytest.fixture
def worker(tmp_path: Path, dashboard: Dashboard) -> Guarded:
    return Guarded(World(tmp_path), dashboard, "ray_worker")


def test_a_head_makes_it_once(head: Guarded) -> None:
    head.bring()
    token = head.original.read_text()
    assert len(token) == 64 and head.copy.read_text() == token
    assert (head.original.stat().st_mode & 0o777, head.copy.stat().st_mode & 0o777) == (0o600, 0o600)
    assert head.found() == [] and head.bring() == "in the cluster"
    assert (head.original.read_text(), head.service.done) == (token, ["restart"])
    assert set(head.dashboard.shown[1:]) == {f"Bearer {token}"}, "but the first, before there was one"
    env = head.spec()["env"]
    assert (env["RAY_AUTH_MODE"], env["RAY_AUTH_TOKEN_PATH"]) == ("token", str(head.copy))


def test_a_worker_gets_the_head_s(worker: Guarded) -> None:
    worker.bring()
    assert worker.copy.read_text() == ONE and not worker.original.exists()
    assert worker.found() == [] and worker.bring() == "in the cluster"
    assert worker.spec()["token"] == MARKS[ONE]


@pytest.mark.parametrize("kind", ["ray_head", "ray_worker"])
def test_its_value_is_in_no_file_but_its_own_and_in_nothing_that_is_said(
    kind: str, tmp_path: Path, dashboard: Dashboard
) -> None:
    node = Guarded(World(tmp_path), dashboard, kind)
    said: list[Any] = [node.found(), node.bring(), node.found()]
    token = node.copy.read_text()
    node.copy.write_text(OTHER)
    said += [node.found(), node.bring()]
    holders = {path for path in node.world.root.rglob("*") if path.is_file() and token.encode() in path.read_bytes()}
    assert holders == {node.copy} | ({node.original} if kind == "ray_head" else set())
    assert token not in json.dumps([said, node.world.controller.heard])
    assert OTHER not in json.dumps([said, node.world.controller.heard])


@pytest.mark.parametrize("kind", ["ray_head", "ray_worker"])
def test_a_cluster_that_had_none_is_told_and_restarted(kind: str, tmp_path: Path, dashboard: Dashboard) -> None:
    node = Guarded(World(tmp_path), dashboard, kind)
    node.params["env"] = {"X": "1"}
    node.bring()
    node.params["env"] = {"X": "1", "RAY_AUTH_MODE": "token"}
    after = "a new one" if kind == "ray_head" else "of the head"
    assert node.found() == [
        ("add", "ray env RAY_AUTH_MODE", "", "token"), ("add", "Ray's token", "", after)
    ]  # fmt: skip
    assert node.stops()[0]
    node.bring()
    assert node.found() == []


@pytest.mark.parametrize("kind", ["ray_head", "ray_worker"])
def test_a_cluster_that_shall_have_none_any_more(kind: str, tmp_path: Path, dashboard: Dashboard) -> None:
    node = Guarded(World(tmp_path), dashboard, kind)
    node.bring()
    node.params["env"] = {"X": "1", "RAY_AUTH_MODE": "disabled"}
    assert ("change", "ray env RAY_AUTH_MODE", "token", "disabled") in node.found()
    node.bring()
    assert node.found() == [] and "token" not in node.spec()
    assert not node.copy.exists() and not node.original.exists()


FILE = "Ray's token ({})"
DAMAGE: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("removed", Path.unlink, FILE, "missing"),
    ("another", lambda path: path.write_text(OTHER), FILE, MARKS[OTHER]),
    ("emptied", lambda path: path.write_text(""), FILE, "unreadable"),
    ("readable by all", lambda path: path.chmod(0o644), "who may use {}", "0644, of "),
]


@pytest.mark.parametrize("kind", ["ray_head", "ray_worker"])
@pytest.mark.parametrize(("harm", "what", "before"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_what_was_done_to_the_copy_is_told_and_mended_and_nothing_is_stopped(
    kind: str, harm: Callable[[Path], object], what: str, before: str, tmp_path: Path, dashboard: Dashboard
) -> None:
    node = Guarded(World(tmp_path), dashboard, kind)
    node.bring()
    token = node.copy.read_text()
    harm(node.copy)
    ((action, told, now, after),) = node.found()
    assert (action, told) == ("change", what.format(node.copy))
    assert now.startswith(before) and (after == secrets.fingerprint(token) or after.startswith("0600, of "))
    assert node.stops() == [False]
    assert node.bring() == "in the cluster"
    assert (node.copy.read_text(), node.found(), node.service.done) == (token, [], ["restart"])


@pytest.mark.parametrize(("harm", "what", "before"), [row[1:] for row in DAMAGE[::3]], ids=["removed", "readable"])
def test_what_was_done_to_the_original(harm: Callable[[Path], object], what: str, before: str, head: Guarded) -> None:
    """What only we may write says which token the node was started with: that one is taken from the copy."""
    head.bring()
    token = head.original.read_text()
    harm(head.original)
    ((_, told, now, _),) = head.found()
    assert told == what.format(head.original) and now.startswith(before)
    head.bring()
    assert (head.original.read_text(), head.found(), head.service.done) == (token, [], ["restart"])


def test_a_head_that_lost_both_makes_a_new_one(head: Guarded) -> None:
    head.bring()
    token = head.original.read_text()
    head.original.unlink()
    head.copy.unlink()
    assert head.found() == [("change", "Ray's token", "missing", "a new one")] and head.stops() == [True]
    head.bring()
    assert head.original.read_text() != token and head.found() == []


def test_a_copy_of_rays_account_is_never_taken_for_the_original(head: Guarded) -> None:
    head.bring()
    head.original.unlink()
    head.copy.write_text(OTHER)
    assert head.found() == [("change", "Ray's token", "missing", "a new one")]
    head.bring()
    assert OTHER not in (head.original.read_text(), head.copy.read_text())


def test_rotating_on_the_head(head: Guarded) -> None:
    head.bring()
    token, head.rotate = head.original.read_text(), True
    assert head.found() == [("change", "Ray's token", secrets.fingerprint(token), "a new one")]
    assert head.stops() == [True]
    host = head.host()
    assert ray_token.told(host, head.spec()) == "", "workers are told that another one is about to be made"
    head.resource().ensure(host)
    assert ray_token.told(host, head.spec()) == secrets.fingerprint(head.original.read_text())
    assert head.original.read_text() == head.copy.read_text() != token
    head.rotate = False
    assert head.found() == [] and head.bring() == "in the cluster"


def test_rotating_on_a_worker(worker: Guarded) -> None:
    worker.bring()
    worker.token = ""
    assert worker.found() == [("change", "Ray's token", MARKS[ONE], "a new one")] and worker.stops() == [True]
    worker.head_has(OTHER)
    worker.bring()
    assert (worker.copy.read_text(), worker.found()) == (OTHER, [])


def test_a_worker_that_was_away_when_the_token_was_replaced(worker: Guarded) -> None:
    worker.bring()
    worker.head_has(OTHER)
    assert worker.found() == [("change", "Ray's token", MARKS[ONE], MARKS[OTHER])]
    worker.dashboard.nodes()
    assert worker.found() == [
        ("change", "Ray's token", MARKS[ONE], MARKS[OTHER]),
        ("change", "Ray worker", "not in the cluster", "in the cluster"),
    ]
    assert worker.stops() == [False, False], "no work can be lost there"
    worker.bring()
    assert (worker.copy.read_text(), worker.found()) == (OTHER, [])


class Cut(BaseException):
    """The program is ended here."""


CUTS = ["keep", "admit", "write_spec"]


@pytest.mark.parametrize("after", CUTS)
def test_a_head_that_was_cut_off_while_its_token_was_replaced(
    after: str, head: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is on the disk then, Ray is asked with the token it has, and the next run makes all of it one."""
    head.bring()
    head.rotate = True
    module: Any = service if after == "write_spec" else secrets
    real = getattr(module, after)

    def cut(*args: Any) -> Any:
        real(*args)
        raise Cut

    monkeypatch.setattr(module, after, cut)
    with pytest.raises(Cut):
        head.bring()
    monkeypatch.undo()
    head.rotate = False
    head.service.restart(head.world.host(), "ray-lab")
    found = head.found()
    assert found or after == "write_spec"
    head.bring()
    assert head.found() == [] and head.original.read_text() == head.copy.read_text()


def test_a_worker_without_an_answer_from_the_head_stays_as_it_is(worker: Guarded) -> None:
    worker.bring()
    worker.world.controller.answers.pop(("ctl", "secret"))
    worker.copy.unlink()
    with pytest.raises(Failure, match="no answer from ctl"):
        worker.bring()
    assert worker.service.done == ["restart"]


def test_a_former_head_does_not_keep_what_it_made(head: Guarded) -> None:
    head.bring()
    head.kind, head.params["head"] = "ray_worker", "ctl"
    head.bring()
    assert not head.original.exists() and head.copy.read_text() == ONE


def test_teardown_removes_it(head: Guarded) -> None:
    head.bring()
    head.resource().remove(head.world.host())
    assert list(head.world.root.iterdir()) == []


@pytest.mark.parametrize("kind", ["ray_head", "ray_worker"])
def test_a_secret_s_hash_is_in_no_label(kind: str, tmp_path: Path, dashboard: Dashboard) -> None:
    """Everybody in the cluster can read labels: two hosts with the same secret have different ones."""
    made = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        node = Guarded(World(tmp_path / str(number)), dashboard, kind)
        node.params.update(env={**node.params["env"], "PIN": "1234"}, secret=["env PIN"])
        node.service.on_restart = lambda node=node: labelled(node)  # type: ignore[misc]
        node.bring()
        assert node.found() == [] and node.bring() == "in the cluster"
        made.append(node.spec()["config"])
        node.params["env"] = {**node.params["env"], "PIN": "4321"}
        assert node.found() == [("change", "ray env PIN", "another secret", "a secret")]
        node.bring()
        made.append(node.spec()["config"])
        assert node.found() == []
    assert len(set(made)) == 4 and all(each.startswith("c1-") for each in made)


def labelled(node: Guarded) -> None:
    """Have the node in the list under the label that it was started with."""
    (labels,) = (each for each in node.spec()["argv"] if each.startswith("--labels="))
    config = labels.partition("provision/config=")[2].partition(",")[0]
    node.begun += 1
    node.dashboard.token = node.copy.read_text() if node.kind == "ray_head" else ""
    node.join(f"n{node.begun}", config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_ray_s_account_owns_its_copy_alone(worker: Guarded) -> None:
    worker.world._hello["account"] = "nobody"
    worker.bring()
    assert worker.copy.owner() == "nobody" and worker.found() == []
    os.chown(worker.copy, 0, 0)
    assert [row[2:] for row in worker.found()] == [("0600, of root", "0600, of nobody")]
