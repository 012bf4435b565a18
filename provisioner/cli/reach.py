"""``provision dashboard`` and ``provision connect``: the head's ports, on this machine."""

from __future__ import annotations

import signal
import sys
import threading
import webbrowser
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli import flags
from provisioner.errors import HostFailed, InputError

if TYPE_CHECKING:
    from provisioner.cli.asking import Asking
    from provisioner.engine.tunnels import Tunnels
    from provisioner.transport.forward import Forward, Open, Serve


@click.command(short_help="Open Ray's dashboard in the browser.")
@flags.inventory_argument
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of this machine.  [default: any that is free]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@flags.connect_timeout
@flags.accept_new_host_keys
def dashboard(port: int, no_browser: bool, **given: Any) -> None:
    """Open Ray's dashboard in the browser, through SSH, until Ctrl-C.

    It listens on this machine's loopback and lets in the browser that comes by the printed address, which works once.
    The cluster's token stays out of the browser.
    """
    from provisioner.cli.asking import asking
    from provisioner.engine import inquiry
    from provisioner.engine.token import fetch
    from provisioner.engine.tunnels import Tunnels
    from provisioner.ray import auth
    from provisioner.transport.door import Door

    with asking(given) as ours, Tunnels(ours.connector, ours.inventory) as tunnels:
        address, far_port = inquiry.dashboard(ours.inventory)
        token = fetch(ours.inventory, ours.connector) if auth.chosen(ours.inventory) == "token" else ""
        _probe(tunnels, ours, address, far_port)
        door = Door(lambda: token, f"{address}:{far_port}")
        forward = _listen(partial(tunnels.open, address, far_port), port, door.serve)
        door.port = forward.port
        click.echo(f"Ray's dashboard of {ours.inventory.cluster}: {door.invitation()}")
        click.echo("It works once, for one browser. Ctrl-C ends it.")
        if not no_browser and _has_browser():
            webbrowser.open(door.invitation())
        _until_the_end(forward)


@click.command(short_help="Let scripts on this machine use the cluster.")
@flags.inventory_argument
@click.option("--port", type=click.IntRange(0, 65535), default=0,
              help="Of this machine, for Ray Client.  [default: any that is free]")  # fmt: skip
@click.option("--jobs-port", type=click.IntRange(0, 65535), default=0,
              help="Of this machine, for jobs.  [default: any that is free]")  # fmt: skip
@flags.connect_timeout
@flags.accept_new_host_keys
def connect(port: int, jobs_port: int, **given: Any) -> None:
    """Let scripts on this machine use the cluster, through SSH, until Ctrl-C; prints what they need.

    A script needs the same Python (major and minor) and Ray as the cluster has.
    """
    from provisioner.cli.asking import asking
    from provisioner.engine import inquiry
    from provisioner.engine.tunnels import Tunnels
    from provisioner.ray import start
    from provisioner.ray.ports import CLIENT_PORT

    with asking(given) as ours, Tunnels(ours.connector, ours.inventory) as tunnels:
        address, far_port = inquiry.dashboard(ours.inventory)
        client = int(ours.inventory.head.ray.options.get("ray_client_server_port", CLIENT_PORT))
        _probe(tunnels, ours, address, far_port)
        for_jobs = _listen(partial(tunnels.open, address, far_port), jobs_port)
        for_client = _listen(partial(tunnels.open, start.node_ip(ours.inventory.head), client), port)
        for line in _told(ours, for_client.port, for_jobs.port):
            click.echo(line)
        _until_the_end(for_client, for_jobs)


def _told(ours: Asking, client: int, jobs: int) -> list[str]:
    from provisioner.cli.next_steps import shown
    from provisioner.portable import command_line
    from provisioner.ray import auth

    inventory = ours.inventory
    python = inventory.head.python.rpartition(".")[0]
    told = [
        f"Cluster {inventory.cluster} is reached through this machine now; Ctrl-C ends it.",
        f"  drivers (Ray Client)   ray.init('ray://127.0.0.1:{client}')    or  export RAY_ADDRESS=ray://127.0.0.1:{client}",
        f"  jobs                   JobSubmissionClient('http://127.0.0.1:{jobs}')",
        f"                         ray job submit --address http://127.0.0.1:{jobs} -- python script.py",
        "  ray.init('HEAD:8265') never connects: that port serves the dashboard and jobs. On a node: ray.init() alone.",
        f"  with Python {python} and: pip install 'ray[default]=={inventory.ray_version}'",
    ]
    if auth.chosen(inventory) == "token":
        show = f"provision token show {command_line([shown(ours.file)])}"
        told.append("  Ray asks for the cluster's token:")
        told.append(f'    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$({show})"')
    return told


def _probe(tunnels: Tunnels, ours: Asking, address: str, port: int) -> None:
    """See that somebody listens there before anybody is told to come; HostFailed if not."""
    try:
        tunnels.open(address, port).close()
    except OSError as error:
        why = error.strerror or str(error)
        remedy = "`provision status` says whether Ray runs there"
        if isinstance(error, PermissionError):
            remedy = "set `AllowTcpForwarding yes` in its sshd_config"
        message = f"{address}:{port} on the head is not reached: {why}"
        raise HostFailed(message, remedy=remedy, host=ours.inventory.head.name) from None


def _listen(open_far: Open, port: int, serve: Serve | None = None) -> Forward:
    from provisioner.transport.forward import Forward

    try:
        return Forward(open_far, port, serve)
    except OSError as error:
        raise InputError(
            f"port {port} of this machine can't be used: {error.strerror or error}",
            remedy="choose another one, or leave it out to take any that is free",
        ) from None


def _has_browser() -> bool:
    """Tell whether there is a browser with a window: one in the terminal would take it from us."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    return not isinstance(found, webbrowser.GenericBrowser) or isinstance(found, webbrowser.BackgroundBrowser)


def _until_the_end(*forwards: Forward) -> None:
    """Wait for Ctrl-C, or for whatever else asks us to end; then all is well."""
    over = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: over.set())
    sys.stdout.flush()
    while not over.wait(1.0):
        continue
    for forward in forwards:
        forward.close()
