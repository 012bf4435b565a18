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
RELOADED = ("h2", "change", "firewalld is reloaded; rules that other programs made past it may be lost", "", "")
SPANS = ("6380-6385", "10002-19999")
CONTAINERS = "10.88.0.0/16"
BAN = 'rule family="ipv4" source address="203.0.113.5" port port="22" protocol="tcp" reject'
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
        # one that is started by its installation and stopped at once has been seen to leave its rules behind
        machine.exec(["systemctl", "mask", "firewalld"])
        machine.exec(["sh", "-c", INSTALL], timeout=200)
        machine.exec(["systemctl", "unmask", "firewalld"])
        machine.exec(["systemctl", "disable", "firewalld"])
    head.exec(["ufw", "allow", "22/tcp"])
    head.exec(["ufw", "--force", "enable"])
    worker.exec(["systemctl", "enable", "--now", "firewalld"])
    wait_until(lambda: worker.exec(["firewall-cmd", "--state"], check=False).returncode == 0, "firewalld", 30)
    yield made


@pytest.fixture(scope="module")
def hindered(room: Cluster) -> Answer:
    """A first apply where the administrator has opened the worker's ports, and never saved that."""
    worker = room.machines[1]
    worker.exec(["firewall-cmd", "--zone=trusted", f"--add-source={CONTAINERS}"])
    worker.exec(["firewall-cmd", f"--add-rich-rule={BAN}"])
    worker.exec(["firewall-cmd", *(f"--add-port={span}/tcp" for span in SPANS)])
    declare(room, 2)
    return room.apply()


@pytest.fixture(scope="module")
def applied(room: Cluster, hindered: Answer) -> Answer:
    room.machines[1].exec(["firewall-cmd", *(f"--remove-port={span}/tcp" for span in SPANS)])
    return room.apply()


def declare(room: Cluster, members: int, **over: object) -> None:
    room.declare(room.machines[:members], **over)


def reaches(source: Machine, target: Machine, port: int) -> bool:
    return source.exec(["python3", "-c", CONNECT, target.ip, str(port)], check=False).returncode == 0


def ufw_rules(machine: Machine) -> list[str]:
    return [line for line in machine.exec(["ufw", "status"]).stdout.splitlines() if "# provision lab" in line]


def test_what_was_never_saved_is_named_and_all_else_is_applied(room: Cluster, hindered: Answer) -> None:
    assert sorted(hindered.proven()) == ["h1", "h2"]
    found = [each for each in hindered.host("h2")["findings"] if each["message"].startswith("firewalld is left as it")]
    assert [each["severity"] for each in found] == ["notice"]
    lost = "; ".join(f"zone public, ports: {span}/tcp" for span in sorted(SPANS))
    assert found[0]["message"].endswith(f"would lose what was never saved: {lost}")
    assert "sudo firewall-cmd --runtime-to-permanent" in found[0]["remedy"]
    assert not [row for row in hindered.differences() if row[0] == "h2" and "firewalld" in row[2]]
    assert "hands no files" not in hindered.result.out, "the way for files was open, and is shut again"
    assert "files" not in room.head.exec(["ufw", "status"]).stdout


def test_what_containers_and_bans_have_is_there_after_the_reload(room: Cluster, applied: Answer) -> None:
    worker = room.machines[1]
    assert RELOADED in applied.differences()
    assert worker.exec(["firewall-cmd", "--zone=trusted", "--list-sources"]).stdout.split() == [CONTAINERS]
    assert "203.0.113.5" in worker.exec(["firewall-cmd", "--list-rich-rules"]).stdout
    assert CONTAINERS not in worker.exec(["firewall-cmd", "--permanent", "--zone=trusted", "--list-sources"]).stdout


def test_the_worker_joins_through_both(room: Cluster, hindered: Answer, applied: Answer) -> None:
    head, worker, stranger = room.machines
    assert sorted(applied.proven()) == ["h1", "h2"]
    told = f"TCP 6379-6385,10001-19999 from {head.ip}-{worker.ip}"
    assert ("h1", "add", "rules of ufw", "", told) in hindered.differences()
    assert ("h2", "add", "rules of firewalld", "", told.replace("6379-", "6380-").replace("10001", "10002")) in (
        applied.differences()
    )
    assert reaches(worker, head, GCS)
    assert reaches(head, worker, RAYLET)
    assert not reaches(stranger, head, GCS)
    assert not reaches(stranger, worker, RAYLET)


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
    assert "sudo ufw allow in proto tcp from " in needed["h1"][0]["remedy"]
    assert "sudo firewall-cmd --permanent --add-rich-rule=" in needed["h2"][0]["remedy"]
    assert worker.ip in needed["h2"][0]["remedy"]
    assert needed["h2"][0]["remedy"].endswith("; sudo firewall-cmd --reload"), "nothing is cut off"
    for machine, name in ((head, "h1"), (worker, "h2")):
        machine.exec(["sh", "-c", needed[name][0]["remedy"].partition("on the host: ")[2].replace("sudo ", "")])
    assert head.ip in worker.exec(["firewall-cmd", "--list-rich-rules"]).stdout
    assert len(ufw_rules(head)) > 0
    said = room.teardown()
    for name, way in (("h1", "sudo ufw status numbered"), ("h2", "sudo firewall-cmd --permanent --list-rich-rules")):
        (left,) = [each for each in said.host(name)["findings"] if each["severity"] == "needs elevation"]
        assert way in left["remedy"]


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
