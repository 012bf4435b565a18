"""What Python each host's program may run on, whom else it may come from, and which hosts are left as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.census import Census
from provisioner.engine.mirror import Mirror
from provisioner.engine.options import RunOptions
from provisioner.engine.pythons import Pythons
from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Interpreter, Inventory, RayOptions
from provisioner.transport.choice import Choice, Origin, Ours, Parcel

HOSTS = tuple(
    Host(f"h{number}", "worker" if number else "head", f"10.0.0.{number}", "3.11.9", (),
         RayOptions({"node_ip": f"10.0.0.{number}"}))
    for number in range(3)
)  # fmt: skip
DROPPED = Host("old", "worker", "10.0.0.9", "3.11.9", (), RayOptions({"node_ip": "0.0.0.0"}), root="/srv/ray")


def pythons(verb: Any, limit: tuple[str, ...] = (), mirror: str | None = "h0") -> Pythons:
    """What chooses in a run whose mirror hands out whatever is asked for."""
    inventory = Inventory("lab", "2.60.0", HOSTS, Path("inventory.yml"))
    nobody: Any = None
    members = {host.name: host.address for host in HOSTS}
    return Pythons(
        inventory, RunOptions(verb, limit), nobody, Census(inventory),
        Mirror(mirror, members, 0, lambda *args: 4711, lambda *args: None),
    )  # fmt: skip


def chosen(host: Host, verb: Any, limit: tuple[str, ...] = (), mirror: str | None = "h0") -> Choice:
    return pythons(verb, limit, mirror).choice(host, lambda text: None)


@pytest.mark.parametrize(
    ("verb", "host", "limit", "leave"),
    [
        ("apply", HOSTS[1], (), None),
        ("rollback", HOSTS[1], (), None),
        ("check", HOSTS[1], (), Ours("lab")),
        ("teardown", HOSTS[1], (), Ours("lab")),
        ("apply", HOSTS[0], ("h1",), Ours("lab")),
        ("apply", HOSTS[1], ("h1",), None),
        ("apply", DROPPED, (), Ours("lab", "/srv/ray")),
    ],
    ids=["apply", "rollback", "check", "teardown", "head of a limited run", "host of a limited run", "dropped"],
)
def test_who_is_left_as_it_is(verb: str, host: Host, limit: tuple[str, ...], leave: Ours | None) -> None:
    assert chosen(host, verb, limit).leave == leave


@pytest.mark.parametrize(
    ("host", "mirror", "near"),
    [
        (HOSTS[1], "h0", "h0"),
        (HOSTS[0], "h0", None),
        (HOSTS[0], "h1", None),
        (HOSTS[1], None, None),
        (DROPPED, "h0", None),
    ],
    ids=["member", "the mirror itself", "a head, without which nobody hands out", "no mirror", "dropped"],
)
def test_whom_it_may_come_from(host: Host, mirror: str | None, near: str | None) -> None:
    found = chosen(host, "apply", mirror=mirror).near
    assert (found.name if found else None) == near


def test_the_mirror_is_told_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    near = chosen(HOSTS[1], "apply").near
    assert near
    origin = near.ask(Parcel(tmp_path / "a", "a" * 64, "python.tar.gz"))
    assert isinstance(origin, Origin)
    assert (origin.name, origin.address, origin.port, origin.own) == ("h0", "10.0.0.0", 4711, "10.0.0.1")


@pytest.mark.parametrize(("verb", "judged"), [("apply", True), ("check", True), ("teardown", False)])
def test_only_who_is_to_be_part_of_the_cluster_is_judged(verb: str, judged: bool) -> None:
    judge = chosen(HOSTS[1], verb).judge
    assert bool(judge) is judged
    if judge:
        with pytest.raises(HostFailed):
            judge({"os": "freebsd", "arch": "x86_64"})


@pytest.mark.parametrize("verb", ["apply", "check", "teardown"])
@pytest.mark.parametrize(("source", "path"), [("system", None), ("/opt/py/bin/python3", "/opt/py/bin/python3")])
def test_hosts_that_have_their_own(source: str, path: str | None, verb: str) -> None:
    host = replace(HOSTS[1], interpreter=Interpreter(source=source))
    choice = chosen(host, verb)
    assert (choice.path, choice.bring, choice.near) == (path, None, None)
