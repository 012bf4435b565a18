"""A user's own playbook on real hosts: files, commands and packages come, stay, and go again; gates hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cluster import Answer, Cluster
from .command import Provision
from .conftest import MachineFactory
from .listing import Listing, changes
from .machines import Machine

REPOSITORY = """\
set -eu
mkdir -p /srv/repo/hello/DEBIAN /srv/repo/hello/usr/share/lab-hello
echo hello > /srv/repo/hello/usr/share/lab-hello/greeting
cat > /srv/repo/hello/DEBIAN/control <<END
Package: lab-hello
Version: 1.0
Architecture: all
Maintainer: Lab <lab@example.org>
Description: a file
END
cd /srv/repo && dpkg-deb --build --root-owner-group hello lab-hello.deb >/dev/null
{ cat hello/DEBIAN/control; echo Filename: ./lab-hello.deb; echo Size: $(stat -c %s lab-hello.deb)
  echo SHA256: $(sha256sum lab-hello.deb | cut -d' ' -f1); } > Packages
rm -rf hello /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
"""
PLAYBOOK = """\
- play: Own things
  hosts: all
  tasks:
    - name: Greet
      file: {path: /etc/motd, content: "Welcome to {{ host.name }} of {{ cluster }}\\n", mode: "0640", owner: kim}
    - name: Make a new file
      file: {path: /srv/new/deep/file.txt, source: beside.txt}
    - name: Make a folder
      command: {argv: [mkdir, /srv/made], creates: /srv/made, undo: [rmdir, /srv/made]}
    - name: Count
      command:
        argv: [sh, -c, "echo once >> /srv/count"]
        unless: [test, -s, /srv/count]
        undo: [rm, /srv/count]
    - name: Install a package
      system_package: {name: lab-hello}
    - name: Only on the head
      file: {path: /srv/role, content: head}
      when: {role: head}
    - name: Never here
      file: {path: /srv/windows, content: x}
      when: {os: windows}
"""
GATED = """\
- play: First
  hosts: head
  tasks:
    - name: Take a while
      command: {{argv: [sh, -c, "{command}"], creates: /srv/first}}
- play: Second
  hosts: workers
  needs: First
  tasks:
    - name: Follow
      command: {{argv: [sh, -c, "date +%s.%N > /srv/second"], creates: /srv/second}}
"""
APT = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/ldconfig", "/etc/ld.so.cache")


@pytest.fixture(scope="module")
def room(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Two hosts with a package repository of their own."""
    made = Cluster(provision, tmp_path_factory.mktemp("playbook") / "lab.yml", module_machines(2))
    made.declare()
    for machine in made.machines:
        machine.exec(["sh", "-c", REPOSITORY])
        machine.write("/etc/motd", "the old greeting\n", 0o600)
    made.inventory.with_name("beside.txt").write_text("from beside the playbook\n")
    return made


def write(room: Cluster, text: str) -> tuple[str, str]:
    """Write a playbook and return the flags that use it."""
    path = room.inventory.with_name("mine.yml")
    path.write_text(text)
    return "--playbook", str(path)


def without(text: str, task: str) -> str:
    """Return the playbook without one task."""
    head, _, rest = text.partition(f"    - name: {task}\n")
    return head + rest[rest.index("    - name:") :]


def left(machine: Machine, before: Listing) -> list[str]:
    """Return what differs from before, apart from the package manager's own records."""
    found = changes(before, machine.listing())
    return [line for line in found if not line[2:].startswith(APT)]


def test_own_tasks_come_stay_and_go(room: Cluster) -> None:
    h1, h2 = room.machines
    listings = {machine.name: machine.listing() for machine in room.machines}
    flags = write(room, PLAYBOOK)

    planned = room.check(*flags, code=2).differences()
    assert ("h1", "change", "file /etc/motd", "other content", "21 bytes") in planned
    assert ("h2", "add", "package lab-hello", "", "") in planned
    assert not any("windows" in what for _, _, what, _, _ in planned)
    assert left(h1, listings["h1"]) == ["+ /root/.provision"] + [
        line for line in left(h1, listings["h1"]) if line.startswith("+ /root/.provision/")
    ]

    done = room.apply(*flags)
    assert [task for host, task in done.changed() if host == "h2"] == [
        "Greet", "Make a new file", "Make a folder", "Count", "Install a package",
    ]  # fmt: skip
    assert h2.read("/etc/motd") == "Welcome to h2 of lab\n"
    assert h2.exec(["stat", "-c", "%a %U", "/etc/motd"]).stdout.strip() == "640 kim"
    assert h2.read("/srv/new/deep/file.txt") == "from beside the playbook\n"
    assert h2.read("/usr/share/lab-hello/greeting") == "hello\n"
    assert h1.read("/srv/role") == "head"
    assert h2.exec(["test", "-e", "/srv/role"], check=False).returncode != 0
    assert room.apply(*flags).changed() == []
    assert room.check(*flags).differences() == []
    assert h1.read("/srv/count") == "once\n"

    fewer = write(room, without(PLAYBOOK, "Make a folder"))
    assert [(host, action) for host, action, *_ in room.check(*fewer, code=2).differences()] == [
        ("h1", "remove"), ("h2", "remove"),
    ]  # fmt: skip
    room.apply(*fewer)
    assert h1.exec(["test", "-e", "/srv/made"], check=False).returncode != 0
    assert room.check(*fewer).differences() == []

    h2.write("/etc/motd", "changed by hand\n")
    assert room.check(*fewer, code=2).differences()[0][:3] == ("h2", "change", "file /etc/motd")
    room.apply(*fewer)

    room.teardown("--purge", *write(room, without(without(PLAYBOOK, "Make a folder"), "Make a new file")))
    for machine in room.machines:
        assert left(machine, listings[machine.name]) == []
        assert machine.read("/etc/motd") == "the old greeting\n"
    assert room.teardown("--purge", *flags).changed() == []


def gated(room: Cluster, command: str, code: int) -> Answer:
    for machine in room.machines:
        machine.exec(["rm", "-f", "/srv/first", "/srv/second"])
    return room.apply(*write(room, GATED.format(command=command)), code=code)


def test_a_play_waits_for_the_one_it_needs(room: Cluster) -> None:
    gated(room, "sleep 1; date +%s.%N > /srv/first", code=0)
    h1, h2 = room.machines
    assert float(h2.read("/srv/second")) > float(h1.read("/srv/first"))


def test_a_play_is_skipped_when_the_one_it_needs_fails(room: Cluster) -> None:
    answer = gated(room, "echo broken things >&2; exit 3", code=3)
    assert answer.status() == {"h1": "failed", "h2": "skipped"}
    assert "Take a while" in answer.said("h1")
    assert "exit code 3: broken things" in answer.said("h1")
    assert "'First' did not succeed on h1" in answer.said("h2")
    assert room.machines[1].exec(["test", "-e", "/srv/second"], check=False).returncode != 0


def test_a_source_that_is_missing_is_said_before_any_host_is_contacted(room: Cluster, tmp_path: Path) -> None:
    seen = room.head.sshd_log()
    flags = write(room, PLAYBOOK.replace("beside.txt", "gone.txt"))
    answer = room.apply(*flags, code=1)
    assert "gone.txt" in answer.result.out + answer.result.err
    assert room.head.sshd_log() == seen
