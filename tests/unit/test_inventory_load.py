"""Loading an inventory: what it means."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.inventory import values
from provisioner.inventory.load import SCHEMA, find_inventory, load_inventory
from provisioner.inventory.model import Index, Interpreter, Secret
from provisioner.inventory.options import CLUSTER_ONLY, HEAD_ONLY, ONE_HOST_ONLY

from .inventories import HEAD, TOP, load

EXAMPLE = Path(__file__).parents[2] / "inventory" / "example.yml"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inv.yml"


def test_the_example() -> None:
    inventory = load_inventory(EXAMPLE, {})
    assert inventory.head.name == "ctl.lab"
    assert [host.name for host in inventory.workers] == [
        *(f"w{number:02}.lab" for number in range(1, 13)),
        "pc1",
        "pc2",
        "pc3",
        "gpu-1",
    ]
    assert inventory.host("pc3").address == "10.0.0.13"
    assert "dashboard_host" in inventory.head.ray.options
    assert "dashboard_host" not in inventory.host("pc1").ray.options
    gpu = inventory.host("gpu-1")
    assert (gpu.ssh.user, gpu.ssh.port, gpu.groups) == ("kim", 2222, ("gpu",))
    assert gpu.ray.options == {"num_cpus": 8, "object_store_memory": 4 * 1024**3}


def test_the_least_inventory(file: Path) -> None:
    inventory = load(file, TOP.replace("3.11.9", "controller") + "head: [ctl]\nworkers: ['w[1:2]']\n")
    assert [(host.name, host.address, host.role) for host in inventory.hosts] == [
        ("ctl", "ctl", "head"),
        ("w1", "w1", "worker"),
        ("w2", "w2", "worker"),
    ]
    assert inventory.head.python == platform.python_version()
    assert inventory.head.packages == ()
    assert str(inventory.workers[1].place) == f"{file}:5:11"


def test_a_host_wins_over_the_cluster_key_by_key(file: Path) -> None:
    text = """\
        cluster: lab
        python: {version: 3.11.9, match: minor, source: system}
        packages: [a, b]
        become: true
        service: process
        ssh: {user: ray, port: 22}
        vars: {x: 1, y: 1}
        ray: {version: 2.60.0, num_cpus: 2, labels: {a: 1, b: true}, env: {A: 1, B: 3.10}, port: 7000}
        head: {ctl: null}
        workers:
          w:
            python: 3.11.7
            packages: [c]
            become: false
            ssh: {user: kim}
            vars: {y: 2}
            ray: {num_cpus: 4, labels: {b: z}, env: {B: text}, resources: {big: 0.5}}
        """
    inventory = load(file, text)
    worker = inventory.workers[0]
    assert (worker.python, worker.packages, worker.become, worker.service) == ("3.11.7", ("c",), False, "process")
    assert worker.interpreter == Interpreter(source="system", match="minor")
    assert (worker.ssh.user, worker.ssh.port) == ("kim", 22)
    assert (worker.vars, inventory.vars) == ({"x": 1, "y": 2}, {"x": 1, "y": 1})
    assert worker.ray.options == {"num_cpus": 4}
    assert (worker.ray.labels, worker.ray.resources) == ({"a": "1", "b": "z"}, {"big": 0.5})
    assert worker.ray.env == {"A": "1", "B": "text"}
    assert inventory.head.ray.options == {"num_cpus": 2, "port": 7000}
    assert inventory.head.ray.labels == {"a": "1", "b": "true"}
    assert inventory.head.ray.env["B"] == "3.10"


def test_where_python_and_packages_come_from(file: Path) -> None:
    (file.parent / "constraints.txt").write_text("numpy<3\n")
    text = """\
        cluster: lab
        python: {version: 3.11.9, mirror: pythons}
        ray: {version: 2.60.0}
        keep: 0
        artifacts:
          mirror: w
          port: 7777
          index: https://pypi.lab/simple
          extra_indexes: [{url: https://more.lab/simple, username: kim, password: {from_env: INDEX_PW}}]
          find_links: [wheels, "https://wheels.lab/"]
          constraints: [constraints.txt]
          sdists: [legacy]
        head: [ctl]
        workers: {w: {os: windows, arch: x86_64, python: {source: system}}, old: {glibc: "2.17"}}
        """
    inventory = load(file, text, INDEX_PW="i-pw")
    found, mirror = inventory.artifacts, (file.parent / "pythons").as_uri()
    assert (found.mirror, found.port, inventory.keep) == ("w", 7777, 0)
    assert found.index == Index("https://pypi.lab/simple")
    assert found.extra_indexes == (Index("https://more.lab/simple", "kim", Secret("i-pw", "from_env: INDEX_PW")),)
    assert found.find_links == ((file.parent / "wheels").as_uri(), "https://wheels.lab/")
    assert found.constraints == (file.parent / "constraints.txt",)
    assert found.sdists == ("legacy",)
    assert inventory.secrets() == ("i-pw",)
    assert [host.interpreter.source for host in inventory.hosts] == ["managed", "system", "managed"]
    assert inventory.host("w").interpreter.mirror == mirror
    assert [(host.os, host.arch, host.glibc) for host in inventory.workers] == [
        ("windows", "x86_64", None),
        (None, None, "2.17"),
    ]


SERVICES = [
    ("", "", ("auto", None, None)),
    ("service: task\n", "", ("task", None, None)),
    ("service: {manager: task}\n", "", ("task", None, None)),
    ("service: {account: SYSTEM}\n", "", ("auto", "SYSTEM", None)),
    ("service: {account: 'LAB\\Kim Lee', password: {from_env: PW}}\n", "", ("auto", "LAB\\Kim Lee", "hush")),
    ("account: kim\n", "service: {account: SYSTEM}", ("auto", "SYSTEM", None)),
    ("service: {manager: task, account: kim, password: {from_env: PW}}\n", "", ("task", "kim", "hush")),
    ("service: {account: kim, password: {from_env: PW}}\n", "service: task", ("task", "kim", "hush")),
    ("service: {account: kim, password: {from_env: PW}}\n", "account: lee", ("auto", "lee", None)),
    ("service: {account: kim, password: {from_env: PW}}\n", "service: {account: SYSTEM}", ("auto", "SYSTEM", None)),
]


@pytest.mark.parametrize(("cluster", "host", "expected"), SERVICES)
def test_who_runs_ray(file: Path, cluster: str, host: str, expected: tuple[str, str | None, str | None]) -> None:
    inventory = load(file, HEAD + cluster + f"workers: {{w: {{{host}}}}}\n", PW="hush")
    worker = inventory.workers[0]
    password = worker.account_password.reveal() if worker.account_password else None
    assert (worker.service, worker.account, password) == expected
    assert ("hush" in inventory.secrets()) == ("PW" in cluster), "the head's, or the worker's"


def test_secrets_and_files(file: Path) -> None:
    (file.parent / "key").write_text("key")
    (file.parent / "pass").write_bytes(b" s3cret \r\n")
    text = HEAD + (
        "ssh: {key: key, passphrase: {from_file: pass}, password: {from_env: PW}}\n"
        "become_password: {from_env: PW}\n"
        "workers: {w: {ray: {env: {T: {from_env: TOKEN}}}}}\n"
    )
    inventory = load(file, text, PW="hunter2", TOKEN="tok")
    ssh = inventory.head.ssh
    assert ssh.key == file.parent / "key"
    assert isinstance(ssh.passphrase, Secret)
    assert ssh.passphrase.reveal() == " s3cret "
    assert inventory.secrets() == (" s3cret ", "hunter2", "tok")
    assert "hunter2" not in repr(inventory)


def test_ranges_run_along(file: Path) -> None:
    text = HEAD + "workers: {'w[1:2]': {address: '10.0.1.[7:8]', ray: {node_ip: '10.9.0.[1:2]', node_name: 'n[1:2]'}}}"
    first, second = load(file, text).workers
    assert (first.address, second.address) == ("10.0.1.7", "10.0.1.8")
    assert second.ray.options == {"node_ip": "10.9.0.2", "node_name": "n2"}


def test_one_address_with_other_ports_or_jumps_is_fine(file: Path) -> None:
    text = HEAD + (
        "workers:\n"
        "  a: {address: 10.0.0.9}\n"
        "  b: {address: 10.0.0.9, ssh: {port: 23}}\n"
        "  c: {address: 10.0.0.9, ssh: {jump: j}}\n"
    )
    assert len(load(file, text).workers) == 3


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (7, 7),
        ("7", 7),
        ("1K", 1000),
        ("1k", 1000),
        ("1.5KiB", 1536),
        ("500M", 500_000_000),
        ("4 GiB", 4 << 30),
        ("2Ti", 2 << 40),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert values.size_in_bytes(text) == size


def test_the_schema_knows_the_options_the_loader_treats_apart() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert set(schema["$defs"]["ray"]["properties"]) > HEAD_ONLY | ONE_HOST_ONLY | CLUSTER_ONLY


def test_every_key_of_the_schema_is_described() -> None:
    schema = json.loads(SCHEMA.read_text())
    for owner in (schema, *schema["$defs"].values()):
        for key, own in owner.get("properties", {}).items():
            target = schema["$defs"][own["$ref"].rpartition("/")[2]] if "$ref" in own else own
            assert own.get("description") or target.get("description"), key


def test_find_inventory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no inventory"):
        find_inventory(None, tmp_path, {})
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "a.yml").touch()
    assert find_inventory(None, tmp_path, {}) == tmp_path / "inventory" / "a.yml"
    (tmp_path / "inventory" / "b.yaml").touch()
    with pytest.raises(InputError, match=r"there are 2 inventories: inventory.a.yml, inventory.b.yaml"):
        find_inventory(None, tmp_path, {})
    (tmp_path / "inventory.yml").touch()
    assert find_inventory(None, tmp_path, {}) == tmp_path / "inventory.yml"
    assert find_inventory(None, tmp_path, {"PROVISION_INVENTORY": "env.yml"}) == tmp_path / "env.yml"
    assert find_inventory("arg.yml", tmp_path, {"PROVISION_INVENTORY": "env.yml"}) == tmp_path / "arg.yml"
