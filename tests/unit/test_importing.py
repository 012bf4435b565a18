"""Hosts that other tools know, from real files of theirs: see tests/unit/imports, where each names its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.inventory.document import load_document
from provisioner.inventory.importing.ansible import read_ini, read_yaml
from provisioner.inventory.importing.found import Found, FoundHost
from provisioner.inventory.importing.ray_up import read_ray_up
from provisioner.inventory.importing.ssh_config import read_ssh_config

FILES = Path(__file__).with_name("imports")


def text(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def yaml(content: str, folder: Path) -> Path:
    file = folder / "given.yml"
    file.write_text(content, encoding="utf-8")
    return file


def test_hosts_of_ssh_config_come_by_name_without_doors_services_and_patterns() -> None:
    found = read_ssh_config(text("bastion.ssh_config"))
    assert [host.name for host in found.hosts] == ["someinternalhost", "gpu1", "gpu2", "gpu3"]
    assert all(host == FoundHost(host.name) for host in found.hosts)  # ssh_config goes on to say the rest
    told = "\n".join(found.left)
    for what in ("bastion: others", "github.com: a service", "work-git: a service", "line 23: hosts of the files"):
        assert what in told


def test_ansibles_ini_of_k3s() -> None:
    found = read_ini(text("k3s-sample.ini"))
    assert [(host.name, host.is_head, host.groups) for host in found.hosts] == [
        ("192.168.122.156", True, ("master", "k3s_cluster")),
        ("192.168.122.174", False, ("multiserver", "k3s_cluster")),
        ("192.168.122.120", False, ("multiserver", "k3s_cluster")),
    ]
    assert found.left == ()


def test_ansibles_ini_of_kubespray() -> None:
    found = read_ini(text("kubespray.ini"))
    assert [(host.name, host.address) for host in found.hosts] == [
        ("node1", "95.54.0.12"), ("node2", "95.54.0.13"), ("node3", "95.54.0.14"),
    ]  # fmt: skip
    assert found.hosts[0].groups == ("kube-controlplane", "etcd", "k8s-cluster")
    assert sorted(left.split(":")[0] for left in found.left) == ["etcd_member_name", "ip"]


def test_ansibles_ini_with_hosts_in_several_groups() -> None:
    found = read_ini(text("lamp_haproxy.ini"))
    assert [(host.name, host.groups) for host in found.hosts] == [
        ("web3", ("webservers", "dbservers")), ("web2", ("webservers", "lbservers")),
    ]  # fmt: skip


def test_ansibles_yaml() -> None:
    found = read_yaml(load_document(FILES / "k3s-load-balancer.yml"))
    assert [host.name for host in found.hosts] == ["master1", "master2", "node1", "node2", "lb1", "lb2"]
    assert {host.user for host in found.hosts} == {"pi"}
    assert found.hosts[0].address == "master1.local"
    assert found.hosts[0].groups == ("master", "k3s_cluster")
    assert not any(host.is_head for host in found.hosts)  # there are two masters
    assert any("jump" in left for left in found.left)


INI = [
    ("w[01:03].lab ansible_user=kim", [FoundHost(f"w{number}.lab", user="kim") for number in ("01", "02", "03")]),
    ("jumper:5555 ansible_host=192.0.2.50", [FoundHost("jumper", "192.0.2.50", port=5555)]),
    (
        "w1 ansible_port=2200 ansible_ssh_private_key_file='~/a key'",
        [FoundHost("w1", port=2200, key="~/a key")],
    ),
    ("localhost ansible_connection=local\nw1", [FoundHost("w1")]),
    ("w1 ansible_become=yes", [FoundHost("w1", become=True)]),
    ("pc ansible_connection=winrm ansible_port=5986", [FoundHost("pc", os="windows")]),
    ("w1\n[all:vars]\nansible_user=a\n[g:vars]\nansible_user = b\n[g]\nw1", [FoundHost("w1", user="b", groups=("g",))]),
    ("[g]\nw1 ansible_user=own\n[g:vars]\nansible_user=b", [FoundHost("w1", user="own", groups=("g",))]),
    ("[a:children]\nb\n[b:children]\na\n[b]\nw1", [FoundHost("w1", groups=("b", "a"))]),
    ('w1 ansible_host="{{ something }}"', [FoundHost("w1")]),
    ("2001:db8::1", [FoundHost("2001:db8::1")]),
]


@pytest.mark.parametrize(("ini", "hosts"), INI, ids=[ini.splitlines()[0] for ini, _ in INI])
def test_ansibles_ini_line_by_line(ini: str, hosts: list[FoundHost]) -> None:
    assert list(read_ini(ini).hosts) == hosts


def test_no_secret_of_ansibles_is_told() -> None:
    found = read_ini("w1 ansible_password=hunter2 ansible_become_pass=hunter2 db_password=hunter2")
    assert "hunter2" not in repr(found)
    assert [left.split(":")[0] for left in found.left] == ["ansible_password", "ansible_become_pass", "db_password"]
    assert all("from_env" in left for left in found.left)


def test_ray_ups_machines() -> None:
    found = read_ray_up(load_document(FILES / "ray-local-full.yaml"))
    assert found.cluster == "default"
    head, *workers = found.hosts
    assert head == FoundHost("YOUR_HEAD_NODE_HOSTNAME", user="YOUR_USERNAME", key="~/.ssh/id_rsa", is_head=True)
    assert [host.name for host in workers] == ["WORKER_NODE_1_HOSTNAME", "WORKER_NODE_2_HOSTNAME", "..."]
    names = [left.split("`")[1] for left in found.left]
    assert names == ["setup_commands", "head_start_ray_commands", "worker_start_ray_commands"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cluster_name: c\nprovider: {type: aws, region: us-west-2}\n", "provider 'aws'"),
        ("cluster_name: c\nprovider: {type: local, coordinator_address: '10.0.0.1:1'}\n", "coordinator"),
        ("all: {hosts: {w1: {}}}\n", "no file of `ray up`"),
        ("[1, 2]\n", "no file of `ray up`"),
    ],
)
def test_what_is_no_cluster_of_ones_own_machines_is_refused(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_ray_up(load_document(yaml(content, tmp_path)))


@pytest.mark.parametrize("content", ["[]\n", "a: [1]\nb: {hosts: 3, vars: x, children: [y]}\n", "text\n"])
def test_yaml_that_names_no_host_gives_none(content: str, tmp_path: Path) -> None:
    assert read_yaml(load_document(yaml(content, tmp_path))) == Found()
