"""``provision init``: a first inventory, from addresses or from what other tools know."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli import flags
from provisioner.errors import InputError, InputErrors

if TYPE_CHECKING:
    from provisioner.inventory.drafting import DraftHost
    from provisioner.inventory.importing.found import Found, FoundHost

PYTHON = "3.11.9"
"""Every release of Ray for every system has wheels for it."""


@click.command(short_help="Write a first inventory.")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--from-ssh-config", "ssh_config", is_flag=False, flag_value="~/.ssh/config", metavar="[FILE]",
              help="Take the hosts that an ssh_config names; without a file yours.")  # fmt: skip
@click.option("--from-ansible", "ansible", metavar="FILE", help="Take the hosts of an inventory of Ansible.")
@click.option("--from-ray-up", "ray_up", metavar="FILE", help="Take the machines of a cluster's YAML of `ray up`.")
@click.option("-o", "--output", default="inventory.yml", show_default=True, metavar="FILE", help="The file to write.")
@click.option("--cluster", metavar="NAME", help="Name of the cluster.")
@click.option("--user", metavar="NAME", help="Account to log in as, where nothing else says it.")
@click.option("--no-probe", is_flag=True, help="Contact no host.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing.")
@flags.connect_timeout
@flags.accept_new_host_keys
def init(**given: Any) -> None:
    """Write a first inventory, with comments. The first address is the head, the others are workers.

    The machines are asked for their OS, processor, cores, GPUs and Python; nothing is changed there, and one that does
    not answer is written down all the same. What can't be carried over from another tool is named.
    """
    from provisioner.inventory.importing.found import Found, FoundHost

    output = Path(given["output"])
    if output.exists():
        raise InputError(f"{output} exists", remedy="name another file with -o; `provision validate` looks at this one")
    found = _found(given)
    asks = sys.stdin.isatty() and not given["yes"]
    addresses = list(given["addresses"])
    if not found.hosts and not addresses and asks:
        addresses = click.prompt("Addresses or names of the machines, the head first").replace(",", " ").split()
        given["user"] = given["user"] or click.prompt("Account there (empty: as ssh does it)", "", show_default=False)
    hosts = [*map(FoundHost, addresses), *found.hosts]
    if not hosts:
        raise InputError("no machine was named", remedy="give addresses: provision init 192.0.2.10 192.0.2.11")
    cluster = given["cluster"] or found.cluster or (click.prompt("Name of the cluster", "lab") if asks else "lab")
    found = Found(tuple(dict.fromkeys(hosts)), cluster, found.left)
    _write(output, found, given)


def _found(given: dict[str, Any]) -> Found:
    """Return what the files name; InputError if one can't be read."""
    from provisioner.inventory.document import load_document
    from provisioner.inventory.importing.ansible import read_ini, read_yaml
    from provisioner.inventory.importing.found import Found
    from provisioner.inventory.importing.ray_up import read_ray_up
    from provisioner.inventory.importing.ssh_config import read_ssh_config

    founds: list[Found] = []
    if given["ssh_config"]:
        founds.append(read_ssh_config(_text(given["ssh_config"])))
    if file := given["ansible"]:
        is_yaml = Path(file).suffix in (".yml", ".yaml", ".json")
        founds.append(read_yaml(load_document(Path(file))) if is_yaml else read_ini(_text(file)))
    if file := given["ray_up"]:
        founds.append(read_ray_up(load_document(Path(file))))
    cluster = next((each.cluster for each in founds if each.cluster), None)
    hosts = tuple(host for each in founds for host in each.hosts)
    if founds and not hosts:
        raise InputError("the file names no host", remedy="give addresses: provision init ADDRESS...")
    return Found(hosts, cluster, tuple(told for each in founds for told in each.left))


def _text(name: str) -> str:
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    if text.startswith("#!"):
        raise InputError(f"{name} is a program", remedy="write what it prints into a file: ansible-inventory --list -y")
    return text


def _write(output: Path, found: Found, given: dict[str, Any]) -> None:
    from provisioner.inventory.drafting import draft
    from provisioner.inventory.load import load_inventory
    from provisioner.report.text import clean, flat

    left = list(found.left)
    reached = [_reached(host, given["user"], left) for host in found.hosts]
    hosts = _unasked(reached) if given["no_probe"] else _asked(reached, given)
    config = _config(given)
    text = draft(found.cluster or "lab", PYTHON, _ray(hosts), hosts, str(config) if config else None)
    aside = output.with_name(f".{output.name}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        load_inventory(aside)
        aside.replace(output)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from None
    except InputError as error:
        said = "; ".join(each.message for each in (error.errors if isinstance(error, InputErrors) else [error]))
        remedy = error.remedy or "give other addresses, or put it right in the file that they come from"
        raise InputError(f"these hosts make no inventory: {said}", remedy=remedy) from None
    finally:
        aside.unlink(missing_ok=True)
    for told in dict.fromkeys(left):
        click.echo(f"not taken over: {flat(clean(told))}", err=True)
    click.echo(f"wrote {output}: {len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}; next: provision check {output}")


def _config(given: dict[str, Any]) -> Path | None:
    """Return the ssh_config that was named, None if it is the user's own."""
    named = Path(given["ssh_config"]).expanduser().resolve() if given["ssh_config"] else None
    return None if named == Path("~/.ssh/config").expanduser().resolve() else named


def _reached(host: FoundHost, user: str | None, left: list[str]) -> FoundHost:
    """Return a host as it can be reached from here; a key must be a file here."""
    key = host.key
    if key and not (key.startswith(("~", "/")) and Path(key).expanduser().is_file()):
        left.append(f"the key {key}: there is no such file here, or its path is relative")
        key = None
    return replace(host, user=host.user or user or None, key=key)


def _unasked(hosts: list[FoundHost]) -> list[DraftHost]:
    """Return hosts of which nothing more is known."""
    from provisioner.inventory.drafting import DraftHost

    return [DraftHost(host) for host in hosts]


def _asked(hosts: list[FoundHost], given: dict[str, Any]) -> list[DraftHost]:
    """Return hosts with what they say of themselves."""
    from provisioner.inventory.drafting import DraftHost
    from provisioner.transport.connect import Connector
    from provisioner.transport.survey import survey
    from provisioner.transport.target import Target

    connector = Connector(given["connect_timeout"], given["accept_new_host_keys"])
    targets = [
        Target(host.name, host.address or host.name, host.user, host.port,
               Path(host.key).expanduser() if host.key else None, jump=host.jump,
               config=_config(given))
        for host in hosts
    ]  # fmt: skip
    try:
        machines = survey(connector, targets)
    finally:
        connector.close()
    drafts = []
    for host, machine in zip(hosts, machines, strict=True):
        known = [f"{machine.cores} cores" if machine.cores else "", f"{machine.gpus} GPUs" if machine.gpus else "",
                 f"its own Python is {machine.python}" if machine.python else ""]  # fmt: skip
        note = f"not reached: {machine.trouble}" if machine.trouble else ", ".join(filter(None, known))
        groups = (*host.groups, "gpu") if machine.gpus and "gpu" not in host.groups else host.groups
        system = machine.os if machine.os in ("linux", "macos", "windows") else host.os
        arch = machine.arch if machine.arch in ("x86_64", "aarch64") else None
        drafts.append(DraftHost(replace(host, os=system, groups=groups), arch, note))
        if machine.trouble:
            click.echo(f"{host.name}: {note}", err=True)
    return drafts


def _ray(hosts: list[DraftHost]) -> str:
    """Return the newest release of Ray with wheels for all hosts, as far as they are known."""
    from provisioner.ray.releases import RELEASES
    from provisioner.ray.support import obstacle
    from provisioner.ray.system import System
    from provisioner.ray.version import parse, written

    kinds = {(each.host.os or "linux", each.arch or "x86_64") for each in hosts}
    python = parse(PYTHON)
    for release in reversed(RELEASES):
        if python and not any(obstacle(System(os, arch), python, release) for os, arch in kinds):
            return written(release)
    return written(RELEASES[-1])
