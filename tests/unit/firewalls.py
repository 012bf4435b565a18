"""A host with a firewall: its files in a folder, and what its programs say."""

from __future__ import annotations

import json
from pathlib import Path

from provisioner.remote.host import Host
from provisioner.remote.platforms import linux_firewall
from provisioner.remote.platforms.firewalld_state import State, read_saved

from .remote_host import World, make

OURS = "comment=70726f766973696f6e206c6162"
"""``provision lab``."""


class Place:
    """A host whose system's files lie in a folder; ufw is enabled.

    Args:
        rules: of ufw.
        status: what ``ufw status`` says.
    """

    def __init__(
        self, folder: Path, privileged: bool, rules: list[str] | None = None, status: str = "Status: active"
    ) -> None:
        self.top = folder / "top"
        for name, text in {
            "usr/sbin/ufw": f"#!/bin/sh\necho {status}\n",
            "etc/ufw/ufw.conf": "ENABLED=yes\n",
            "etc/default/ufw": "IPV6=yes\n",
        }.items():
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            (self.top / name).write_text(text)
        (self.top / "usr/sbin/ufw").chmod(0o755)
        self.write_rules(rules or [])
        self.host: Host = World(folder).host()
        self.host.platform.privileged = lambda: privileged  # type: ignore[method-assign]
        firewall = linux_firewall.LinuxFirewall(str(self.top))
        self.host.platform.firewall = lambda: firewall  # type: ignore[method-assign]
        self.task = make(
            "firewall", environment="e", ports=[[6379, 6379], [6380, 6385]], addresses=["10.0.0.1", "10.0.0.2"]
        )

    def write_rules(self, lines: list[str]) -> None:
        (self.top / "etc/ufw/user.rules").write_text("".join(f"### tuple ### {line}\n" for line in lines))

    def with_firewalld(self, policies: bool = True) -> Place:
        """Have firewalld, active, instead of ufw; one that knows no policies is too old."""
        (self.top / "usr/sbin/ufw").unlink()
        known = ["usr/lib/firewalld/policies/x.xml"] * policies
        for name in ("usr/bin/firewall-cmd", "proc/77/comm", *known):
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            (self.top / name).write_text("firewalld\n")
        for name in ("proc/77/ns", "proc/self/ns"):
            (self.top / name).mkdir(parents=True)
            (self.top / name / "net").symlink_to("net:[4026531840]")
        return self


class Bus:
    """Answers as firewalld 1.3.3 does; a reload reads the saved files, and other changes change nothing.

    Args:
        running: what its zone public has that was never saved, as ``--list-all-zones`` says it.
    """

    def __init__(self, place: Place, running: str = "") -> None:
        self.running = running
        self.typed: list[list[str]] = []
        """The changes that were asked for."""
        self._saved = place.top / "etc/firewalld"
        self._state = State()
        place.host.platform.run = self._run  # type: ignore[method-assign, assignment]

    def rules(self) -> list[str]:
        return self._state.rules(lambda family: "provision-lab-" + family[-1])

    def _run(self, argv: list[str], *_: object) -> tuple[int, str]:
        if argv[0].endswith("busctl"):
            return self._answer(argv[-3], argv[-1])
        words = argv[1:]
        if words[-1] == "--list-all-zones":
            return 0, "public (active)\n  target: default\n" + ("" if words[0] == "--permanent" else self.running)
        if words[-1] in ("--list-all-policies", "--get-all-rules"):
            return 0, ""
        self.typed.append(words)
        if words == ["--reload"]:
            sets = {family: str(self._saved / f"ipsets/provision-lab-{family[-1]}.xml") for family in ("ipv4", "ipv6")}
            self._state = read_saved(str(self._saved / "policies/provision-lab.xml"), sets)
        return 0, "success\n"

    def _answer(self, method: str, name: str) -> tuple[int, str]:
        if method == "getPolicySettings":
            rules = " ".join(json.dumps(rule) for rule in self.rules())
            told = f'a{{sv}} 5 "target" s "CONTINUE" "rich_rules" as {len(self.rules())} {rules} "priority" i -100 '
            told += '"ingress_zones" as 1 "ANY" "egress_zones" as 1 "HOST"'
            return (0, told) if self._state.known else (1, "Call failed: INVALID_POLICY: " + name)
        entries = self._state.entries.get("ipv" + name[-1], [])
        told = f"as {len(entries)} " + " ".join(json.dumps(entry) for entry in entries)
        return (0, told) if entries else (1, "Call failed: INVALID_IPSET: " + name)
