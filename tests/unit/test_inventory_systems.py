"""What can't be on the system that a host is declared to have."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError, InputErrors
from provisioner.inventory.load import load_inventory

TOP = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {ctl: {address: 10.0.0.10}}\n"


def said(tmp_path: Path, text: str) -> list[str]:
    """Every mistake, as ``line:column: message`` and what to do."""
    file = tmp_path / "inv.yml"
    file.write_text(TOP + text, encoding="utf-8")
    with pytest.raises((InputError, InputErrors)) as caught:
        load_inventory(file, {})
    error = caught.value
    return [str(each).removeprefix(f"{file}:") for each in getattr(error, "errors", [error])]


@pytest.mark.parametrize(
    ("host", "mistake", "remedy"),
    [
        ("os: windows, root: /opt/ray", "Windows: Ray does not run below the root /opt/ray", "C:\\provision\\NAME"),
        (
            "os: windows, root: 'C:\\Program Files\\ray'",
            "Windows: Ray does not run below the root C:",
            "without blanks",
        ),
        ("os: windows, root: 'C:\\레이'", "Windows: Ray does not run below the root C:\\레이", "in ASCII"),
        ("os: windows, service: systemd", "Windows: there is no `service: systemd`", "write one of auto, task"),
        ("os: windows, service: {manager: process}", "Windows: there is no `service: process`", "auto, task"),
        ("os: macos, root: 'C:\\ray'", "macOS: the root C:\\ray is no folder", "begin with /"),
        ("os: macos, service: systemd", "macOS: there is no `service: systemd`", "auto, launchd, process"),
        ("os: linux, service: task", "Linux: there is no `service: task`", "auto, systemd, systemd-user, process"),
    ],
)
def test_it_is_named_before_anybody_is_contacted(host: str, mistake: str, remedy: str, tmp_path: Path) -> None:
    (told,) = said(tmp_path, f"workers: {{w: {{{host}}}}}\n")
    assert told.startswith(f"5:11: 'w' is {mistake}")
    assert remedy in told.partition("\n  -> ")[2]


def test_it_is_said_once_for_all_hosts(tmp_path: Path) -> None:
    hosts = "workers: {'w[1:3]': {os: windows}, 'x[1:3]': {os: linux}}\n"
    told = said(tmp_path, "root: C:/ray\nservice: task\n" + hosts)
    assert [line.partition("\n")[0] for line in told] == [
        "7:36: 'x1' is Linux: there is no `service: task`",
        "7:36: 'x1' is Linux: the root C:/ray is no folder",
    ]


@pytest.mark.parametrize(
    "host", ["root: 'C:\\ray'", "service: task", "os: windows, root: 'D:/ray'", "os: linux, root: /x"]
)
def test_what_may_be_is_left_to_the_host(host: str, tmp_path: Path) -> None:
    (tmp_path / "inv.yml").write_text(TOP + f"workers: {{w: {{{host}}}}}\n", encoding="utf-8")
    assert len(load_inventory(tmp_path / "inv.yml", {}).hosts) == 2
