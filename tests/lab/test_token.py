"""Ray's token on real hosts: nobody gets in without it, it is nowhere but where Ray reads it, and it is replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .cluster import Answer, Cluster, contacts, ours, ray_pids, undisturbed
from .command import Provision, Result
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

COPY = "/opt/provision/lab/service/token"
ORIGINAL = "/opt/provision/lab/secrets/token"
NODES = "http://127.0.0.1:8265/api/v0/nodes"
STATUS = """\
import sys, urllib.error, urllib.request as u
try:
    print(u.urlopen(u.Request(sys.argv[1], headers=dict(zip(sys.argv[2::2], sys.argv[3::2]))), timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
DRIVER = """\
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("nodes:", len([node for node in ray.nodes() if node["Alive"]]))
"""
WORK = """\
import time, ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
ray.get(ray.remote(num_cpus=0)(time.sleep).remote(600))
"""
SEEN = """\
import glob, sys
token = sys.stdin.read().strip().encode()
for place in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
    try:
        if token in open(place, "rb").read():
            print(place)
    except OSError:
        pass
"""


@dataclass
class Guarded:
    """A cluster whose Ray runs as kim, and everything that was ever said of it."""

    cluster: Cluster
    said: list[Result] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def machines(self) -> list[Machine]:
        return list(self.cluster.machines)

    def keep(self, answer: Answer) -> Answer:
        self.said.append(answer.result)
        return answer

    def token(self) -> str:
        """Return the token that the head keeps, and remember it as one that may be nowhere else."""
        found = self.cluster.head.read(ORIGINAL)
        if found not in self.tokens:
            self.tokens.append(found)
        return found

    def status(self, *headers: str, url: str = NODES) -> str:
        """Return what the dashboard answers, asked on the head."""
        return self.cluster.head.exec(["python3", "-c", STATUS, url, *headers]).stdout.strip()

    def driver(self, script: str, *args: str, **env: str) -> tuple[int, str]:
        """Run a driver as kim on the second host."""
        worker = self.cluster.machines[1]
        python = worker.exec(["sh", "-c", "ls /opt/provision/lab/env/*/bin/python"]).stdout.strip()
        given = ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1", *(f"{name}={value}" for name, value in env.items())]
        argv = ["runuser", "-u", "kim", "--", "env", *given, "timeout", "60", python, "-c", script, *args]
        done = worker.exec(argv, check=False, timeout=90)
        return done.returncode, done.stdout + done.stderr

    def rotate(self, *flags: str, code: int | None = 0) -> Answer:
        running = self.cluster.provision.start("token", "rotate", self.cluster.inventory, "--json", *flags)
        return self.keep(self.cluster.answer(running.wait(280), code))

    def differences(self) -> list[tuple[str, str, str, str]]:
        """Return what a check finds, as (host, what, before, after)."""
        found = self.keep(self.cluster.check(code=None))
        return [(host, what, before, after) for host, _, what, before, after in found.differences()]


@pytest.fixture(scope="module")
def guarded(
    module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("token")
    homes = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    cluster = Cluster(provision, folder / "lab.yml", module_machines(2), env=homes)
    cluster.declare(ssh={"user": "kim"}, become=True)
    made = Guarded(cluster)
    made.keep(cluster.check(code=2))
    made.keep(cluster.apply("-v"))
    made.token()
    yield made


def test_it_is_private_on_every_host(guarded: Guarded) -> None:
    head, worker = guarded.machines
    for machine, path, owner in ((head, ORIGINAL, "root"), (head, COPY, "kim"), (worker, COPY, "kim")):
        assert machine.exec(["stat", "-c", "%a %U", path]).stdout.split() == ["600", owner]
        assert machine.read(path) == guarded.token()
        for user in ("park", "lee"):
            assert machine.exec(["runuser", "-u", user, "--", "cat", path], check=False).returncode != 0
    assert worker.exec(["test", "-e", ORIGINAL], check=False).returncode != 0
    assert head.exec(["stat", "-c", "%a", str(Path(ORIGINAL).parent)]).stdout.strip() == "700"


def test_the_dashboard_asks_for_it(guarded: Guarded) -> None:
    bearer = f"Bearer {guarded.token()}"
    assert [guarded.status(), guarded.status("Authorization", "Bearer abc")] == ["401", "403"]
    assert guarded.status("Authorization", bearer) == guarded.status("X-Ray-Authorization", bearer) == "200"
    for path in ("api/jobs/", "api/version", "nodes?view=summary", "logs"):
        assert guarded.status(url=f"http://127.0.0.1:8265/{path}") == "401"
    for path in ("", "api/gcs_healthz", "api/authentication_mode"):
        assert guarded.status(url=f"http://127.0.0.1:8265/{path}") == "200"


@pytest.mark.parametrize("way", ["{ip}:6379", "ray://{ip}:10001"])
def test_a_driver_without_it_is_refused(way: str, guarded: Guarded) -> None:
    address = way.format(ip=guarded.cluster.head.ip)
    wrong = "0" * 64
    for env in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": wrong}):
        code, said = guarded.driver(DRIVER, address, **env)
        assert code != 0 and "nodes:" not in said, said
    for _ in range(3):
        code, said = guarded.driver(DRIVER, address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=COPY)
        if "_raise_if_zombie" not in said:  # Ray's proxy for clients looks at a process that has just ended
            break
    assert (code, "nodes: 2" in said) == (0, True), said


def test_nothing_to_do_costs_one_connection_and_one_exec(guarded: Guarded) -> None:
    before = undisturbed(guarded.machines)
    answers: list[Answer] = []
    seen = contacts(guarded.machines, lambda: answers.append(guarded.keep(guarded.cluster.apply())))
    assert seen == {"h1": (1, 1), "h2": (1, 1)}
    assert (answers[0].changed(), answers[0].differences()) == ([], [])
    assert undisturbed(guarded.machines) == before


def test_it_can_be_shown_alone(guarded: Guarded) -> None:
    done = guarded.cluster.provision("token", "show", guarded.cluster.inventory, env=guarded.cluster.env)
    assert (done.code, done.out, done.err) == (0, guarded.token() + "\n", "")


HARM = [
    ("removed", ["rm", COPY], ("Ray's token", "missing")),
    ("another", ["sh", "-c", f"printf %064d 7 > {COPY}"], ("Ray's token", "")),
    ("readable", ["chmod", "644", COPY], ("who may use", "0644, of kim")),
    ("of another account", ["chown", "park", COPY], ("who may use", "0600, of park")),
]


@pytest.mark.parametrize("number", [0, 1], ids=["head", "worker"])
@pytest.mark.parametrize(("argv", "told"), [row[1:] for row in HARM], ids=[row[0] for row in HARM])
def test_what_was_done_to_it_is_shown_and_mended(
    number: int, argv: list[str], told: tuple[str, str], guarded: Guarded
) -> None:
    before, machine = undisturbed(guarded.machines), guarded.machines[number]
    machine.exec(argv)
    ((host, what, now, _),) = guarded.differences()
    assert host == machine.name and what.startswith(told[0]) and now.startswith(told[1])
    guarded.keep(guarded.cluster.apply())
    assert guarded.differences() == []
    assert machine.read(COPY) == guarded.token()
    assert undisturbed(guarded.machines) == before, "Ray was not restarted for it"


def test_a_worker_that_runs_with_another_one(guarded: Guarded) -> None:
    worker = guarded.cluster.machines[1]
    worker.exec(["sh", "-c", f"printf %064d 7 > {COPY}; systemctl restart ray-lab"])
    guarded.cluster.wait_alive("h1", limit=120)
    assert {host for host, *_ in guarded.differences()} == {"h2"}
    guarded.keep(guarded.cluster.apply())
    guarded.cluster.wait_alive("h1", "h2")
    assert guarded.differences() == []


def test_rotating_asks_first_and_replaces_it_everywhere(guarded: Guarded) -> None:
    old, before = guarded.token(), undisturbed(guarded.machines)
    refused = guarded.rotate(code=None)
    assert "would be stopped" in refused.said("h1") and guarded.token() == old
    assert undisturbed(guarded.machines) == before
    worker = guarded.cluster.machines[1]
    python = worker.exec(["sh", "-c", "ls /opt/provision/lab/env/*/bin/python"]).stdout.strip()
    worker.write("/home/kim/work.py", WORK)
    env = ["--setenv=RAY_AUTH_MODE=token", f"--setenv=RAY_AUTH_TOKEN_PATH={COPY}"]
    worker.exec(["systemd-run", "--unit=work", "--uid=kim", "--collect", *env, python, "/home/kim/work.py"])
    done = guarded.rotate("--yes")
    assert sorted(done.proven()) == ["h1", "h2"] and done.document["verb"] == "apply"
    assert guarded.token() != old == guarded.tokens[0]
    assert [machine.read(COPY) for machine in guarded.machines] == [guarded.token()] * 2
    assert guarded.status("Authorization", f"Bearer {old}") == "403"
    assert guarded.status("Authorization", f"Bearer {guarded.token()}") == "200"
    wait_until(lambda: not any("work.py" in each.command for each in worker.processes()), "the work to end", 120)
    assert guarded.differences() == []


def token_of(machine: Machine) -> str:
    return machine.exec(["cat", COPY], check=False).stdout


def stopped(machine: Machine) -> bool:
    return "raylet" not in ray_pids(machine).values()


@pytest.mark.parametrize("moment", ["the head is stopped", "the head has it", "the worker is stopped"])
def test_rotating_that_is_killed_is_mended_by_apply(moment: str, guarded: Guarded) -> None:
    old, (head, worker) = guarded.token(), guarded.machines
    reached = {
        "the head is stopped": lambda: stopped(head),
        "the head has it": lambda: token_of(head) != old and not stopped(head),
        "the worker is stopped": lambda: token_of(head) != old and not stopped(head) and stopped(worker),
    }
    running = guarded.cluster.provision.start(
        "token", "rotate", guarded.cluster.inventory, "--json", "--yes", env=guarded.cluster.env
    )
    try:
        wait_until(reached[moment], moment, 90)
    finally:
        running.signal(signal.SIGKILL)
        guarded.said.append(running.wait())
    mine = ".provision/program"
    ended = lambda: not any(mine in each.command for machine in guarded.machines for each in machine.processes())  # noqa: E731
    wait_until(ended, "the programs on the hosts to end", 30)
    guarded.keep(guarded.cluster.apply("--yes"))
    guarded.cluster.wait_alive("h1", "h2")
    assert token_of(head) == token_of(worker) == guarded.token()
    assert guarded.differences() == []


def test_a_worker_that_was_off_gets_it_with_its_next_apply(guarded: Guarded) -> None:
    old, worker = guarded.token(), guarded.cluster.machines[1]
    worker.power_off()
    guarded.rotate("--yes", "--connect-timeout", "3", code=4)
    assert guarded.token() != old
    worker.boot()
    assert token_of(worker) == old
    assert {host for host, *_ in guarded.differences()} == {"h2"}
    guarded.keep(guarded.cluster.apply())
    assert token_of(worker) == guarded.token()
    guarded.cluster.wait_alive("h1", "h2")
    assert guarded.differences() == []


def test_it_was_nowhere_else(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In no output, no log, no unit, no process's command line or variables, on no controller's disk."""
    assert len(guarded.tokens) >= 4
    for token in guarded.tokens:
        assert not any(token in result.out + result.err for result in guarded.said)
        folder = guarded.cluster.inventory.parent
        assert not [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
        for machine in guarded.machines:
            machine.write("/run/token", token, 0o600)
            places = ["/etc", "/opt", "/home", "/root", "/run", "/tmp", "/var", "/dev/shm"]
            argv = ["grep", "-rlsaF", "-f", "/run/token", *places]
            holders = set(machine.exec(argv, check=False, timeout=120).stdout.split()) - {"/run/token"}
            machine.exec(["rm", "/run/token"])
            current = token == guarded.token()
            kept = {COPY, ORIGINAL} if machine is guarded.cluster.head else {COPY}
            assert holders == (kept if current else set()), (machine.name, current)
            argv = ["python3", "-c", SEEN]
            assert machine.exec(argv, stdin=token).stdout == ""


def test_a_cluster_without_it_says_so_every_time(guarded: Guarded) -> None:
    guarded.cluster.declare(ssh={"user": "kim"}, become=True, ray={"auth": "none"})
    answers = [guarded.cluster.apply("--yes"), guarded.cluster.check(), guarded.cluster.apply()]
    for answer in answers:
        (told,) = [each["message"] for each in answer.document["notices"] if "auth" in each["message"]]
        assert "can run code on every node" in told
    assert guarded.status() == "200"
    assert all(machine.exec(["test", "-e", COPY], check=False).returncode for machine in guarded.machines)
    none = guarded.cluster.provision("token", "show", guarded.cluster.inventory)
    assert none.code == 1 and "this cluster has no token" in none.err
    guarded.cluster.declare(ssh={"user": "kim"}, become=True)
    refused = guarded.cluster.apply(code=None)
    assert "would be stopped" in refused.said("h1")
    guarded.cluster.apply("--yes")
    assert guarded.status() == "401" and guarded.token() not in guarded.tokens[:-1]


def test_teardown_takes_it_along(guarded: Guarded) -> None:
    guarded.cluster.teardown()
    for machine in guarded.machines:
        assert ours(machine) == []
        assert machine.exec(["ls", "-A", guarded.cluster.root]).stdout.split() == ["env"]
    guarded.cluster.teardown("--purge")
