"""Inventories as text: loaded, or with what is wrong with them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from provisioner.errors import InputError, InputErrors
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Inventory

TOP = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\n"
HEAD = TOP + "head: {ctl: {address: 10.0.0.10}}\n"


def load(file: Path, text: str, **environ: str) -> Inventory:
    file.write_text(textwrap.dedent(text))
    return load_inventory(file, environ)


def mistakes(file: Path, text: str, **environ: str) -> list[str]:
    """Every mistake as ``line:column: message``."""
    with pytest.raises(InputError) as caught:
        load(file, text, **environ)
    error = caught.value
    return [
        str(each).removeprefix(f"{file}:") for each in (error.errors if isinstance(error, InputErrors) else [error])
    ]
