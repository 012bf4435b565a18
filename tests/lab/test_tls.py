"""gRPC TLS with the cluster's own authority: switched on and off while Ray runs, strangers refused, nothing shown."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from provisioner.ray import certificates

from .cluster import Answer, Cluster, contacts, ray_pids, undisturbed
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

GCS = 6379
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""What an HTTP/2 client says first, with empty settings (RFC 9113, 3.4)."""
SETTINGS = 4
"""Type of the frame that a server answers with."""
ON, OFF = {"tls": True}, {"tls": False}


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three hosts with a cluster without TLS, whose certificates' names are known."""
    made = Cluster(provision, tmp_path_factory.mktemp("tls") / "lab.yml", module_machines(3))
    made.declare()
    made.apply()
    return made


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Everything that any run has written."""
    return []


@pytest.fixture(scope="module")
def with_tls(cluster: Cluster, said: list[str]) -> Iterator[Answer]:
    """What apply says when TLS is switched on."""
    assert speaks_plainly(cluster.head)
    cluster.declare(ray=ON)
    yield told(said, cluster.apply("--yes"))


def told(said: list[str], answer: Answer) -> Answer:
    said.append(answer.result.out + answer.result.err)
    return answer


def speaks_plainly(machine: Machine, port: int = GCS) -> bool:
    """Tell whether somebody without TLS gets an answer from a gRPC port."""
    with socket.create_connection((machine.ip, port), 5) as connection:
        connection.settimeout(5)
        connection.sendall(PREFACE)
        try:
            answer = connection.recv(64)
        except OSError:
            return False
    return len(answer) > 9 and answer[3] == SETTINGS


def files(machine: Machine, cluster: Cluster) -> dict[str, str]:
    """Return what concerns TLS on a machine, with mode and owner."""
    found = machine.exec(
        ["find", cluster.root, "(", "-name", "tls-*", "-o", "-path", "*/secrets*", ")", "-printf", "%P %m %u\n"]
    ).stdout
    return dict(line.split(" ", 1) for line in found.splitlines())


def part(machine: Machine, cluster: Cluster, name: str) -> str:
    """Return the path of a part of a machine's certificate."""
    (path,) = (path for path in files(machine, cluster) if path.endswith(f".{name}.pem"))
    return f"{cluster.root}/{path}"


def openssl(cluster: Cluster, folder: Path, machine: Machine, port: int = GCS, mine: str = "") -> str:
    """Return what OpenSSL's client says of a port, with the certificate in those files of ours, if any."""
    authority = folder / "authority.pem"
    authority.write_text(cluster.head.read(part(cluster.head, cluster, "authority")))
    own = ["-cert", f"{folder}/{mine}.crt", "-key", f"{folder}/{mine}.key"] if mine else []
    argv = ["openssl", "s_client", "-connect", f"{machine.ip}:{port}", "-CAfile", str(authority), *own]
    argv += ["-verify_return_error", "-verify_ip", machine.ip, "-alpn", "h2"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        time.sleep(1.5)  # with TLS 1.3 the server judges the client's certificate after the client is done
        out, _ = client.communicate(b"", timeout=10)
    return out.decode(errors="replace")


def refused(shown: str) -> bool:
    """Tell whether the server ended the connection by itself: Ray's does so without saying why."""
    return "alert" in shown or "unexpected eof" in shown


def borrow(cluster: Cluster, folder: Path) -> None:
    """Copy a worker's certificate to us, as files h2.crt and h2.key."""
    h2 = cluster.machines[1]
    for name, suffix in (("certificate", "crt"), ("key", "key")):
        (folder / f"h2.{suffix}").write_text(h2.read(part(h2, cluster, name)))


def test_switched_on_head_first_in_one_apply(cluster: Cluster, with_tls: Answer) -> None:
    differences = with_tls.differences()
    authority = ("h1", "add", "the cluster's own certificate authority", "", "made and kept on this host")
    assert authority in differences
    for machine in cluster.machines:
        (names,) = (row[4] for row in differences if row[:3] == (machine.name, "add", "certificate"))
        assert {machine.ip, machine.name, "127.0.0.1", "localhost"} <= set(names.removeprefix("for ").split(", "))
        assert (machine.name, "add", "ray env RAY_USE_TLS", "", "1") in differences
    assert sorted(with_tls.proven()) == ["h1", "h2", "h3"]
    began = {node["labels"]["provision/host"]: node["start_time_ms"] for node in cluster.nodes()}
    assert sorted(began) == ["h1", "h2", "h3"]
    assert began["h1"] == min(began.values())


@pytest.mark.usefixtures("with_tls")
def test_a_second_run_finds_nothing_and_costs_one_command(cluster: Cluster, said: list[str]) -> None:
    before = undisturbed(cluster.machines)
    seen = contacts(cluster.machines, lambda: told(said, cluster.apply()))
    assert seen == dict.fromkeys(("h1", "h2", "h3"), (1, 1))
    assert told(said, cluster.check()).differences() == []
    assert undisturbed(cluster.machines) == before


@pytest.mark.usefixtures("with_tls")
def test_the_authority_lies_on_the_head_alone_and_all_is_private(cluster: Cluster) -> None:
    for machine in cluster.machines:
        found = files(machine, cluster)
        assert ("secrets/authority" in found) == (machine is cluster.head)
        assert sorted(name.split(".")[1] for name in found if name.endswith(".pem")) == [
            "authority", "certificate", "key",
        ]  # fmt: skip
        assert {mode for name, mode in found.items() if name != "secrets"} == {"600 root"}
        assert found["secrets"] == "700 root"


@pytest.mark.usefixtures("with_tls")
def test_openssl_believes_every_node(cluster: Cluster, tmp_path: Path) -> None:
    borrow(cluster, tmp_path)
    for machine in cluster.machines:
        for port in (GCS, 6380, 6381) if machine is cluster.head else (6380, 6381):
            shown = openssl(cluster, tmp_path, machine, port, mine="h2")
            assert "Verify return code: 0 (ok)" in shown, shown
            assert f"CN = ray node {machine.name}" in shown
            assert not refused(shown), shown


@pytest.mark.usefixtures("with_tls")
def test_nobody_gets_in_without_a_certificate(cluster: Cluster, tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    stranger = certificates.issue(certificates.make_authority("lab", now), "h2", [cluster.machines[1].ip], now)
    (tmp_path / "stranger.crt").write_text(stranger.pair.certificate)
    (tmp_path / "stranger.key").write_text(stranger.pair.key)
    for mine in ("", "stranger"):
        shown = openssl(cluster, tmp_path, cluster.head, mine=mine)
        assert refused(shown), shown
    for machine in cluster.machines:
        for port in (GCS, 6380) if machine is cluster.head else (6380,):
            assert not speaks_plainly(machine, port)


@pytest.mark.usefixtures("with_tls")
def test_what_others_run_has_tls_too(cluster: Cluster) -> None:
    """A job gets the node's variables; a driver on a node that has none of them finds no cluster."""
    python = cluster.head.exec(["sh", "-c", f"ls -d {cluster.root}/env/*/bin/python"]).stdout.split()[0]
    ray = str(Path(python).with_name("ray"))
    script = "import ray; ray.init(); print('nodes', len([n for n in ray.nodes() if n['Alive']]))"
    token = ["env", "RAY_AUTH_MODE=token", f"RAY_AUTH_TOKEN_PATH={cluster.root}/service/token"]
    job = [*token, ray, "job", "submit", "--address", "http://127.0.0.1:8265", "--", "python", "-c", script]
    assert "nodes 3" in cluster.head.exec(job, timeout=120).stdout


@pytest.mark.usefixtures("with_tls")
@pytest.mark.parametrize("how", ["another authority", "no certificate"])
def test_a_node_without_a_certificate_of_the_cluster_is_refused(cluster: Cluster, said: list[str], how: str) -> None:
    h3 = cluster.machines[2]
    if how == "no certificate":
        h3.exec(["rm", part(h3, cluster, "key")])
    else:
        now = datetime.now(timezone.utc)
        other = certificates.make_authority("lab", now)
        issued = certificates.issue(other, "h3", [h3.ip, "127.0.0.1", "localhost"], now)
        for name, text in (
            ("authority", other.certificate), ("certificate", issued.pair.certificate), ("key", issued.pair.key),
        ):  # fmt: skip
            h3.write(part(h3, cluster, name), text, 0o600)
    h3.exec(["systemctl", "restart", "ray-lab"], timeout=90)
    cluster.wait_alive("h1", "h2")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert cluster.alive() == ["h1", "h2"]
        time.sleep(1)
    (found,) = (row for row in told(said, cluster.check(code=2)).differences() if row[2] == "certificate")
    assert found[0] == "h3"
    assert ("is missing" if how == "no certificate" else "was edited") in found[3]
    before = undisturbed(cluster.machines[:2])
    mended = told(said, cluster.apply("--yes"))
    assert sorted(mended.proven()) == ["h1", "h2", "h3"]
    assert undisturbed(cluster.machines[:2]) == before


@pytest.mark.usefixtures("with_tls")
def test_renewed_in_time_for_one_node_after_asking(cluster: Cluster, said: list[str]) -> None:
    h2 = cluster.machines[1]
    path = f"{cluster.root}/secrets/certificate"
    note = json.loads(h2.read(path))
    ends = int(time.time()) + 86400
    h2.write(path, json.dumps({**note, "since": ends - 365 * 86400, "until": ends}), 0o600)
    day = time.strftime("%Y-%m-%d", time.gmtime(ends))
    wanted = told(said, cluster.check(code=2)).differences()
    assert ("h2", "change", "certificate", f"until {day}", "renewed") in wanted
    assert {row[0] for row in wanted} == {"h2"}
    refused = told(said, cluster.apply(code=1))
    assert "Ray on h2" in refused.said("h2")
    others = [cluster.machines[0], cluster.machines[2]]
    before, former = undisturbed(others), set(ray_pids(h2))
    done = told(said, cluster.apply("--yes"))
    assert sorted(done.proven()) == ["h1", "h2", "h3"]
    assert undisturbed(others) == before
    assert not former & set(ray_pids(h2))
    assert len([name for name in files(h2, cluster) if name.endswith("key.pem")]) == 1
    assert told(said, cluster.check()).differences() == []


@pytest.mark.usefixtures("with_tls")
def test_no_key_is_shown_anywhere(cluster: Cluster, said: list[str]) -> None:
    keys = [json.loads(cluster.head.read(f"{cluster.root}/secrets/authority"))["key"]]
    keys += [machine.read(part(machine, cluster, "key")) for machine in cluster.machines]
    lines = [line for key in keys for line in key.splitlines() if "PRIVATE" not in line]
    assert len(lines) >= 12
    state = Path.home() / ".local/state/provision"
    logs = [path.read_text() for path in state.rglob("*.jsonl")] if state.is_dir() else []
    assert said and all(said)
    for line in lines:
        assert not any(line in text for text in (*said, *logs))
    for machine in cluster.machines:
        shown = machine.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"])
        unit = machine.exec(["systemctl", "cat", "ray-lab"]).stdout
        ray_log = machine.exec(["sh", "-c", f"cat {cluster.root}/log/* {cluster.root}/service/*.json"]).stdout
        for line in lines:
            assert line not in shown.stdout + unit + ray_log
        if machine is not cluster.head:
            found = machine.exec(["grep", "-rlF", keys[0].splitlines()[1], cluster.root], check=False, timeout=120)
            assert found.stdout == ""


@pytest.mark.usefixtures("with_tls")
def test_switched_off_again_leaves_nothing(cluster: Cluster, said: list[str]) -> None:
    cluster.declare(ray=OFF)
    wanted = told(said, cluster.check(code=2)).differences()
    for machine in cluster.machines:
        assert (machine.name, "remove", "ray env RAY_USE_TLS", "1", "") in wanted
        assert any(row[:3] == (machine.name, "remove", "certificate") for row in wanted)
    done = told(said, cluster.apply("--yes"))
    assert sorted(done.proven()) == ["h1", "h2", "h3"]
    for machine in cluster.machines:
        assert set(files(machine, cluster)) <= {"secrets", "secrets/token"}
    wait_until(lambda: speaks_plainly(cluster.head), "the head to speak plainly", 10)
    assert told(said, cluster.check()).differences() == []
