"""What is told of a service that is not as it should be."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.remote import launch, private, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.linux import Linux
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


NOBODY = 65534


def theirs(path: Path) -> None:
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)


def link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to(path.with_name("elsewhere"))


SESSIONS = [
    (lambda path: None, 0o1777, 0o700, ""),
    (lambda path: path.mkdir(), 0o1777, 0o755, ""),
    (lambda path: None, 0o755, 0o755, ""),
    (link, 0o755, 0o755, ""),
    (theirs, 0o1777, None, "a folder of nobody"),
    (link, 0o1777, None, "no folder of root"),
    (lambda path: path.write_text(""), 0o1777, None, "no folder of root"),
]


def platform_makes(path: str, enclosure: str = "") -> None:
    Linux().make_sessions(path, "", enclosure)


def launcher_has(path: str, enclosure: str = "") -> None:
    launch.have_sessions({"temp_dir": path, "enclosure": enclosure})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
@pytest.mark.parametrize(("before", "above", "mode", "refusal"), SESSIONS)
def test_a_folder_for_sessions_is_taken_from_nobody(
    before: Callable[[Path], None], above: int, mode: int | None, refusal: str, tmp_path: Path
) -> None:
    """Whoever made it below /tmp could exchange what runs from there; so is it for the launcher, at every start."""
    for number, make in enumerate((platform_makes, launcher_has)):
        folder = tmp_path / str(number)
        folder.mkdir()
        folder.chmod(above)
        path = folder / "rp-0a1b2c3d"
        before(path)
        if mode is None:
            with pytest.raises((Failure, OSError), match=refusal if not number else "somebody else's|File exists"):
                make(str(path))
            continue
        make(str(path))
        expected = 0o700 if number and not path.is_symlink() and above == 0o755 else mode
        assert stat.S_IMODE(path.stat().st_mode) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_for_sessions_belongs_to_rays_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVISION_SANDBOX", raising=False)
    tmp_path.chmod(0o1777)
    path = tmp_path / "rp-0a1b2c3d"
    for account, uid in (("nobody", NOBODY), ("nobody", NOBODY)):
        Linux().make_sessions(str(path), account)
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (uid, 0o700)
    with pytest.raises(Failure, match="is a folder of nobody"):
        Linux().check_sessions(str(path), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize(("ours", "uid"), [(False, 0), (True, NOBODY)])
def test_a_declared_folder_for_sessions_stays_whose_it_was(
    ours: bool, uid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless we had made it, and were ended before it was given away."""
    monkeypatch.delenv("PROVISION_SANDBOX", raising=False)
    tmp_path.chmod(0o1777)
    path = tmp_path / "ray"
    path.mkdir(mode=0o755)
    Linux().make_sessions(str(path), "nobody", ours=ours)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (uid, 0o755)


def test_what_root_made_where_everybody_may_write_will_do_for_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator's `/scratch/ray` for all; an enclosure has to be of its account."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    tmp_path.chmod(0o1777)
    path = tmp_path / "ray"
    path.mkdir()
    monkeypatch.setattr(Linux, "privileged", lambda self: False)
    uid = path.stat().st_uid
    if uid:
        pytest.skip("root's is wanted")
    Linux().check_sessions(str(path), "")
    launch.have_sessions({"temp_dir": str(path)})
    with pytest.raises(Failure, match="is a folder of root"):
        Linux().check_sessions(str(path / "s"), "", str(path))
    with pytest.raises(OSError, match="somebody else's"):
        launch.have_sessions({"temp_dir": str(path / "s"), "enclosure": str(path)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
@pytest.mark.parametrize("above", [0o1777, 0o755])
@pytest.mark.parametrize("inner", ["nothing", "theirs", "a link", "ours"])
def test_ray_has_its_sessions_in_a_folder_that_is_shut_at_every_start(
    above: int, inner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray opens its own to everybody (see ray_sessions.py): whatever a stranger made before it was shut is not used."""
    monkeypatch.delenv("PROVISION_SANDBOX", raising=False)
    tmp_path.chmod(above)
    outer, path = tmp_path / "rp-0a1b2c3d", tmp_path / "rp-0a1b2c3d" / "s"
    outer.mkdir()
    outer.chmod(0o777)
    if inner == "a link":
        path.symlink_to(tmp_path)
    elif inner != "nothing":
        (path / "session_1").mkdir(parents=True)
        os.chown(path, *((NOBODY + 1, 0) if inner == "theirs" else (NOBODY, 0)))
    Linux().make_sessions(str(path), "nobody", str(outer))
    for folder in (outer, path):
        assert (folder.lstat().st_uid, stat.S_ISDIR(folder.lstat().st_mode)) == (NOBODY, True)
    assert stat.S_IMODE(outer.stat().st_mode) == 0o700
    assert [each.name for each in path.iterdir()] == (["session_1"] if inner == "ours" else [])
    os.chown(outer, 0, 0)
    outer.chmod(0o777)
    launch.have_sessions({"temp_dir": str(path), "enclosure": str(outer)})
    assert stat.S_IMODE(outer.stat().st_mode) == 0o700


def test_the_enclosure_a_link_leads_to_stays_as_it_is(tmp_path: Path) -> None:
    """Whoever has room elsewhere may have put it there."""
    (tmp_path / "elsewhere").mkdir(mode=0o750)
    outer = tmp_path / "ray"
    outer.symlink_to("elsewhere")
    for have in (platform_makes, launcher_has):
        have(str(outer / "s"), str(outer))
        assert stat.S_IMODE(outer.stat().st_mode) == 0o750 and (outer / "s").is_dir()


@pytest.mark.parametrize(("length", "inside"), [(10, True), (34, True), (35, False), (80, False)])
def test_sockets_have_room_in_the_folder_for_sessions(length: int, inside: bool) -> None:
    """And for a suffix: a socket that is there already gets a number (_make_inc_temp in _private/node.py)."""
    root = "/" + "r" * (length - 1)
    path, longest = Linux().temp_dir(root), "/session_2026-11-23_05-54-13_591000_4194304/sockets/plasma_store.1"
    assert len(path + longest) <= 107
    assert (path == root + "/ray/s") is inside and str(Path(path).parent) == Linux().enclosure(root)


def test_the_launchers_copy_is_its_accounts_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off anywhere, what is to be started at boot can be read."""
    host, given = World(tmp_path).host(), []

    def admit(path: str, account: str) -> None:
        given.append(path)
        assert not Path(service.copy_path(host, NAME)).exists()

    monkeypatch.setattr(host.platform, "admit", admit)
    service.write_spec(host, NAME, {"argv": [], "env": {}, "python": "", "temp_dir": str(tmp_path / "ray")})
    assert given == [service.copy_path(host, NAME) + ".new"]
    assert service.is_intact(host, NAME)


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".else"))
    path.symlink_to(path.with_suffix(".else"))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


EDITS_OF_THE_COPY: list[tuple[str, Callable[[Path], object]]] = [
    ("another", lambda path: path.write_text("{}")),
    ("deep", lambda path: path.write_text("[" * 100_000)),
    ("endless", truncated),
    ("a link", linked),
    ("a pipe", piped),
    ("gone", Path.unlink),
]


@pytest.mark.parametrize("edit", [row[1] for row in EDITS_OF_THE_COPY], ids=[row[0] for row in EDITS_OF_THE_COPY])
def test_whatever_a_job_makes_of_its_copy_is_a_difference_and_no_trouble(
    edit: Callable[[Path], object], tmp_path: Path
) -> None:
    host = World(tmp_path).host()
    spec = {"argv": ["ray"], "env": {}, "python": "p", "temp_dir": host.path("ray")}
    service.write_spec(host, NAME, spec)
    assert service.is_intact(host, NAME)
    begun = time.monotonic()
    edit(Path(service.copy_path(host, NAME)))
    assert not service.is_intact(host, NAME)
    assert time.monotonic() - begun < 2
    service.write_spec(host, NAME, spec)
    assert service.is_intact(host, NAME) and service.read_spec(host, NAME) == spec


def test_a_deep_original_is_no_specification(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    host.write(service.spec_path(host, NAME), b"[" * 100_000, 0o600)
    assert service.read_spec(host, NAME) is None


HELD = ("service/ray-lab.json", "service/ray-lab.run.json", "service/ray-lab.history.json", "secrets/label-key",
        "secrets/certificate", "secrets")  # fmt: skip


def held(tmp_path: Path) -> Host:
    """A host with all that a service may have of secrets."""
    host = World(tmp_path).host()
    service.write_spec(host, NAME, {"argv": ["ray"], "env": {"X": "hush"}, "python": "p", "temp_dir": host.path("ray")})
    host.write(service.history_path(host, NAME), b"[]", 0o600)
    for key in private.KEYS:
        secrets.keep(host, key, "abc")
    return host


@pytest.mark.parametrize("name", HELD)
def test_what_was_opened_to_others_is_told_and_shut(name: str, tmp_path: Path) -> None:
    host = held(tmp_path)
    assert private.exposed(host, NAME) == []
    path = Path(host.path(name))
    before = path.read_bytes() if path.is_file() else b""
    path.chmod(0o755 if path.is_dir() else 0o644)
    ((what, now, wanted),) = private.exposed(host, NAME)
    assert what == f"who may use {path}" and now[:4] in ("0644", "0755") and wanted[:4] in ("0600", "0700")
    private.shut(host, NAME)
    assert private.exposed(host, NAME) == []
    assert before == (path.read_bytes() if path.is_file() else b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", HELD)
def test_what_belongs_to_another_account_is_not_made_ours(name: str, tmp_path: Path) -> None:
    host = held(tmp_path)
    path = Path(host.path(name))
    if path.is_file():
        path.write_text('["planted"]')
    os.chown(path, 65534, 65534)
    assert [what for what, _, _ in private.exposed(host, NAME)] == [f"who may use {path}"]
    private.shut(host, NAME)
    assert private.exposed(host, NAME) == []
    assert not path.is_file() or "planted" not in path.read_text()


def test_a_file_system_that_keeps_no_access_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = held(tmp_path)
    monkeypatch.setattr(host.platform, "exposure", lambda path, account: ("0777, of root", "0600, of root"))
    with pytest.raises(Failure, match=r"who may use .*ray-lab.json: it is 0777.*no effect") as told:
        private.shut(host, NAME)
    assert "root:" in told.value.remedy
