"""From one version to another and back: what a node remembers, what it returns to, and when it does not."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.resources import ray_history, ray_node, ray_spec, ray_state

from .ray_stage import Dashboard, Node, dashboard
from .remote_host import World, shown

__all__ = ["dashboard"]

VERSIONS = {"e1": "2.58.0", "e2": "2.60.0", "e3": "2.61.0", "e1b": "2.58.0"}


class Life(Node):
    """A node that comes up with whatever its service is told to run, unless that is broken."""

    def __init__(self, world: World, dashboard: Dashboard, kind: str) -> None:
        super().__init__(world, dashboard, kind)
        self.broken: set[str] = set()
        self.numbers = itertools.count()
        self.others: list[tuple[str, str, str, str]] = []
        self.service.on_restart = self.start
        self.params["gcs"] = f"127.0.0.1:{dashboard.address[1]}"

    def start(self) -> None:
        config = self.spec()["config"]
        self.service.active = config not in self.broken
        self.service.failing = not self.service.active
        if self.service.active:
            self.dashboard.nodes((f"n{next(self.numbers)}", "w1", config, "ALIVE"), *self.others)
        else:
            Path(self.spec()["log"]).write_text(f"RuntimeError: {config} is broken\n")
            self.dashboard.nodes(*self.others)

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads((self.world.root / "service" / "ray-lab.json").read_text())
        return spec

    def runs(self) -> tuple[str, str]:
        """Return the environment and the configuration in use."""
        return Path(self.spec()["environment"]).name.rpartition("-")[2], self.spec()["config"]

    def history(self) -> list[tuple[str, str, bool]]:
        found = ray_history.read(self.world.host())
        return [
            (Path(entry["environment"]).name.rpartition("-")[2], entry["config"], entry["proven"]) for entry in found
        ]

    def apply(self, environment: str, config: str = "", **changes: Any) -> str:
        """Have the node run from an environment, which is made as a script that tells its versions."""
        python = self.world.root / "env" / f"3.11.9-{environment}" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        versions = {"ray": VERSIONS[environment], "python": "3.11.9"}
        python.write_text(f"#!/bin/sh\necho '{json.dumps(versions)}'\n")
        python.chmod(0o755)
        return self.ensure(environment=environment, config=config or environment, versions=versions, **changes)

    def rollback(self) -> str:
        """Go back, if there is something to do; returns what was said."""
        ray_state._cache.clear()
        resource, host = self.resource(), self.world.host()
        if not resource.former(host):
            return str(host.shared.get("cannot", ["nothing to do"])[0])
        return str(resource.revert(host))

    def head_says(self, environment: str, **over: Any) -> None:
        """Have the head say what it runs when the rollback is over."""
        self.world.controller.answers["ctl", "destination"] = {
            "versions": {"ray": VERSIONS[environment], "python": "3.11.9"}, "gcs": self.params["gcs"],
            "dashboard": self.dashboard.address, "since": 0, **over,
        }  # fmt: skip

    def begin(self, run: int) -> None:
        """Have what follows belong to another run."""
        self.world._hello["run"] = run


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "LOOK", 0.0)


@pytest.fixture
def head(tmp_path: Path, dashboard: Dashboard) -> Life:
    return Life(World(tmp_path), dashboard, "ray_head")


@pytest.fixture
def worker(tmp_path: Path, dashboard: Dashboard) -> Life:
    return Life(World(tmp_path), dashboard, "ray_worker")


def test_what_ran_is_remembered_once_per_environment(head: Life) -> None:
    head.apply("e1")
    head.apply("e1", "e1b")
    head.apply("e2")
    assert head.history() == [("e2", "e2", True), ("e1", "e1b", True)]
    head.apply("e1", "e1c")
    assert head.history() == [("e1", "e1c", True), ("e2", "e2", True)]
    path = head.world.root / "service" / "ray-lab.history.json"
    assert path.stat().st_mode & 0o777 == 0o600, "it may hold secrets"
    for damage in ("{", "[1]", "{}", '[{"argv": []}]'):
        path.write_text(damage)
        assert head.history() == []
    head.resource().remove(head.world.host())
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "environment", "told"),
    [
        ("ray_head", "e2", "Ray 2.60.0 did not come up: ended right after its start: RuntimeError: bad is broken; "
                           "went back to the former one (2.58.0), which runs"),
        ("ray_head", "e1", "Ray did not come up with its new configuration: ended right after its start: "
                           "RuntimeError: bad is broken; went back to the former one, which runs"),
        ("ray_worker", "e1", "Ray did not come up with its new configuration: ended right after its start: "
                             "RuntimeError: bad is broken; went back to the former one, which runs"),
        ("ray_worker", "e2", "Ray ended right after its start: RuntimeError: bad is broken"),
    ],
)  # fmt: skip
def test_a_node_that_does_not_come_up(
    kind: str, environment: str, told: str, tmp_path: Path, dashboard: Dashboard
) -> None:
    node = Life(World(tmp_path), dashboard, kind)
    node.apply("e1")
    node.broken = {"bad"}
    with pytest.raises(Failure) as caught:
        node.apply(environment, "bad")
    assert caught.value.message == told
    assert "ray-lab.log" in caught.value.remedy
    goes_back = "went back" in told
    assert node.runs() == (("e1", "e1") if goes_back else (environment, "bad"))
    assert node.service.active is goes_back
    assert node.history() == [("e1", "e1", True)]
    node.broken = set()
    node.apply(environment, "bad")
    assert node.runs() == (environment, "bad")


@pytest.mark.parametrize(
    ("head_runs", "env", "refused"),
    [
        ({}, {}, False),
        ({"versions": {"ray": "2.58.0", "python": "3.11.9"}}, {}, True),
        ({"versions": {"ray": "2.60.0", "python": "3.11.2"}}, {}, True),
        ({"versions": {"ray": "2.60.0", "python": "3.11.2"}}, {ray_spec.MATCH_LEVEL: "minor"}, False),
    ],
)
def test_no_worker_is_stopped_for_a_version_that_its_head_does_not_run(
    head_runs: dict[str, Any], env: dict[str, str], refused: bool, worker: Life
) -> None:
    worker.apply("e1")
    worker.head_says("e2", **head_runs)
    if not refused:
        assert "in the cluster" in worker.apply("e2", env=env)
        return
    with pytest.raises(Failure) as caught:
        worker.apply("e2", env=env)
    runs = "Ray {ray}, Python {python}".format(**head_runs["versions"])
    assert caught.value.message == f"the head ctl runs {runs}, and this host would get Ray 2.60.0, Python 3.11.9"
    assert caught.value.remedy.startswith("apply without --limit")
    assert worker.runs()[0] == "e1" and worker.service.done == ["restart"], "it was not touched"


@pytest.mark.parametrize(
    ("limit", "environment", "state", "refused"),
    [
        (["w1"], "e2", "ALIVE", True),
        (["w1"], "e2", "DEAD", False),
        (["w1"], "e1b", "ALIVE", False),
        (["w1", "w2"], "e2", "ALIVE", False),
        ([], "e2", "ALIVE", False),
    ],
    ids=["left out", "gone already", "the same versions", "takes part", "everybody takes part"],
)
def test_no_head_leaves_the_version_of_nodes_that_take_no_part(
    limit: list[str], environment: str, state: str, refused: bool, head: Life
) -> None:
    head.others = [("m2", "w2", "c", state)]
    head.apply("e1")
    head.world.controller.answers["controller", "limit"] = limit or (lambda args: [])
    if not refused:
        assert "in the cluster" in head.apply(environment)
        return
    with pytest.raises(Failure, match=r"take no part in this run \(w2\) could not stay: .* to Ray 2.60.0") as caught:
        head.apply(environment)
    assert caught.value.remedy == "apply without --limit"
    assert head.runs()[0] == "e1" and head.service.done == ["restart"], "it was not touched"


@pytest.mark.parametrize(
    ("limit", "state", "left"),
    [(["w1"], "ALIVE", True), (["w1"], "DEAD", False), (["w1", "w2"], "ALIVE", False), ([], "ALIVE", False)],
    ids=["left out", "gone already", "takes part", "everybody takes part"],
)
def test_a_head_that_goes_back_alone_says_whom_it_leaves(limit: list[str], state: str, left: bool, head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    head.others = [("m2", "w2", "c", state)]
    head.dashboard.nodes(("n9", "w1", "e2", "ALIVE"), *head.others)
    head.world.controller.answers["controller", "limit"] = limit or (lambda args: [])
    ray_state._cache.clear()
    found = head.resource().former(head.world.host())
    what = "the nodes on w2, which take no part in this run"
    stops = [each["stops"] for each in found if each["what"] == what]
    assert stops == ([what] if left else [])
    said = head.rollback()
    assert ("; left out: w2, which `provision rollback` without --limit takes along" in said) is left
    assert head.runs() == ("e1", "e1")
    assert head.resource().former(head.world.host()) == [], "a second time there is nothing to leave"


def test_a_head_tells_who_is_not_back(head: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "RETURN_LIMIT", 0.0)
    head.others = [("m2", "w2", "c", "ALIVE"), ("m3", "w3", "c", "ALIVE"), ("m4", "w4", "c", "DEAD")]
    head.apply("e1")
    head.broken, head.others = {"e2"}, [("m5", "w3", "c", "ALIVE")]
    with pytest.raises(Failure, match=r"which runs; not back in it yet: w2$"):
        head.apply("e2")


def test_a_head_whose_former_version_does_not_come_up_either(head: Life) -> None:
    head.apply("e1")
    head.broken = {"e1", "e2"}
    with pytest.raises(Failure) as caught:
        head.apply("e2")
    assert "the former one (2.58.0) did not come up again either: Ray ended right after its start" in (
        caught.value.message
    )


def test_no_going_back_without_reason_or_means(head: Life) -> None:
    head.broken = {"e1"}
    with pytest.raises(Failure, match=r"^Ray ended right after"):
        head.apply("e1")
    assert head.history() == [], "what never ran is nothing to go back to"
    head.broken = set()
    head.apply("e1")
    head.apply("e2")
    head.broken, head.service.active = {"e2"}, False
    with pytest.raises(Failure, match=r"^Ray ended right after"):
        head.apply("e2")
    assert head.runs()[0] == "e2", "what ran well is not left for an older version because of a bad day"
    head.broken = {"e3"}
    for name in ("e1", "e2"):
        (head.world.root / "env" / f"3.11.9-{name}" / "bin" / "python").unlink()
    with pytest.raises(Failure, match=r"^Ray ended right after"):
        head.apply("e3")


def test_interrupted_between_stop_and_proof_it_still_goes_back(head: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    head.apply("e1")

    def killed() -> None:
        raise KeyboardInterrupt

    head.service.on_restart = killed
    with pytest.raises(KeyboardInterrupt):
        head.apply("e2")
    head.service.on_restart = head.start
    head.broken, head.service.active = {"e2"}, False
    with pytest.raises(Failure, match=r"Ray 2.60.0 did not come up: .*; went back to the former one \(2.58.0\)"):
        head.apply("e2")
    assert head.runs() == ("e1", "e1")


def test_a_node_that_was_stopped_is_started_whoever_ends_us(head: Life) -> None:
    """Nobody is left to start it, if the controller goes away between its stop and its start."""
    head.apply("e1")
    promised: list[int] = []
    stop = head.service.stop

    def watched(host: Host, name: str) -> None:
        stop(host, name)
        promised.append(len(service.UNFINISHED))
        service.finish()

    head.service.stop = watched  # type: ignore[method-assign]
    head.apply("e2")
    assert promised == [1]
    assert head.service.done == ["restart", "stop", "start soon", "restart"]
    assert service.UNFINISHED == []


def test_interrupted_before_the_proof_a_worker_remembers_later(worker: Life) -> None:
    """The head is another one by then, so nobody can say that the worker ran."""
    worker.apply("e1")
    (worker.world.root / "service" / "ray-lab.history.json").unlink()
    worker.dashboard.nodes()
    worker.apply("e2")
    assert worker.history() == [("e2", "e2", True), ("e1", "e1", False)]
    worker.head_says("e1")
    assert worker.rollback().startswith("Ray 2.60.0, Python 3.11.9 -> Ray 2.58.0, Python 3.11.9: in the cluster")


def test_a_head_goes_back_and_stays_there(head: Life) -> None:
    assert head.rollback() == "no Ray of ours is on this host"
    head.apply("e1")
    first = "there is nothing to go back to: Ray 2.58.0, Python 3.11.9 is the first that ran here"
    assert head.rollback() == first
    head.apply("e1", "e1b")
    assert head.rollback() == first, "another configuration is no other environment"
    head.begin(5)
    head.apply("e2")
    head.begin(6)
    head.apply("e2", "e2b")
    assert ray_history.told(head.world.host(), rollback=True) == {
        "versions": {"ray": "2.58.0", "python": "3.11.9"},
        "gcs": head.params["gcs"], "dashboard": head.params["dashboard"], "since": 5,
    }  # fmt: skip
    assert (ray_history.told(head.world.host(), rollback=False) or {})["since"] == 0
    ray_state._cache.clear()
    found = shown(head.resource().former(head.world.host()))
    assert ("change", "Ray", "2.60.0", "2.58.0") in found and (
        "change",
        "ray environment",
        "3.11.9-e2",
        "3.11.9-e1",
    ) in found
    assert head.rollback().startswith("Ray 2.60.0, Python 3.11.9 -> Ray 2.58.0, Python 3.11.9: in the cluster after")
    assert head.runs() == ("e1", "e1b")
    for _ in range(2):
        assert head.rollback() == "nothing to do", "going back twice is going back once"
        assert (ray_history.told(head.world.host(), rollback=True) or {})["since"] == 5, "late workers still follow"
    head.service.active = False
    assert "in the cluster" in head.rollback(), "what was interrupted goes on"
    assert head.runs() == ("e1", "e1b")
    assert ("change", "Ray", "2.58.0", "2.60.0") in head.differences(), "check tells what the inventory declares"
    head.apply("e2")
    assert head.rollback().startswith("Ray 2.60.0")


def test_a_rollback_that_does_not_come_up_returns_to_what_ran(head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    head.broken = {"e1"}
    with pytest.raises(Failure, match=r"Ray 2.58.0 did not come up: .*; went back to the former one \(2.60.0\)"):
        head.rollback()
    assert head.runs() == ("e2", "e2")


def test_nothing_is_stopped_for_an_environment_that_does_not_work(head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    python = head.world.root / "env" / "3.11.9-e1" / "bin" / "python"
    for script, message in (
        ("echo oops; exit 1", "the installed packages can't be imported: oops"),
        ("""echo '{"ray": "2.9.3", "python": "3.11.9"}'""", "ray 2.9.3 in place of 2.58.0"),
    ):
        python.write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(Failure, match=message):
            head.rollback()
    python.unlink()
    assert "nothing to go back to" in head.rollback()
    assert head.runs() == ("e2", "e2") and head.service.active


def test_a_worker_follows_its_head(worker: Life) -> None:
    worker.world.controller.answers["ctl", "destination"] = lambda args: None
    assert worker.rollback() == "nothing to do"
    worker.apply("e1")
    worker.apply("e2")
    worker.apply("e3")
    assert worker.rollback() == "nothing to do", "a head that can't go back keeps its workers"
    worker.head_says("e1")
    assert "-> Ray 2.58.0" in worker.rollback()
    assert worker.rollback() == "nothing to do"
    worker.head_says("e3", gcs="192.0.2.1:6379")
    with pytest.raises(Failure, match=r"Ray 2.61.0, Python 3.11.9, to which the head goes back, is not on this host"):
        worker.rollback()


@pytest.mark.parametrize(
    ("since", "goes"),
    [(0, True), (5, True), (6, False)],
    ids=["the head stays", "it came with what the head leaves", "it was there before that"],
)
def test_a_worker_with_other_packages_of_the_same_version(since: int, goes: bool, worker: Life) -> None:
    worker.begin(4)
    worker.apply("e1")
    worker.begin(5)
    worker.apply("e1b")
    worker.head_says("e1", since=since)
    for _ in range(2):
        said = worker.rollback()
        assert worker.runs()[0] == ("e1" if goes else "e1b")
    assert said == "nothing to do"


@pytest.mark.parametrize(
    ("env", "python", "fits"),
    [({}, "3.11.9", True), ({}, "3.11.8", False), ({"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor"}, "3.11.8", True),
     ({"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor"}, "3.12.8", False)],
)  # fmt: skip
def test_which_pythons_can_be_in_one_cluster(env: dict[str, str], python: str, fits: bool, worker: Life) -> None:
    worker.apply("e1", env=env)
    worker.apply("e2", env=env)
    worker.head_says("e1", versions={"ray": "2.58.0", "python": python})
    if fits:
        assert "-> Ray 2.58.0" in worker.rollback()
    else:
        with pytest.raises(Failure, match="is not on this host"):
            worker.rollback()


def test_secrets_of_either_configuration_stay_hidden(head: Life) -> None:
    head.apply("e1", env={"X": "old-secret"}, secret=["env X"])
    assert shown(head.resource(env={"X": "y"}, secret=[]).observe(head.world.host())) == [
        ("change", "ray env X", "another secret", "a secret")
    ]
    assert service.read_spec(head.world.host(), "ray-lab") is not None
