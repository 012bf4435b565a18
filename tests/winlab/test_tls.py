"""gRPC TLS where a node is on Windows: it has a certificate of its own; the Linux head believes it, and it the head."""

from __future__ import annotations

from pathlib import Path

from ..lab.cluster import Answer, Cluster, contacts
from ..lab.command import Provision
from ..lab.fixtures import MachineFactory
from ..lab.test_tls import openssl, refused, speaks_plainly
from .fixtures import StandInFactory
from .test_cluster import declare

NODE_MANAGER = 6380


def test_a_windows_node_has_tls(
    machines: MachineFactory, stand_ins: StandInFactory, provision: Provision, tmp_path: Path
) -> None:
    (head,), (worker,) = machines(1), stand_ins(1, python=False)
    cluster = Cluster(provision, tmp_path / "lab.yml", [head, worker])
    declare(cluster, all={"ray": {"tls": True}})
    done = cluster.apply("--yes")
    assert {name: proof["os"] for name, proof in done.proven().items()} == {"h1": "Linux", "w1": "Windows"}
    for name, suffix in (("certificate", "crt"), ("key", "key")):
        (found,) = (worker.drive / "provision/lab/service").glob(f"tls-*.{name}.pem")
        (tmp_path / f"w1.{suffix}").write_text(found.read_text())
    shown = openssl(cluster, tmp_path, worker, NODE_MANAGER, mine="w1")
    assert "Verify return code: 0 (ok)" in shown, shown
    assert not refused(shown), shown
    assert refused(openssl(cluster, tmp_path, worker, NODE_MANAGER))
    assert not speaks_plainly(worker, NODE_MANAGER)
    assert not (worker.drive / "provision/lab/secrets/authority").exists()
    answers: list[Answer] = []
    seen = contacts(cluster.machines, lambda: answers.append(cluster.apply()))
    assert (answers[0].changed(), answers[0].differences()) == ([], [])
    assert seen == {"h1": (1, 1), "w1": (1, 1)}
    cluster.teardown()
    assert not [path for path in (worker.drive / "provision/lab").rglob("*") if path.name.startswith("tls-")]
    assert not (worker.drive / "provision/lab/secrets").exists()
