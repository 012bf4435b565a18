"""What somebody who knows Ray, uv and SSH well would write for exactly three machines, and nothing but them.

``by_hand.py KEY KNOWN_HOSTS BUNDLE ADDRESS ADDRESS...`` (the head first). BUNDLE is a folder with uv, the wheels, their
requirements.txt and the proof. Everything that can go on side by side does: each host gets the bundle in one stream and
installs from it; the head is started as soon as it has its own environment, the workers as soon as the head answers and
they have theirs. No host is asked twice; nothing is looked at, checked, remembered or undone.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from .rooms import SMALL

HOME = "/opt/by-hand"
INSTALL = f"""\
set -e
mkdir -p {HOME} && cd {HOME} && tar -xf -
./uv venv -q --offline --python /usr/bin/python3 env
./uv pip install -q --offline --no-index --find-links . --no-deps --python env/bin/python -r requirements.txt
"""
START = f"""\
set -e
cat > /etc/systemd/system/ray.service <<END
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Environment=RAY_USAGE_STATS_ENABLED=0 PATH={HOME}/env/bin:/usr/bin:/bin
ExecStart={HOME}/env/bin/ray start --block --node-ip-address=%(address)s %(role)s %(size)s
Restart=always
SuccessExitStatus=1
TimeoutStopSec=45
LimitNOFILE=65536
[Install]
WantedBy=multi-user.target
END
systemctl enable -q --now ray
"""
WAIT = f"""
cat > {HOME}/wait.py <<'END'
import json, sys, time, urllib.request
while True:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8265/api/v0/nodes?limit=1000", timeout=5) as answer:
            nodes = json.load(answer)["data"]["result"]["result"]
        alive = {{node["node_ip"]: node["node_id"] for node in nodes if node["state"] == "ALIVE"}}
        if len(alive) >= int(sys.argv[1]):
            print(json.dumps(alive))
            break
    except (OSError, ValueError, KeyError):
        pass
    time.sleep(0.1)
END
python3 {HOME}/wait.py 1
"""
PROVE = f"""
nodes=$(python3 {HOME}/wait.py %(count)d)
RAY_USAGE_STATS_ENABLED=0 {HOME}/env/bin/python {HOME}/prove.py %(gcs)s "$nodes"
"""


class Hands:
    """Runs scripts on hosts through OpenSSH."""

    def __init__(self, key: str, known_hosts: str) -> None:
        settings = ["BatchMode=yes", f"UserKnownHostsFile={known_hosts}", "Ciphers=aes128-gcm@openssh.com"]
        self._ssh = ["ssh", "-F", "none", "-i", key, *(f"-o{setting}" for setting in settings)]

    def run(self, address: str, script: str) -> str:
        """Run a script on a host and return what it prints."""
        argv = [*self._ssh, f"root@{address}", "sh"]
        return subprocess.run(argv, input=script, check=True, stdout=subprocess.PIPE, text=True).stdout

    def install(self, address: str, bundle: Path) -> None:
        """Send everything and install it while the other hosts do the same."""
        with subprocess.Popen(["tar", "-C", bundle, "-chf", "-", "."], stdout=subprocess.PIPE) as tar:
            quoted = INSTALL.replace("'", "'\\''")
            subprocess.run([*self._ssh, f"root@{address}", f"sh -c '{quoted}'"], check=True, stdin=tar.stdout)


def main(key: str, known_hosts: str, bundle: str, *addresses: str) -> None:
    """Make a cluster of bare machines and run a task on every node."""
    hands = Hands(key, known_hosts)
    head, *workers = addresses
    gcs = f"{head}:6379"
    with ThreadPoolExecutor() as pool:
        installed = {address: pool.submit(hands.install, address, Path(bundle)) for address in addresses}
        installed[head].result()
        hands.run(head, _start(head, "--head --port=6379") + WAIT)
        started = [pool.submit(_join, hands, worker, installed[worker], gcs) for worker in workers]
        proof = pool.submit(hands.run, head, PROVE % {"count": len(addresses), "gcs": gcs})
        for future in started:
            future.result()
        told = proof.result()
    print(told)
    if told.count('"hostname"') != len(addresses):
        sys.exit("a task did not run on every node")


def _join(hands: Hands, worker: str, installed: Future[None], gcs: str) -> None:
    installed.result()
    hands.run(worker, _start(worker, f"--address={gcs}"))


def _start(address: str, role: str) -> str:
    size = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items())
    return START % {"address": address, "role": role, "size": size}


if __name__ == "__main__":
    main(*sys.argv[1:])
