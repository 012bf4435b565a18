"""Ray's token where a node is on Windows: only administrators, SYSTEM and Ray's account may read it, and nodes join."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from provisioner.transport import program

from ..lab.cluster import Answer, Cluster, contacts
from ..lab.command import Provision
from ..lab.fixtures import MachineFactory
from .fixtures import StandInFactory
from .test_cluster import declare
from .test_platform import PROGRAM, ask

COPY = r"C:\provision\lab\service\token"
LIST = "from provisioner.remote.platforms.windows import descriptors\ntell(descriptors.read({path!r}))"
OPENED = (
    "from provisioner.remote.platforms.windows import descriptors\ntell(descriptors.write({path!r}, 'D:(A;;FA;;;WD)'))"
)
OURS = "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"


def test_a_windows_node_has_the_token_and_keeps_it_to_itself(
    machines: MachineFactory, stand_ins: StandInFactory, provision: Provision, tmp_path: Path
) -> None:
    (head,), (worker,) = machines(1), stand_ins(1)
    probe = worker.path(str(PureWindowsPath(PROGRAM).parent))
    probe.mkdir()
    (probe / "program.zip").write_bytes(program.archive())
    cluster = Cluster(provision, tmp_path / "lab.yml", [head, worker])
    declare(cluster)
    done = cluster.apply()
    assert {name: proof["os"] for name, proof in done.proven().items()} == {"h1": "Linux", "w1": "Windows"}
    token, copy = head.read("/opt/provision/lab/secrets/token"), worker.drive / "provision/lab/service/token"
    assert copy.read_text() == token
    assert not (worker.drive / "provision/lab/secrets").exists()
    written = [path for path in (worker.drive / "provision/lab").glob("*/*") if path.is_file()]
    assert [path.name for path in written if token.encode() in path.read_bytes()] == ["token"]
    assert token not in done.result.out + done.result.err
    answers: list[Answer] = []
    seen = contacts(cluster.machines, lambda: answers.append(cluster.apply()))
    assert (answers[0].changed(), answers[0].differences()) == ([], [])
    assert seen == {"h1": (1, 1), "w1": (1, 1)}
    owner, rights = ask(worker, LIST.format(path=COPY))
    assert owner == "S-1-5-32-544" and rights.startswith(f"{OURS}(A;;0x1200a9;;;S-1-5-21-"), rights
    ask(worker, OPENED.format(path=COPY))
    ((host, _, what, _, _),) = cluster.check(code=2).differences()
    assert (host, what) == ("w1", f"who may use {COPY}")
    cluster.apply()
    assert ask(worker, LIST.format(path=COPY)) == [owner, rights]
    cluster.teardown()
    assert not copy.exists()
