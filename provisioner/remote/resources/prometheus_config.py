"""What the cluster's own Prometheus is started with: whom it asks, where it listens, where it keeps what it hears.

Whom it asks follows from the inventory, not from the file that Ray writes on the head
(``prom_metrics_service_discovery.json``): that one leaves out a node that is dead, whose silence is what one wants to
see, and is on no other host.
"""

from __future__ import annotations

import json

from provisioner.remote import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host

FOLDER = "prometheus"
LONGEST = 16 * 1024 * 1024
"""Bytes of a configuration at most."""
INTERVAL = "10s"
"""As in the configuration that Ray itself proposes (ray/dashboard/modules/metrics/templates.py)."""


def path(host: Host) -> str:
    return host.path(FOLDER, "prometheus.yml")


def data(host: Host) -> str:
    """Return the folder of what it has collected; a teardown leaves it."""
    return host.path(FOLDER, "data")


def text(targets: Dict[str, List[str]]) -> str:
    """Return the configuration file, in JSON, which is YAML as well.

    Args:
        targets: by name of a host, ADDRESS:PORT of everything that tells metrics there.
    """
    asked = [{"targets": each, "labels": {"host": name}} for name, each in sorted(targets.items())]
    settings: Dict[str, Any] = {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "scrape_configs": [{"job_name": "ray", "static_configs": asked}],
    }
    return "# Made by provision, which writes it anew.\n%s\n" % json.dumps(settings, indent=1, sort_keys=True)


def read(host: Host) -> str:
    """Return the configuration that is there, empty if there is none."""
    return (files.content(path(host), LONGEST) or b"").decode("utf-8", "replace")


def argv(host: Host, program: str, address: str) -> List[str]:
    """Return the command that starts it; ``address``: ADDRESS:PORT on which it listens."""
    return [
        program,
        "--config.file=" + path(host),
        "--storage.tsdb.path=" + data(host),
        "--web.listen-address=" + address,
    ]
