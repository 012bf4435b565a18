"""What a node remembers of what it ran, and its own way back when it does not come up with something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.resources import ray_head, ray_spec
from tests.unit.ray_stage import Dashboard, dashboard
from tests.unit.remote_host import World

from .ray_life import Life, head, no_patience, worker

__all__ = ["dashboard", "head", "no_patience", "worker"]


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


def test_a_head_tells_who_is_not_back(head: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_head, "RETURN_LIMIT", 0.0)
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
