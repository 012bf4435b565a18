"""Runs one small task on every given node, by node affinity, and prints what each says.

Started with the cluster's own Python, as the account that Ray runs as: prove.py GCS_ADDRESS {"host name": "node id"}

Whoever runs code on a node says what a task there returns, and Ray unpickles that, which may run anything. So a task
returns nothing: what it says is put beside, as text, into the cluster's key-value store (ray.experimental.internal_kv).
"""

from __future__ import annotations

import json
import os
import sys
import time

RESULT = "provision-proof: "
TASK_LIMIT = 60.0
KEPT = "provision-proof"
"""The namespace of what the tasks say."""
MARK = b"proof-"
"""Begins the keys."""
LONGEST = 4096
"""Bytes of it."""


def where(key: bytes, namespace: str) -> None:
    """The task: tells where it runs."""
    import json
    import platform
    import socket

    import ray
    from ray.experimental import internal_kv

    told = {
        "hostname": socket.gethostname(),
        "os": platform.system(),
        "ray": ray.__version__,
        "python": platform.python_version(),
    }
    internal_kv._internal_kv_put(key, json.dumps(told).encode(), namespace=namespace)


def main(gcs: str, nodes: dict[str, str]) -> None:
    import ray
    from ray.experimental import internal_kv
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(address=gcs, log_to_driver=False, logging_level="ERROR", namespace="provision")
    begun = time.monotonic()
    task = ray.remote(num_cpus=0, max_retries=1)(where)
    internal_kv._internal_kv_del(MARK, del_by_prefix=True, namespace=KEPT)  # of proofs that were cut off
    keys = {name: MARK + os.urandom(16).hex().encode() for name in nodes}
    futures = {
        name: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            keys[name], KEPT
        )
        for name, node in nodes.items()
    }
    proofs = {}
    for name, future in futures.items():
        done, _ = ray.wait([future], timeout=max(1.0, TASK_LIMIT - (time.monotonic() - begun)), fetch_local=False)
        told = internal_kv._internal_kv_get(keys[name], namespace=KEPT)
        if told:
            internal_kv._internal_kv_del(keys[name], namespace=KEPT)
            proofs[name] = dict(said(told), seconds=round(time.monotonic() - begun, 2))
        else:
            proofs[name] = {"error": why_not(future) if done else "it did not end within %d s" % TASK_LIMIT}
    print(RESULT + json.dumps(proofs), flush=True)


def said(told: bytes) -> dict[str, str]:
    """Return what a task said, whoever wrote it, as far as it is what a task says."""
    try:
        found = json.loads(told) if len(told) <= LONGEST else None
    except (ValueError, RecursionError):
        found = None
    names = ("hostname", "os", "ray", "python")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        return {"error": "what the task said is no answer"}
    return {name: found[name] for name in names}


def why_not(future: object) -> str:
    """Return why a task has not run. Ray pickles that as well: where this program could not be given to Ray's account,
    it is not looked at."""
    import ray

    if os.name == "nt":
        return "it did not run there: Ray's logs on that node say why"
    try:
        ray.get(future, timeout=5.0)
    except Exception as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "it ran, and left no answer"


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
