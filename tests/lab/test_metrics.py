"""A Prometheus of the cluster's own, the one of Debian's packages: it hears of every node, and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .cluster import ASK, Answer, Cluster, contacts
from .command import Provision
from .conftest import MachineFactory
from .golden import lab_home
from .listing import Listing, changes
from .machines import Machine
from .shell import run, wait_until

FETCH = """\
set -eu
cd "$1"
needed=$(apt-cache depends --recurse --important prometheus | grep -E '^(libjs|fonts|javascript)-' | sort -u)
apt-get download prometheus $needed
"""
REPOSITORY = """\
set -eu
cd /srv/repo
tar xf debs.tar
for deb in *.deb; do
  dpkg-deb --field "$deb"
  echo "Filename: ./$deb"; echo "Size: $(stat -c %s "$deb")"; echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"; echo
done > Packages
rm -rf debs.tar /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
"""


def bring(machine: Machine) -> None:
    """Give a host, which has no network beyond the lab, Debian's packages of Prometheus."""
    store = lab_home() / "cache" / "prometheus"
    if not (store / "all.tar").exists():
        store.mkdir(parents=True, exist_ok=True)
        run(["sh", "-c", FETCH, "fetch", str(store)], timeout=300)
        run(["sh", "-c", f"cd {store} && tar cf all.tmp *.deb && mv all.tmp all.tar"], timeout=60)
    machine.exec(["mkdir", "-p", "/srv/repo"])
    machine.exec(["sh", "-c", "cat > /srv/repo/debs.tar"], stdin=(store / "all.tar").read_bytes(), timeout=120)
    machine.exec(["sh", "-c", REPOSITORY], timeout=120)


@pytest.fixture(scope="module")
def room(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    machines = module_machines(2)
    for machine in machines:
        bring(machine)
    return Cluster(provision, tmp_path_factory.mktemp("metrics") / "lab.yml", machines)


@pytest.fixture(scope="module")
def listings(room: Cluster) -> dict[str, Listing]:
    room.declare()
    return {machine.name: machine.listing() for machine in room.machines}


@pytest.fixture(scope="module")
def collected(room: Cluster, listings: dict[str, Listing]) -> Iterator[Answer]:
    """What the apply said that made a cluster whose head collects its metrics."""
    room.declare(metrics={"prometheus": "head"})
    yield room.apply()


def asked(room: Cluster, machine: Machine, url: str) -> Any:
    """Return what a web server answers on a host, None if it does not."""
    said = machine.exec([room.python, "-c", ASK, url], check=False, timeout=60)
    return json.loads(said.stdout) if said.returncode == 0 else None


def health(room: Cluster, machine: Machine, address: str) -> dict[str, list[str]]:
    """Return how Prometheus finds what it asks, by name of the host."""
    said = asked(room, machine, f"http://{address}:9090/api/v1/targets")
    found: dict[str, list[str]] = {}
    for target in said["data"]["activeTargets"] if said else ():
        found.setdefault(target["labels"]["host"], []).append(target["health"])
    return found


def listeners(machine: Machine, port: int) -> set[str]:
    rows = machine.exec(["ss", "-Htln", f"sport = :{port}"]).stdout.splitlines()
    return {row.split()[3].rpartition(":")[0] for row in rows}


ALL_UP = {"h1": ["up", "up", "up"], "h2": ["up"]}


def test_every_node_is_heard_of(room: Cluster, collected: Answer) -> None:
    assert ("h1", "Run Prometheus") in collected.changed()
    assert sorted(collected.proven()) == ["h1", "h2"]
    assert listeners(room.head, 9090) == {"127.0.0.1"}
    wait_until(lambda: health(room, room.head, "127.0.0.1") == ALL_UP, "every target to be up", 180, pause=1.0)
    query = "http://127.0.0.1:9090/api/v1/query?query=sum%20by%20(host)%20(ray_node_cpu_count)"
    wait_until(lambda: len((asked(room, room.head, query) or {"data": {"result": []}})["data"]["result"]) == 2,
               "both nodes' numbers to be there", 120, pause=1.0)  # fmt: skip


@pytest.mark.usefixtures("collected")
def test_rays_dashboard_finds_it(room: Cluster) -> None:
    said = asked(room, room.head, "http://127.0.0.1:8265/api/prometheus_health")
    assert said is not None and said["result"] is True, said


@pytest.mark.usefixtures("collected")
def test_what_the_package_would_run_by_itself_never_ran(room: Cluster) -> None:
    for verb, word in (("is-enabled", "disabled"), ("is-active", "inactive")):
        assert room.head.exec(["systemctl", verb, "prometheus"], check=False).stdout.strip() == word
    assert room.head.exec(["journalctl", "--quiet", "--output=cat", "--unit=prometheus"]).stdout == ""


@pytest.mark.parametrize("verb", ["apply", "check"])
@pytest.mark.usefixtures("collected")
def test_nothing_to_do_costs_one_connection_and_one_exec(room: Cluster, verb: str) -> None:
    answers: list[Answer] = []
    seen = contacts(room.machines, lambda: answers.append(room.run(verb)))
    assert seen == {"h1": (1, 1), "h2": (1, 1)}
    assert (answers[0].changed(), answers[0].differences()) == ([], [])


@pytest.mark.usefixtures("collected")
def test_one_that_is_killed_is_back_at_once(room: Cluster) -> None:
    room.head.exec(["systemctl", "kill", "-s", "KILL", "prometheus-lab"])
    wait_until(lambda: health(room, room.head, "127.0.0.1") == ALL_UP, "every target to be up", 120, pause=1.0)


@pytest.mark.usefixtures("collected")
def test_teardown_keeps_what_it_collected_and_purge_leaves_nothing(room: Cluster, listings: dict[str, Listing]) -> None:
    room.teardown()
    assert listeners(room.head, 9090) == set()
    assert sorted(room.head.exec(["ls", "-A", room.root]).stdout.split()) == ["env", "prometheus"]
    done = room.teardown("--purge")
    assert any(what == "Prometheus' data" and "MB" in before for _, _, what, before, _ in done.differences())
    state = ["dpkg-query", "--showformat=${db:Status-Abbrev}", "--show", "prometheus"]
    assert not room.head.exec(state, check=False).stdout.startswith("ii")
    assert room.head.exec(["systemctl", "list-units", "--all", "--no-legend", "prometheus-*"]).stdout.strip() == ""
    assert changes(listings["h2"], room.machines[1].listing()) == []


@pytest.mark.usefixtures("collected")
def test_on_another_host_it_listens_for_the_head(room: Cluster) -> None:
    worker = room.machines[1]
    room.declare(metrics={"prometheus": "h2"})
    assert ("h2", "Run Prometheus") in room.apply("--yes").changed()
    assert (listeners(room.head, 9090), listeners(worker, 9090)) == (set(), {worker.ip})
    wait_until(lambda: health(room, worker, worker.ip) == ALL_UP, "every target to be up", 180, pause=1.0)
    said = asked(room, room.head, "http://127.0.0.1:8265/api/prometheus_health")
    assert said is not None and said["result"] is True, said
    assert room.check().differences() == []
    room.declare()
    assert ("h2", "Remove what is no longer declared") in room.apply("--yes").changed()
    assert listeners(worker, 9090) == set()
    room.teardown("--purge")
    assert Path(room.root).name not in worker.exec(["ls", "/opt"], check=False).stdout
