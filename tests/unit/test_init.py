"""`provision init` without contact: what it writes loads, whatever the hosts are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioner.cli.main import cli
from provisioner.inventory.drafting import DraftHost, draft
from provisioner.inventory.importing.found import FoundHost
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Inventory

FILES = Path(__file__).with_name("imports")


def made(folder: Path, *hosts: DraftHost) -> Inventory:
    file = folder / "made.yml"
    file.write_text(draft("Lab 1", "3.11.9", "2.60.0", hosts), encoding="utf-8")
    return load_inventory(file)


@pytest.mark.parametrize(
    ("name", "becomes", "address"),
    [
        ("w1", "w1", "w1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001-db8-7", "2001:db8::7"),
        ("workers", "workers-2", "workers"),
        ("3.10", "3.10", None),
        ("true", "true", "true"),
    ],
)
def test_any_name_makes_a_host(tmp_path: Path, name: str, becomes: str, address: str | None) -> None:
    host = FoundHost(name, None if address else "192.0.2.3")
    inventory = made(tmp_path, DraftHost(FoundHost("h1")), DraftHost(host, note="a # note\nrest: [x"))
    (worker,) = inventory.workers
    assert (worker.name, worker.address) == (becomes, address or "192.0.2.3")


def test_what_all_have_in_common_stands_once(tmp_path: Path) -> None:
    hosts = [FoundHost(f"w{n}", user="kim", os="linux", groups=("gpu",) if n == 2 else ()) for n in range(3)]
    inventory = made(tmp_path, *(DraftHost(host, "x86_64") for host in hosts[:2]), DraftHost(hosts[2], "aarch64"))
    text = inventory.file.read_text()
    assert (text.count("kim"), text.count("os: linux"), text.count("arch: ")) == (1, 1, 3)
    assert [host.arch for host in inventory.hosts] == ["x86_64", "x86_64", "aarch64"]
    assert (inventory.cluster, inventory.hosts[2].groups) == ("lab-1", ("gpu",))


@pytest.mark.parametrize(
    ("words", "head", "workers", "said"),
    [
        (["192.0.2.1", "192.0.2.2"], "192.0.2.1", 1, "next: provision check"),
        (["--from-ansible", str(FILES / "k3s-sample.ini")], "192.168.122.156", 2, "3 hosts"),
        (["--from-ansible", str(FILES / "k3s-load-balancer.yml")], "master1", 5, "ansible_ssh_common_args"),
        (["--from-ssh-config", str(FILES / "bastion.ssh_config")], "someinternalhost", 3, "bastion: others"),
        (["--from-ray-up", str(FILES / "ray-up.yaml")], "192.0.2.20", 2, "setup_commands"),
    ],
)
def test_an_inventory_is_written(tmp_path: Path, words: list[str], head: str, workers: int, said: str) -> None:
    file = tmp_path / "new.yml"
    result = CliRunner().invoke(cli, ["init", "--no-probe", "--yes", "-o", str(file), *words])
    assert result.exit_code == 0, result.output + str(result.exception)
    inventory = load_inventory(file)
    assert (inventory.head.name, len(inventory.workers)) == (head, workers)
    assert said in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["new.yml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no machine was named"),
        (["kim@192.0.2.1"], "no inventory"),
        (["a@b", "c@d"], "no inventory: 'a@b' is not an address; the account goes to ssh: {user: ...}; 'c@d' is not"),
        (["--from-ansible", "/no/such/file"], "cannot read"),
        (["192.0.2.1", "-o", __file__], "exists"),
    ],
)
def test_what_can_not_be_written_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    file = tmp_path / "new.yml"
    result = CliRunner().invoke(cli, ["init", "--no-probe", "--yes", "-o", str(file), *words])
    assert result.exit_code == 1
    assert said in str(result.exception)
    assert not list(tmp_path.iterdir())
