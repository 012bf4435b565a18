"""What is told of a service that is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.remote import service
from provisioner.remote.platforms.systemd import Systemd

from .remote_host import World

NAME = "ray-lab"
EDITS = [
    ("User=kim", "User=lee", [("account", "lee", "kim")]),
    ("Restart=always\n", "", [("Restart", "", "always")]),
    ("Restart=always", "Restart=always\nNice=5", [("Nice", "5", "")]),
    ("RestartSec=5", "# of the administrator\nRestartSec=9", [("RestartSec", "9", "5")]),
    ("[Install]", "\n[Install]", []),
]


@pytest.mark.parametrize(("declared", "edited", "told"), EDITS)
def test_what_differs_in_a_unit_is_named(
    declared: str, edited: str, told: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    host, manager = World(tmp_path).host(), Systemd(user_unit=False)
    host.service_manager, host.account = manager, "kim"
    text = manager.definition(host, NAME).replace(declared, edited)
    expected = [(f"service {NAME}: {part}", *values) for part, *values in told]
    found = service.flaws(host, NAME, {"defined": text, "enabled": True})
    assert found == (expected or [(f"service {NAME}", "other settings", "as declared")])


def test_a_missing_and_a_disabled_service_are_called_so(tmp_path: Path) -> None:
    host, manager = World(tmp_path).host(), Systemd(user_unit=False)
    host.service_manager = manager
    assert service.flaws(host, NAME, {"defined": None}) == [(f"service {NAME}", "missing", "as declared")]
    disabled = {"defined": manager.definition(host, NAME), "enabled": False}
    assert service.flaws(host, NAME, disabled) == [(f"service {NAME}", "disabled", "enabled")]
