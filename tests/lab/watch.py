"""Watches a cluster from its head while something is done to it: who was in it, and for how long not all were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .machines import Machine
from .shell import wait_until

SAMPLES = "/run/watch.jsonl"
UNIT = "watch"
SCRIPT = """\
import glob, json, time, urllib.request

def ask():
    tokens = [open(path).read() for path in glob.glob("/opt/provision/*/service/token")]
    headers = {"Authorization": "Bearer " + tokens[0]} if tokens else {}
    return urllib.request.urlopen(urllib.request.Request(URL, headers=headers), timeout=3)

URL = "http://127.0.0.1:8265/api/v0/nodes?limit=1000&detail=true"
with open("%s", "w", buffering=1) as out:
    while True:
        begun, alive = time.monotonic(), None
        try:
            with ask() as answer:
                rows = json.load(answer)["data"]["result"]["result"]
            labels = (row["labels"] for row in rows if row["state"] == "ALIVE")
            alive = sorted([each["provision/host"], each["provision/config"]] for each in labels)
        except (OSError, ValueError, KeyError):
            pass
        out.write(json.dumps([begun, alive]) + "\\n")
        time.sleep(0.1)
"""

Nodes = frozenset[tuple[str, str]]


@dataclass
class Watch:
    """Samples of the head's node list: seconds of the machine's clock, and (host, configuration) of living nodes."""

    samples: list[tuple[float, Nodes | None]] = field(default_factory=list)

    @property
    def before(self) -> Nodes:
        """Who was there at first."""
        return next(nodes for _, nodes in self.samples if nodes)

    @property
    def after(self) -> Nodes:
        """Who was there at last."""
        return next(nodes for _, nodes in reversed(self.samples) if nodes)

    def incomplete(self) -> float:
        """Return the seconds from the last moment with all old nodes to the first with all new ones for good."""
        return self._gap(lambda nodes: nodes in (self.before, self.after))

    def headless(self) -> float:
        """Return the seconds for which no head answered with its own node in the list."""
        heads = {node for node in self.before | self.after if node[0] == "h1"}
        return self._gap(lambda nodes: not heads.isdisjoint(nodes))

    def _gap(self, good: Callable[[Nodes], bool]) -> float:
        bad = [index for index, (_, nodes) in enumerate(self.samples) if nodes is None or not good(nodes)]
        return self.samples[bad[-1] + 1][0] - self.samples[bad[0] - 1][0] if bad else 0.0


@contextmanager
def watching(head: Machine) -> Iterator[Watch]:
    """Watch while the block runs; the samples are there when it has ended."""
    watch = Watch()
    head.write("/run/watch.py", SCRIPT % SAMPLES)
    head.exec(["rm", "-f", SAMPLES])
    head.exec(["systemd-run", f"--unit={UNIT}", "--collect", "python3", "/run/watch.py"])
    try:
        wait_until(lambda: _seen(head), "the cluster to be seen", 30)
        yield watch
        wait_until(lambda: _seen(head), "the cluster to be seen", 30)
    finally:
        head.exec(["systemctl", "stop", UNIT])
    for line in head.read(SAMPLES).splitlines():
        at, nodes = json.loads(line)
        watch.samples.append((at, None if nodes is None else frozenset((host, config) for host, config in nodes)))


def _seen(head: Machine) -> bool:
    lines = head.exec(["cat", SAMPLES], check=False).stdout.splitlines()
    return bool(lines) and lines[-1].endswith("]]]")
