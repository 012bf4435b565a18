"""Runs one small task on every given node, by node affinity, and prints what each says.

Started with the cluster's own Python: prove.py GCS_ADDRESS {"host name": "node id", ...}
"""

from __future__ import annotations

import json
import sys
import time

RESULT = "provision-proof: "
TASK_LIMIT = 60.0


def where() -> dict[str, str]:
    """The task: tells where it runs."""
    import platform
    import socket

    import ray

    return {
        "hostname": socket.gethostname(),
        "os": platform.system(),
        "ray": ray.__version__,
        "python": platform.python_version(),
    }


def main(gcs: str, nodes: dict[str, str]) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(address=gcs, log_to_driver=False, logging_level="ERROR", namespace="provision")
    begun = time.monotonic()
    task = ray.remote(num_cpus=0, max_retries=1)(where)
    futures = {
        name: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for name, node in nodes.items()
    }
    proofs = {}
    for name, future in futures.items():
        try:
            told = ray.get(future, timeout=max(1.0, TASK_LIMIT - (time.monotonic() - begun)))
            proofs[name] = dict(told, seconds=round(time.monotonic() - begun, 2))
        except Exception as error:
            proofs[name] = {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
    print(RESULT + json.dumps(proofs), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
