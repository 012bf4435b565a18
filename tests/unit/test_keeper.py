"""Who could read the secrets that a host keeps: said by `check`, of whatever account Ray runs as."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.platforms import keeper
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.platforms.supervised import Supervised
from provisioner.remote.platforms.systemd import Systemd

from .remote_host import World

KIM = """\
Matching Defaults entries for kim on h1:
    env_reset, mail_badpass,
    secure_path=/usr/local/sbin\\:/usr/local/bin\\:/usr/sbin\\:/usr/bin\\:/sbin\\:/bin,
    use_pty

User kim may run the following commands on h1:
    %s
"""
PARK = "User park is not allowed to run sudo on h1.\n"
"""As sudo 1.9.13 of Debian 12 told root."""
US = pwd.getpwuid(os.geteuid()).pw_name


def look(folder: Path, account: str, *secrets: str, said: str = PARK, privileged: bool = True, mode: str = "check",
         service: ServiceManager | None = None, group: str = "users",
         monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:  # fmt: skip
    world = World(folder)
    if service:
        world._platform._managers["auto"] = service
    host = world.host()
    monkeypatch.setattr(keeper, "_groups", lambda account: [account, group])
    host.account, host.mode = account, mode
    for name in secrets:
        (Path(host.root) / "secrets").mkdir(parents=True, exist_ok=True)
        (Path(host.root) / "secrets" / name).write_text("x")
    sudo = folder / "sudo"
    sudo.touch()
    monkeypatch.setattr(keeper, "SUDO", str(sudo))

    def run(argv: list[str], limit: float, env: dict[str, str]) -> tuple[int, str]:
        assert (argv, env) == ([str(sudo), "-n", "-l", "-U", account], {"LC_ALL": "C"})
        return 0, said

    platform: Any = host.platform
    platform.run, platform.privileged = run, lambda: privileged
    return keeper.findings(host)


@pytest.mark.parametrize(
    ("case", "secrets", "severity", "said"),
    [
        ({"account": US}, ["authority"], "notice",
         f"Ray runs as {US}, the account that keeps the cluster's secrets: whoever runs a job of the cluster can read "
         "the key of its certificate authority"),
        ({"account": "nobody", "privileged": False}, ["redis", "authority"], "notice",
         "the key of its certificate authority and the password of its Redis"),
        ({"account": "kim", "said": KIM % "(ALL : ALL) NOPASSWD: ALL"}, ["authority"], "notice",
         "Ray runs as kim, which may become root without a password: whoever"),
        ({"account": "kim", "said": KIM % "(root) SETENV: NOPASSWD: ALL"}, ["redis"], "notice", "may become root"),
        ({"account": "kim", "said": KIM % "(root) NOPASSWD: SETENV: ALL"}, ["redis"], "notice", "may become root"),
        ({"account": "kim", "said": KIM % "(ALL : ALL) ALL"}, ["authority"], "fine",
         "the account that runs Ray, kim, is not the one that keeps the cluster's secrets"),
        ({"account": "kim", "said": KIM % "(root) NOPASSWD: /sbin/reboot"}, ["authority"], "fine", "is not the one"),
        ({"account": "park"}, ["authority"], "fine", "is not the one"),
        ({"account": "park", "group": "docker"}, ["authority"], "notice",
         "Ray runs as park, which may become root by its group docker: whoever"),
        ({"account": "park", "service": Supervised()}, ["redis"], "notice",
         f"Ray runs as {US}, the account that keeps the cluster's secrets: whoever"),
        ({"account": "park", "service": Systemd(user_unit=True)}, ["redis"], "notice", f"Ray runs as {US}, the"),
        ({"account": "park", "service": Systemd(user_unit=False)}, ["redis"], "fine", "is not the one"),
    ],
)  # fmt: skip
def test_who_could_read_them(
    case: dict[str, Any], secrets: list[str], severity: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = look(tmp_path, case.pop("account"), *secrets, monkeypatch=monkeypatch, **case)
    assert finding["severity"] == severity
    assert said in finding["message"]
    assert ("account: NAME" in finding["remedy"]) is (severity == "notice")


@pytest.mark.parametrize(("mode", "secrets"), [("apply", ["authority"]), ("check", ["token"]), ("check", [])])
def test_nothing_is_said_otherwise(
    mode: str, secrets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is in the hands of Ray's account anyway."""
    assert look(tmp_path, US, *secrets, mode=mode, monkeypatch=monkeypatch) == []


def test_the_groups_of_an_account() -> None:
    assert "root" in keeper._groups("root")
    assert keeper._groups("nobody-of-that-name") == []
