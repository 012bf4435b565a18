"""Whether Ray asks whoever connects for the cluster's token.

The names and values of the variables were read in Ray 2.52.0 to 2.60.0 (ray/_private/authentication and
src/ray/rpc/authentication): RAY_AUTH_MODE is ``token`` or ``disabled``. Unset, from Ray 2.59 on a head's mode (and no
worker's) depends on whether the account has a file ~/.ray/auth_token: so it is always set, everywhere.
"""

from __future__ import annotations

from provisioner.errors import InputError
from provisioner.inventory.model import Auth, Inventory
from provisioner.ray.releases import TOKEN_SINCE
from provisioner.ray.version import parse, written

MODE = "RAY_AUTH_MODE"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_known(inventory: Inventory) -> bool:
    """Tell whether the cluster's Ray can ask for a token."""
    return parse(inventory.ray_version) >= TOKEN_SINCE


def chosen(inventory: Inventory) -> Auth:
    """Return how the cluster is to be guarded: as declared, else by a token wherever Ray can."""
    return inventory.auth or ("token" if is_known(inventory) else "none")


def variables(inventory: Inventory) -> dict[str, str]:
    """Return what tells every Ray process the mode; nothing for releases that know none.

    Where the token lies is added on the host: no value of it is ever in a variable.
    """
    if not is_known(inventory):
        return {}
    return {MODE: "token" if chosen(inventory) == "token" else "disabled"}


def check(inventory: Inventory) -> None:
    """Raise an InputError if a token is declared and this Ray can't ask for one."""
    if inventory.auth != "token" or is_known(inventory):
        return
    raise InputError(
        f"Ray {inventory.ray_version} can't ask for a token: that came with {written(TOKEN_SINCE)}",
        place=inventory.auth_place,
        remedy="take a newer `ray: {version: ...}`, or write `auth: none` and keep the cluster's network to yourself",
    )


def remarks(inventory: Inventory) -> list[tuple[str, str]]:
    """Return (message, remedy) of everything by which the cluster is open to strangers as it is declared."""
    found = []
    if chosen(inventory) == "none":
        why = "`ray: {auth: none}`" if inventory.auth else f"Ray {inventory.ray_version} asks for no token"
        remedy = (
            "leave it out" if inventory.auth and is_known(inventory) else f"Ray {written(TOKEN_SINCE)} and newer can"
        )
        found.append((f"{why}: whoever reaches the cluster's ports can run code on every node", remedy))
    bound = str(inventory.head.ray.options.get("dashboard_host", LOOPBACK[0]))
    if bound not in LOOPBACK:
        told = f"the dashboard and the job server listen on {bound}, not on the head's loopback alone"
        found.append((told, "leave `dashboard_host` out: `ssh -L` brings them to you"))
    return found
