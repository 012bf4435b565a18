"""The lab itself: its hosts must behave like machines before anything is proved with them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from . import plumbing
from .command import Provision
from .conftest import MachineFactory
from .golden import golden, lab_home
from .listing import changes
from .machines import Lab, Machine
from .shell import LabError, LabUnavailable, run, wait_until


@pytest.fixture(scope="module")
def host(module_machines: MachineFactory) -> Machine:
    """One host for the tests that leave it as it was."""
    return module_machines(1)[0]


def test_three_hosts_boot_quickly(machines: MachineFactory) -> None:
    started = time.monotonic()
    hosts = machines(3)
    assert time.monotonic() - started < 15
    assert len({machine.boot_id() for machine in hosts}) == 3
    assert len({machine.known_host().split()[2] for machine in hosts}) == 3
    first, second, _ = hosts
    assert first.exec(["hostname"]).stdout.strip() == first.name
    assert first.exec(["ping", "-c1", "-W2", second.ip]).returncode == 0


@pytest.mark.parametrize("user", ["root", "kim", "lee", "park"])
def test_every_user_gets_in(host: Machine, user: str) -> None:
    assert host.ssh("id", "-un", user=user).stdout.strip() == user
    home = "/root" if user == "root" else f"/home/{user}"
    assert host.ssh("pwd", user=user).stdout.strip() == home


def test_sudo_asks_whom_it_should(host: Machine) -> None:
    assert host.ssh("sudo -n id -u", user="kim").stdout.strip() == "0"
    assert "password is required" in host.ssh("sudo -n id -u", user="lee", check=False).stderr
    assert host.ssh("sudo -S -p '' id -u", user="lee", stdin="lee-pw\n").stdout.strip() == "0"
    assert host.ssh("sudo -S -p '' id -u", user="lee", stdin="wrong\n", check=False).returncode != 0
    assert host.ssh("sudo -n id -u", user="park", check=False).returncode != 0


def test_system_is_complete(host: Machine) -> None:
    failed = host.exec(["systemctl", "--failed", "--no-legend"]).stdout
    assert host.exec(["systemctl", "is-system-running"], check=False).stdout.strip() == "running", failed
    assert host.read("/etc/resolv.conf") == ""
    assert host.exec(["python3", "--version"]).stdout.strip() == "Python 3.11.2"


def test_no_way_out(host: Machine) -> None:
    assert host.exec(["ping", "-c1", "-W1", plumbing.GATEWAY]).returncode == 0
    assert host.exec(["ping", "-c1", "-W1", "1.1.1.1"], check=False).returncode != 0


def test_reboot_comes_back_as_a_new_boot(machines: MachineFactory) -> None:
    (machine,) = machines(1)
    before, key = machine.boot_id(), machine.known_host()
    machine.write("/opt/kept", "still here")
    machine.reboot()
    assert machine.boot_id() not in {"", before}
    assert machine.read("/opt/kept") == "still here"
    assert machine.known_host() == key
    assert machine.ssh("true").returncode == 0


def test_power_cut_keeps_the_disk(machines: MachineFactory) -> None:
    (machine,) = machines(1)
    machine.write("/opt/kept", "still here")
    before = machine.boot_id()
    machine.power_cut()
    assert not machine.running
    assert plumbing.members(machine.name) == set()
    with pytest.raises(LabError, match="is off"):
        machine.exec(["true"])
    machine.boot()
    assert machine.boot_id() not in {"", before}
    assert machine.read("/opt/kept") == "still here"
    machine.power_off()
    assert not machine.running


def test_cut_link_and_blocked_port(host: Machine) -> None:
    def reachable(port: int = 22) -> bool:
        try:
            socket.create_connection((host.ip, port), timeout=1).close()
        except OSError as error:
            return isinstance(error, ConnectionRefusedError)
        return True

    host.cut()
    assert not reachable()
    assert host.exec(["true"]).returncode == 0
    host.uncut()
    wait_until(reachable, "the link to be back", 10)
    host.nft("input tcp dport 22 drop")
    assert not reachable()
    assert reachable(9)
    host.nft_reset()
    assert host.ssh("true").returncode == 0


def test_sshd_log_counts_connections_and_commands(host: Machine) -> None:
    before = host.sshd_log()
    host.ssh("true", user="kim")
    after = host.sshd_log().since(before)
    assert (after.connections, after.commands) == (1, 1)
    assert after.accepted == (f"kim@{plumbing.GATEWAY}",)
    host.exec(["true"])
    assert host.sshd_log().since(before) == after


def test_listing_shows_every_trace(host: Machine) -> None:
    before = host.listing()
    host.ssh("true")
    assert changes(before, host.listing()) == []
    host.exec(["touch", "/opt/new", "/dev/shm/new"])
    assert changes(before, host.listing()) == ["+ /dev/shm/new", "+ /opt/new"]
    host.exec(["sh", "-c", "rm /opt/new /dev/shm/new; cp -a /etc/issue /root/x; echo more >> /etc/issue; rm /etc/motd"])
    assert changes(before, host.listing()) == ["+ /etc/issue", "+ /etc/motd", "+ /root/x"]
    host.exec(["sh", "-c", "mv /root/x /etc/issue; touch /etc/motd"])
    (host.folder / "root/etc/motd").write_bytes((host.lab.golden.root / "etc/motd").read_bytes())
    assert changes(before, host.listing()) == []
    host.exec(["sh", "-c", "cp -a /usr/share/doc/bash /root/x; rm -r /usr/share/doc/bash; mkdir /usr/share/doc/bash"])
    assert any(line.startswith("+ /usr/share/doc/bash/") for line in changes(before, host.listing()))
    host.exec(["sh", "-c", "rm -r /usr/share/doc/bash; mv /root/x /usr/share/doc/bash"])
    assert changes(before, host.listing()) == []


def test_memory_is_limited_and_measured(machines: MachineFactory) -> None:
    (machine,) = machines(1, mem="512M")
    memory = machine.memory()
    assert memory.limit == 512 << 20
    assert 0 < memory.use <= memory.peak <= memory.limit
    eater = machine.ssh("python3 -c 'x = bytearray(900 << 20); print(len(x))'", check=False)
    assert eater.returncode != 0
    if plumbing.hierarchies() != [plumbing.CGROUPS]:  # on v2 the limit is one level above what the host sees
        assert machine.read("/sys/fs/cgroup/memory/memory.limit_in_bytes").strip() == str(512 << 20)


def test_user_unit_lingers(machines: MachineFactory) -> None:
    (machine,) = machines(1)
    machine.ssh("sudo -n loginctl enable-linger kim", user="kim")
    manage = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user"
    wait_until(
        lambda: machine.ssh(f"{manage} is-system-running", user="kim", check=False).stdout.strip() == "running",
        "kim's user manager",
        15,
    )
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=default.target\n"
    folder = "~/.config/systemd/user"
    machine.ssh(f"mkdir -p {folder} && cat > {folder}/nap.service", user="kim", stdin=unit)
    machine.ssh(f"{manage} daemon-reload && {manage} enable -q --now nap", user="kim")

    def naps() -> bool:
        return any(process.user == "kim" and "sleep infinity" in process.command for process in machine.processes())

    assert naps()
    assert "/var/lib/systemd/linger/kim" in machine.listing()
    machine.reboot()
    wait_until(naps, "kim's unit to start without a login", 15)


def test_ten_hosts_at_once(machines: MachineFactory) -> None:
    hosts = machines(10)
    assert [machine.ip for machine in hosts] == sorted({machine.ip for machine in hosts}, key=_last_number)
    assert all(machine.memory().use < 200 << 20 for machine in hosts)
    assert all(machine.ssh("hostname").stdout.strip() == machine.name for machine in hosts)


def test_nothing_is_left_after_down(lab: Lab) -> None:
    (machine,) = lab.new(1)
    lab.up([machine])
    processes = plumbing.members(machine.name)
    assert processes
    lab.down([machine])
    assert machine.name not in plumbing.names_in_use(lab.hosts)
    assert str(machine.folder) not in Path("/proc/self/mountinfo").read_text()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), "the last zombie to go", 5)


def test_without_root_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabUnavailable, match=r"^lab hosts need [^\n]+$"):
        Lab.prepare()


def test_golden_root_is_built_once(lab: Lab) -> None:
    started = time.monotonic()
    assert golden(lab_home()) == lab.golden
    assert time.monotonic() - started < 1


def test_inventory_is_written(tmp_path: Path, host: Machine, write_inventory: Callable[..., Path]) -> None:
    path = write_inventory(tmp_path / "room.yml", "lab", [host], ssh={"user": "kim"}, workers=None, name="x")
    content = yaml.safe_load(path.read_text())
    assert content["head"] == {host.name: {"address": host.ip}}
    assert content["ssh"]["user"] == "kim"
    assert "workers" not in content
    known = content["ssh"]["known_hosts"]
    client = ["ssh", "-F", "none", "-i", content["ssh"]["key"], "-oBatchMode=yes", f"-oUserKnownHostsFile={known}"]
    assert run([*client, f"kim@{host.ip}", "true"]).returncode == 0


def test_command_is_run_and_measured(provision: Provision) -> None:
    result = provision("--no-such-option", timeout=60)
    assert result.code != 0
    assert result.err
    assert 0 < result.cpu < 60
    assert result.seconds > 0


def _last_number(address: str) -> int:
    return int(address.rsplit(".", 1)[1])
