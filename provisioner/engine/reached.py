"""How a host is reached, in the words of transport."""

from __future__ import annotations

from provisioner.inventory.model import Host, Secret
from provisioner.transport.starter import Become
from provisioner.transport.target import Target


def reached(host: Host) -> tuple[Target, Become | None]:
    """Return how a host is reached, secrets in clear."""
    ssh = host.ssh
    target = Target(
        name=host.name, address=host.address, user=ssh.user, port=ssh.port, key=ssh.key,
        passphrase=_revealed(ssh.passphrase), password=_revealed(ssh.password), jump=ssh.jump,
        known_hosts=ssh.known_hosts, config=ssh.config,
    )  # fmt: skip
    return target, Become(_revealed(host.become_password)) if host.become else None


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None
