"""A head that may die: its state is in a Redis of the cluster's own, and whoever was at work goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Answer, Cluster, contacts, ours, raylet
from .command import Provision
from .conftest import MachineFactory
from .golden import lab_home
from .listing import Listing, changes
from .machines import Machine
from .plumbing import NETWORK
from .shell import run, wait_until

ROOT = "/opt/provision/lab"
COUNT = """\
import glob, json, os, sys
spec = json.load(open("/opt/provision/lab/service/ray-lab.json"))
ours = {name: value for name, value in spec["env"].items() if "REDIS" not in name and name != "PROVISION_ROOT"}
os.environ.update(ours)
import ray
ray.init(spec["gcs"], namespace="counting", logging_level="ERROR")

@ray.remote(num_cpus=0, resources={"spot": 1})
class Counter:
    def __init__(self):
        self.count = 0
    def add(self):
        self.count += 1
        return [self.count, os.getpid(), os.uname().nodename]

try:
    counter = ray.get_actor("counter")
except ValueError:
    counter = Counter.options(name="counter", lifetime="detached").remote()
print(json.dumps(ray.get(counter.add.remote(), timeout=40)))
"""
SEARCH = """\
import os, sys
wanted = open(sys.argv[1], "rb").read().strip()
assert len(wanted) > 20
for pid in filter(str.isdigit, os.listdir("/proc")):
    for what in ("cmdline", "environ"):
        try:
            if wanted in open("/proc/%s/%s" % (pid, what), "rb").read():
                print(what, open("/proc/%s/comm" % pid).read().strip())
        except OSError:
            pass
for top in ("/opt/provision", "/etc", "/run", "/tmp", "/var", "/root"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path) and os.path.getsize(path) < 50_000_000 and wanted in open(path, "rb").read():
                    print("file", path)
            except OSError:
                pass
"""


def python(machine: Machine) -> str:
    found: str = json.loads(machine.read(f"{ROOT}/service/ray-lab.json"))["python"]
    return found


def count(head: Machine) -> tuple[int, int, str]:
    """Have the actor count; returns how far it is, its pid, and its host."""
    head.write("/srv/count.py", COUNT)
    said = head.exec([python(head), "/srv/count.py"], timeout=120).stdout.splitlines()
    number, pid, host = json.loads(next(line for line in said if line.startswith("[")))
    return number, pid, host


def counts(head: Machine) -> tuple[int, int, str]:
    """Like ``count``, as soon as somebody answers."""
    found: list[tuple[int, int, str]] = []

    def again() -> bool:
        said = head.exec([python(head), "/srv/count.py"], check=False, timeout=120).stdout
        lines = [line for line in said.splitlines() if line.startswith("[")]
        found.extend((number, pid, host) for number, pid, host in map(json.loads, lines))
        return bool(found)

    wait_until(again, "the actor to count", 180, pause=0.5)
    return found[0]


def listeners(machine: Machine, port: int) -> set[str]:
    rows = machine.exec(["ss", "-Htln", f"sport = :{port}"]).stdout.splitlines()
    return {row.split()[3].rpartition(":")[0] for row in rows}


@pytest.fixture(scope="module")
def room(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three hosts with Debian's redis-server, which does not run; the third belongs to nobody at first."""
    return Cluster(provision, tmp_path_factory.mktemp("redis") / "lab.yml", module_machines(3), env={"PW": "right-1"})


@pytest.fixture(scope="module")
def listings(room: Cluster) -> dict[str, Listing]:
    room.declare()
    return {machine.name: machine.listing() for machine in room.machines}


@pytest.fixture(scope="module")
def kept(room: Cluster, listings: dict[str, Listing]) -> Iterator[Answer]:
    """What the apply said that made a cluster whose state is kept on its head."""
    declare(room, redis={"host": "head"})
    yield room.apply()


def declare(room: Cluster, **over: object) -> None:
    room.declare(room.machines[:2], workers={"h2": {"ray": {"resources": {"spot": 1}}}}, **over)


def test_it_is_made_before_the_head(room: Cluster, kept: Answer) -> None:
    tasks = [task for host, task in kept.changed() if host == "h1"]
    assert tasks.index("Run Redis") < tasks.index("Run the Ray head")
    assert sorted(kept.proven()) == ["h1", "h2"]
    assert listeners(room.head, 6378) == {"127.0.0.1"}
    assert room.head.exec(["systemctl", "is-active", "redis-server"], check=False).stdout.strip() == "inactive"


@pytest.mark.parametrize("verb", ["apply", "check"])
@pytest.mark.usefixtures("kept")
def test_nothing_to_do_costs_one_connection_and_one_exec(room: Cluster, verb: str) -> None:
    answers: list[Answer] = []
    seen = contacts(room.machines[:2], lambda: answers.append(room.run(verb)))
    assert seen == {"h1": (1, 1), "h2": (1, 1)}
    assert (answers[0].changed(), answers[0].differences()) == ([], [])


@pytest.mark.usefixtures("kept")
def test_check_says_how_it_is(room: Cluster) -> None:
    said = room.provision("check", room.inventory, "--verbose", env=room.env)
    assert re.search(r"Redis 7\.0\.\d+ at 127\.0\.0\.1:6378 on h1 answers and takes what is written", said.out), (
        said.out
    )


@pytest.mark.usefixtures("kept")
def test_its_password_is_where_it_must_be_and_nowhere_else(room: Cluster, kept: Answer) -> None:
    h1, h2 = room.machines[:2]
    count(h1)
    password = h1.read(f"{ROOT}/secrets/redis").strip()
    h1.write("/srv/search.py", SEARCH)
    found = h1.exec(["python3", "/srv/search.py", f"{ROOT}/secrets/redis"], timeout=120).stdout.splitlines()
    assert sorted(found) == [
        f"file {ROOT}/redis/redis.conf", f"file {ROOT}/secrets/redis", f"file {ROOT}/service/redis.flags",
    ]  # fmt: skip
    for path in (f"{ROOT}/redis/redis.conf", f"{ROOT}/secrets/redis", f"{ROOT}/service/redis.flags"):
        assert h1.exec(["stat", "-c", "%a", path]).stdout.strip() == "600"
    h2.write("/srv/search.py", SEARCH)
    h2.write("/srv/wanted", password)
    others = h2.exec(["python3", "/srv/search.py", "/srv/wanted"], timeout=120).stdout.splitlines()
    assert others == []
    assert password not in kept.result.out + kept.result.err


@pytest.mark.usefixtures("kept")
def test_a_killed_gcs_costs_nobody_anything(room: Cluster) -> None:
    h1, h2 = room.machines[:2]
    before, process, host = count(h1)
    node = raylet(h2)
    h1.exec(["pkill", "-9", "-x", "gcs_server"])
    room.wait_alive("h1", "h2", limit=240)
    assert counts(h1) == (before + 1, process, "h2")
    assert (raylet(h2), host) == (node, "h2")


@pytest.mark.usefixtures("kept")
def test_a_head_that_lost_its_power_goes_on(room: Cluster) -> None:
    h1, h2 = room.machines[:2]
    before, process, _ = count(h1)
    node = raylet(h2)
    h1.power_cut()
    h1.boot()
    room.wait_alive("h1", "h2", limit=240)
    assert counts(h1) == (before + 1, process, "h2")
    assert raylet(h2) == node
    assert room.check().differences() == []
    assert room.apply().changed() == []


@pytest.mark.usefixtures("kept")
def test_teardown_keeps_its_data_and_the_next_cluster_finds_it(room: Cluster) -> None:
    h1 = room.head
    done = room.teardown()
    assert set(done.status().values()) == {"changed"}
    assert ours(h1) == []
    assert listeners(h1, 6378) == set()
    assert sorted(h1.exec(["ls", "-A", ROOT]).stdout.split()) == ["env", "redis"]
    assert h1.exec(["find", f"{ROOT}/redis", "-name", "*.aof", "-size", "+0"]).stdout.strip() != ""
    assert room.teardown().changed() == []
    assert sorted(room.apply().proven()) == ["h1", "h2"]
    assert room.check().differences() == []


@pytest.mark.usefixtures("kept")
def test_purge_names_its_data_and_leaves_nothing(room: Cluster, listings: dict[str, Listing]) -> None:
    for machine in room.machines[:2]:
        machine.exec(["rm", "-f", "/srv/count.py", "/srv/search.py", "/srv/wanted"])
    done = room.teardown("--purge")
    assert any(what == "Redis's data" and "MB" in before for _, _, what, before, _ in done.differences())
    for machine in room.machines[:2]:
        assert changes(listings[machine.name], machine.listing()) == []
        assert ours(machine) == []
    assert room.head.exec(["systemctl", "list-units", "--all", "--no-legend", "redis-*"]).stdout.strip() == ""


@pytest.fixture(scope="module")
def theirs(room: Cluster) -> Machine:
    """The third host, with Debian's own Redis as somebody else's: with a password, for everybody on the network."""
    third = room.machines[2]
    settings = "bind 0.0.0.0\nport 6379\ndir /var/lib/redis\nrequirepass right-1\nprotected-mode yes\n"
    third.write("/etc/theirs.conf", settings)
    third.exec(["systemd-run", "--unit=theirs", "--uid=redis", "redis-server", "/etc/theirs.conf"])
    return third


def cli(machine: Machine, *words: str) -> str:
    return machine.exec(["redis-cli", "-a", "right-1", "--no-auth-warning", *words]).stdout.strip()


@pytest.mark.usefixtures("kept")
def test_what_is_wrong_with_somebody_elses_is_said_before_a_head_is_started(room: Cluster, theirs: Machine) -> None:
    address = f"{NETWORK}.13"
    cases: list[tuple[dict[str, object], tuple[str, ...], str]] = [
        ({"external": address, "password": {"from_env": "WRONG"}}, (), "does not accept the password"),
        ({"external": address}, (), "wants a password"),
        ({"external": f"{address}:6390", "password": {"from_env": "PW"}}, (), "no Redis answers at"),
        ({"external": address, "password": {"from_env": "PW"}}, ("REPLICAOF", "127.0.0.1", "1"), "read-only copy"),
        ({"external": address, "password": {"from_env": "PW"}}, ("CONFIG", "SET", "maxmemory", "1"), "memory is full"),
    ]
    for redis, spoil, cause in cases:
        if spoil:
            cli(theirs, *spoil)
        declare(room, redis=redis)
        room.env = {"PW": "right-1", "WRONG": "wrong-2"}
        said = room.apply(code=3)
        assert cause in said.said("h1"), said.said("h1")
        assert said.host("h1")["remedy"]
        assert "raylet" not in " ".join(process.command for process in ours(room.head))
        assert not {"right-1", "wrong-2"} & set(re.findall(r"[a-z]+-\d", said.result.out + said.result.err))
        cli(theirs, "REPLICAOF", "NO", "ONE")
        cli(theirs, "CONFIG", "SET", "maxmemory", "0")


@pytest.mark.usefixtures("kept")
def test_turning_it_on_restarts_the_head_with_consent(room: Cluster, theirs: Machine) -> None:
    declare(room)
    room.apply()
    before = raylet(room.head)
    declare(room, redis={"external": f"{NETWORK}.13", "password": {"from_env": "PW"}})
    planned = [each for each in room.check(code=2).differences() if each[0] == "h1"]
    assert ("h1", "add", "ray env RAY_REDIS_ADDRESS", "", f"{NETWORK}.13:6379") in planned
    assert "Ray on h1" in room.apply(code=1).said("h1")
    assert raylet(room.head) == before
    assert sorted(room.apply("--yes").proven()) == ["h1", "h2"]
    assert cli(theirs, "KEYS", "RAYlab@*") != ""
    assert room.check().differences() == []
    room.teardown("--purge")


@pytest.mark.usefixtures("kept")
def test_on_another_host_it_listens_for_the_head(room: Cluster) -> None:
    h1, h2 = room.machines[:2]
    declare(room, redis={"host": "h2"})
    assert sorted(room.apply().proven()) == ["h1", "h2"]
    assert listeners(h2, 6378) == {"127.0.0.1", h2.ip}
    assert h1.read(f"{ROOT}/service/redis.flags") == "--redis_password=" + h2.read(f"{ROOT}/secrets/redis")
    seen = contacts(room.machines[:2], lambda: room.apply())
    assert seen == {"h1": (1, 1), "h2": (1, 1)}
    h2.exec(["systemctl", "kill", "-s", "KILL", "redis-lab"])
    wait_until(lambda: listeners(h2, 6378) == {"127.0.0.1", h2.ip}, "Redis to be there again", 60)
    wait_until(lambda: room.check(code=None).differences() == [], "the head, which ends for that, to be back", 240, 2.0)
    room.teardown("--purge")


def test_the_package_is_brought_and_taken_away(room: Cluster, tmp_path: Path) -> None:
    """The server that it would start by itself does not run."""
    third = room.machines[2]
    third.exec(["systemctl", "stop", "theirs"], check=False)
    third.exec(["apt-get", "purge", "--yes", "--quiet", "redis-server"], timeout=120)
    store = lab_home() / "cache" / "debs"
    store.mkdir(parents=True, exist_ok=True)
    if not list(store.glob("redis-server_*.deb")):
        run(["sh", "-c", f"cd {store} && apt-get download redis-server"], timeout=120)
    (package,) = store.glob("redis-server_*.deb")
    third.exec(["mkdir", "-p", "/srv/repo"])
    third.exec(["sh", "-c", "cat > /srv/repo/redis.deb"], stdin=package.read_bytes())
    third.exec(["sh", "-c", REPOSITORY], timeout=60)
    room.declare([third], redis={"host": "head"})
    alone = Cluster(room.provision, room.inventory, [third])
    assert ("h3", "add", "package redis-server", "", "") in alone.check(code=2).differences()
    assert sorted(alone.apply().proven()) == ["h3"]
    assert third.exec(["systemctl", "is-enabled", "redis-server"], check=False).stdout.strip() == "disabled"
    assert third.exec(["systemctl", "is-active", "redis-server"], check=False).stdout.strip() == "inactive"
    assert third.exec(["journalctl", "--quiet", "--output=cat", "--unit=redis-server"]).stdout == "", "never ran"
    assert third.exec(["find", "/run/systemd/system", "-name", "redis*", "-o", "-name", "valkey*"]).stdout == ""
    assert listeners(third, 6378) == {"127.0.0.1"}
    assert alone.check().differences() == []
    alone.teardown("--purge")
    state = ["dpkg-query", "--showformat=${db:Status-Abbrev}", "--show", "redis-server"]
    assert not third.exec(state, check=False).stdout.startswith("ii")


REPOSITORY = """\
set -eu
cd /srv/repo
{ dpkg-deb --field redis.deb; echo Filename: ./redis.deb; echo Size: $(stat -c %s redis.deb)
  echo SHA256: $(sha256sum redis.deb | cut -d' ' -f1); } > Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
"""
