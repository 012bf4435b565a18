"""ufw on the head and firewalld on the worker, both active: the cluster's hosts come in, a stranger does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Answer, Cluster, contacts
from .command import Provision
from .conftest import MachineFactory
from .machines import Lab, Machine
from .shell import run, wait_until

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
GCS, RAYLET = 6379, 6380
INSTALL = "DEBIAN_FRONTEND=noninteractive dpkg -i /srv/debs/*.deb"


@pytest.fixture(scope="module")
def packages(lab: Lab) -> Path:
    """Debian's packages of both, with all that the hosts lack for them, by this machine's own apt."""
    folder = lab.home / "packages"
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    state = lab.golden.root / "var/lib/dpkg/status"
    options = [f"-oDir::State::status={state}", f"-oDir::Cache::archives={folder}", "-oDebug::NoLocking=1"]
    install = ["apt-get", "install", "-y", "--no-install-recommends", "--download-only", *options, "ufw", "firewalld"]
    if run(install, check=False, timeout=200).returncode:
        run(["apt-get", "update"], timeout=200)
        run(install, timeout=200)
    return folder


@pytest.fixture(scope="module")
def room(
    module_machines: MachineFactory, packages: Path, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A head with ufw, a worker with firewalld, and a third host that is nobody's."""
    made = Cluster(provision, tmp_path_factory.mktemp("firewalls") / "lab.yml", module_machines(3))
    head, worker, _ = made.machines
    for machine in made.machines:
        machine.power_cut()
        machine.let_filter()
        machine.boot()
    for machine in (head, worker):
        place = machine.folder / "root" / "srv" / "debs"
        place.mkdir()
        for package in packages.glob("*.deb"):
            (place / package.name).write_bytes(package.read_bytes())
        machine.exec(["sh", "-c", INSTALL], timeout=200)
        machine.exec(["systemctl", "disable", "--now", "firewalld"])
    head.exec(["ufw", "allow", "22/tcp"])
    head.exec(["ufw", "--force", "enable"])
    worker.exec(["systemctl", "enable", "--now", "firewalld"])
    wait_until(lambda: worker.exec(["firewall-cmd", "--state"], check=False).returncode == 0, "firewalld", 30)
    yield made


@pytest.fixture(scope="module")
def applied(room: Cluster) -> Answer:
    declare(room, 2)
    return room.apply()


def declare(room: Cluster, members: int, **over: object) -> None:
    room.declare(room.machines[:members], **over)


def reaches(source: Machine, target: Machine, port: int) -> bool:
    return source.exec(["python3", "-c", CONNECT, target.ip, str(port)], check=False).returncode == 0


def ufw_rules(machine: Machine) -> list[str]:
    return [line for line in machine.exec(["ufw", "status"]).stdout.splitlines() if "# provision lab" in line]


def test_the_worker_joins_through_both(room: Cluster, applied: Answer) -> None:
    head, worker, stranger = room.machines
    assert sorted(applied.proven()) == ["h1", "h2"]
    told = f"TCP 6379-6385,10001-19999 from {head.ip}-{worker.ip}"
    assert ("h1", "add", "rules of ufw", "", told) in applied.differences()
    assert ("h2", "add", "rules of firewalld", "", told.replace("6379-", "6380-").replace("10001", "10002")) in (
        applied.differences()
    )
    assert reaches(worker, head, GCS)
    assert reaches(head, worker, RAYLET)
    assert not reaches(stranger, head, GCS)
    assert not reaches(stranger, worker, RAYLET)
    assert "hands no files" not in applied.result.out, "the way for files was open, and is shut again"
    assert "files" not in head.exec(["ufw", "status"]).stdout


def test_a_second_run_finds_nothing_to_do(room: Cluster, applied: Answer) -> None:
    found: list[Answer] = []
    assert contacts(room.machines[:2], lambda: found.append(room.apply())) == {"h1": (1, 1), "h2": (1, 1)}
    assert found[0].changed() == []


def test_what_was_changed_by_hand_is_shown_with_both_values_and_mended(room: Cluster, applied: Answer) -> None:
    head, worker, stranger = room.machines
    ports = "6379:6385,10001:19999"
    head.exec(
        ["ufw", "allow", "proto", "tcp", "from", stranger.ip, "to", "any", "port", ports, "comment", "provision lab"]
    )
    worker.exec(["firewall-cmd", "--ipset=provision-lab-4", f"--add-entry={stranger.ip}"])
    assert reaches(stranger, head, GCS)
    assert reaches(stranger, worker, RAYLET)
    now, then = f"{head.ip}-{stranger.ip}", f"{head.ip}-{worker.ip}"
    assert room.check(code=2).differences() == [
        ("h1", "change", "ufw: who may connect", now, then),
        ("h2", "change", "firewalld: who may connect", now, then),
    ]
    assert {host for host, _ in room.apply().changed()} == {"h1", "h2"}
    assert not reaches(stranger, head, GCS)
    assert not reaches(stranger, worker, RAYLET)


def test_who_joins_comes_in_and_who_leaves_does_not(room: Cluster, applied: Answer) -> None:
    head, worker, third = room.machines
    declare(room, 3)
    room.apply("--limit", "h1,h2")
    assert reaches(third, head, GCS)
    assert reaches(third, worker, RAYLET)
    declare(room, 2)
    room.apply("--yes")
    assert not reaches(third, head, GCS)
    assert not reaches(third, worker, RAYLET)
    assert reaches(worker, head, GCS)


def test_they_are_there_after_a_restart(room: Cluster, applied: Answer) -> None:
    _, worker, stranger = room.machines
    worker.exec(["systemctl", "restart", "firewalld"], timeout=60)
    assert room.check().differences() == []
    assert reaches(room.head, worker, RAYLET)
    assert not reaches(stranger, worker, RAYLET)


def test_a_teardown_leaves_nothing_of_ours_and_all_of_theirs(room: Cluster, applied: Answer) -> None:
    head, worker, _ = room.machines
    assert len(ufw_rules(head)) > 0
    room.teardown()
    assert ufw_rules(head) == []
    assert "22/tcp" in head.exec(["ufw", "status"]).stdout
    assert "provision" not in worker.exec(["firewall-cmd", "--get-policies"]).stdout
    assert worker.exec(["find", "/etc/firewalld", "-name", "*provision*"]).stdout == ""
    assert "ssh" in worker.exec(["firewall-cmd", "--list-services"]).stdout


def test_without_root_it_is_said_before_anything_is_done(room: Cluster, applied: Answer) -> None:
    """Only after the teardown: who is kept out of a host where Ray runs already has been let in by somebody."""
    head, worker, _ = room.machines
    declare(room, 2, ssh={"user": "park"})
    told = room.check(code=2)
    needed = {
        name: [each for each in told.host(name)["findings"] if each["severity"] == "needs elevation"]
        for name in ("h1", "h2")
    }
    assert [each["message"] for each in needed["h1"]] == [
        "ufw is active, and only root may look at its rules, or open it for the cluster's hosts"
    ]
    assert f"sudo ufw allow in proto tcp from {head.ip} to 0.0.0.0/0 port " in needed["h1"][0]["remedy"]
    assert "set `become: true`, or on the host: sudo firewall-cmd --permanent" in needed["h2"][0]["remedy"]
    assert worker.ip in needed["h2"][0]["remedy"]


def test_plain_nftables_is_named_and_left_alone(room: Cluster, applied: Answer) -> None:
    third = room.machines[2]
    third.nft("input tcp dport 22 accept")
    third.nft("input ct state invalid drop")
    before = third.exec(["nft", "list", "ruleset"]).stdout
    room.declare([third], ray={"auth": "none"})
    room.apply()
    (finding,) = [each for each in room.check().host("h3")["findings"] if "Ray's ports" in each["message"]]
    assert finding["severity"] == "notice"
    assert finding["message"].startswith(
        "nftables lets in what no rule refuses, and what its rules refuse was not looked at"
    )
    assert third.exec(["nft", "list", "ruleset"]).stdout == before
    room.teardown()
