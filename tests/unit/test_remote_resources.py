"""Resources on a real file system: what is missing is made, twice is as good as once, and remove leaves no trace."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.marker import Marker, write_atomically
from provisioner.remote.platforms.variables import ProfileFile, VariablesFile
from provisioner.remote.resource import Resource

from .remote_host import World, file, make, shown, write


@dataclass
class Case:
    """A state of the world, and what a resource makes of it."""

    id: str
    declare: Callable[[World], Resource]
    before: Callable[[World], object] = lambda world: None
    actions: tuple[str, ...] = ("add",)
    variables: type[VariablesFile] = VariablesFile


def link(world: World) -> None:
    write("real", "old\n", 0o600)(world)
    (world.outside / "a.conf").symlink_to("real")


def variable(name: str = "X", value: Any = "1") -> Callable[[World], Resource]:
    return lambda world: make("variable", name=name, value=value)


def touch(world: World) -> Resource:
    made = str(world.outside / "made")
    return make("command", argv=["/bin/touch", made], creates=made, undo=["/bin/rm", made])


def unless(world: World) -> Resource:
    made = str(world.outside / "made")
    return make(
        "command", argv=["/bin/sh", "-c", 'echo $TEXT > made'], unless=["/bin/test", "-e", made],
        undo=["/bin/rm", "made"], env={"TEXT": 5}, cwd=str(world.outside),
    )  # fmt: skip


ODD = "a 'b' \"c\" $d \\e"


CASES = [
    Case("file added", file()),
    Case("file added in new folders", file("etc/app/conf.d/a.conf")),
    Case("file of no bytes", file(content=b"")),
    Case("file with other content", file(), write("a.conf", "theirs\n"), ("change",)),
    Case("file with other mode", file(mode="0600"), write("a.conf", "wanted\n"), ("change",)),
    Case("file with all else", file(mode="600"), write("a.conf", "theirs\n", 0o755), ("change", "change")),
    Case("file keeps its mode", file(), write("a.conf", "theirs\n", 0o750), ("change",)),
    Case("file behind a link", file(), link, ("change",)),
    Case("command that creates", touch),
    Case("command unless", unless),
    Case("variable in no file", variable()),
    Case("variable in an empty file", variable(), write("environment", "")),
    Case("variable beside others", variable(), write("environment", "# c\nA=1\n\n  X=indented\nB='2'\n")),
    Case("variable with another value", variable(), write("environment", "A=1\nX=0\nB=2\n", 0o600), ("change",)),
    Case("variable given twice", variable(value=1), write("environment", "X=1\nX=2\nB=2\n"), ("change",)),
    Case("variable without a last line end", variable(), write("environment", "A=1\nX=unquoted text\n"), ("change",)),
    Case("variable with an odd value", variable(value=ODD)),
    Case("profile without a file", variable(), variables=ProfileFile),
    Case("profile with an odd value", variable(value=ODD), variables=ProfileFile),
    Case(
        "profile that sets it", variable(), write("environment", "if x; then\n  X=2\nfi\nexport X='0' # mine\ny\n"),
        ("change",), ProfileFile,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_there_and_back(case: Case, tmp_path: Path) -> None:
    """Observed, made, made again, found, removed: the second time changes nothing, the end is the beginning."""
    world = World(tmp_path, case.variables)
    case.before(world)
    bare = world.snapshot()

    def declare() -> Resource:
        return case.declare(world)

    first = declare().observe(world.host())
    assert tuple(each["action"] for each in first) == case.actions
    assert world.snapshot() == bare, "observing changes nothing"
    assert declare().traces(world.host()) == []
    assert declare().remove(world.host()) == ""
    assert world.snapshot() == bare, "what is not ours is not removed"

    assert declare().ensure(world.host())
    assert declare().observe(world.host()) == []
    made = world.snapshot()
    declare().ensure(world.host())
    assert world.snapshot() == made

    assert [each["action"] for each in declare().traces(world.host())] == ["remove"]
    declare().remove(world.host())
    assert world.snapshot() == bare
    assert declare().observe(world.host()) == first
    assert declare().traces(world.host()) == []
    assert not (world.root / "marker.json").exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_interrupted_is_undone(case: Case, tmp_path: Path) -> None:
    """The marker is written first: a run that ends right after it leaves nothing that nobody remembers."""
    world = World(tmp_path, case.variables)
    case.before(world)
    bare = world.snapshot()
    host = world.host()

    class PowerCutError(Exception):
        pass

    def cut(key: str, entry: Any) -> None:
        Marker(str(world.root / "marker.json")).put(key, entry)
        raise PowerCutError

    host.marker.put = cut  # type: ignore[method-assign]
    with pytest.raises(PowerCutError):
        case.declare(world).ensure(host)
    assert world.snapshot() == bare
    case.declare(world).ensure(world.host())
    assert case.declare(world).observe(world.host()) == []
    case.declare(world).remove(world.host())
    assert world.snapshot() == bare


@pytest.mark.parametrize("style", [VariablesFile, ProfileFile])
def test_a_value_that_others_set_later_stays(style: type[VariablesFile], tmp_path: Path) -> None:
    world = World(tmp_path, style)
    variable()(world).ensure(world.host())
    theirs = world.outside / "environment"
    theirs.write_text("X=9\n")
    assert variable()(world).traces(world.host()) == []
    variable()(world).remove(world.host())
    assert theirs.read_text() == "X=9\n"
    assert world.host().marker.entries == {}


def test_a_changed_value_keeps_what_was_there_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    write("environment", 'X="theirs"\n')(world)
    variable(value="1")(world).ensure(world.host())
    variable(value="2")(world).ensure(world.host())
    assert world.host().platform.variables().get("X") == "2"
    variable(value="2")(world).remove(world.host())
    assert (world.outside / "environment").read_text() == 'X="theirs"\n'


@pytest.mark.parametrize(
    ("style", "text", "value"),
    [
        (VariablesFile, 'X="a b"', "a b"),
        (VariablesFile, "X=a b ", "a b"),
        (VariablesFile, "X=it's", "it's"),
        (VariablesFile, 'export X="a\\b"', "a\\b"),
        (VariablesFile, 'X="', ""),
        (VariablesFile, "X=", ""),
        (VariablesFile, "XY=1\n#X=1\n X=1", None),
        (VariablesFile, "X=1\nX=2", "2"),
        (ProfileFile, "export X='a b' # why", "a b"),
        (ProfileFile, "X=a\\ b", "a b"),
        (ProfileFile, "X=", ""),
        (ProfileFile, "X='open", "'open"),
        (ProfileFile, "export XY=1", None),
    ],
)
def test_what_new_processes_find(style: type[VariablesFile], text: str, value: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert style(str(path)).get("X") == value


def test_bytes_of_another_encoding_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_bytes(b"A=\xff\xfe\r\n")
    file = VariablesFile(str(path))
    kept = file.keep("X")
    file.set("X", "1")
    assert path.read_bytes() == b'A=\xff\xfe\r\nX="1"\n'
    file.put_back("X", kept)
    assert path.read_bytes() == b"A=\xff\xfe\r\n"


def test_a_value_of_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="more than one line"):
        VariablesFile(str(tmp_path / "file")).set("X", "1\nY=2")


def test_files_are_asked_for_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    file()(world).ensure(world.host())
    (world.outside / "a.conf").write_text("edited")
    file()(world).ensure(world.host())
    assert len(world.controller.sent) == 1


def test_a_file_that_arrives_damaged_is_never_used(tmp_path: Path) -> None:
    world = World(tmp_path)
    wanted = file()(world)
    world.controller.files[wanted.params["sha256"]] = b"other!\n"
    with pytest.raises(Failure, match="arrived damaged"):
        wanted.ensure(world.host())
    assert world.snapshot() == {}
    assert [path.name for path in (world.root / "store").rglob("*") if path.is_file()] == []


def test_a_secret_file_is_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the moment between writing and setting the mode."""
    world = World(tmp_path)
    modes = []
    replace = os.replace

    def watched(source: str, target: str) -> None:
        if target.endswith("a.conf"):
            modes.append(stat.S_IMODE(Path(source).stat().st_mode))
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    file(mode="0600")(world).ensure(world.host())
    assert modes == [0o600]


@pytest.mark.parametrize(("mode", "left"), [("0640", True), ("0600", True), ("0644", False), (None, False)])
def test_what_a_release_before_left_open_in_the_store_goes(mode: str | None, left: bool, tmp_path: Path) -> None:
    """Also where the file itself is as it should be: nothing else would ever look there again."""
    world = World(tmp_path)
    wanted = file(mode=mode)(world) if mode else file()(world)
    wanted.ensure(world.host())
    copy = world.root / "store" / wanted.params["sha256"] / "content"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(world.controller.files[wanted.params["sha256"]])
    copy.chmod(0o644)
    found = [(each["action"], each["what"]) for each in wanted.observe(world.host())]
    assert found == [("remove", f"a copy of {wanted.params['path']} in the store")] * left
    wanted.ensure(world.host())
    assert copy.exists() is not left and wanted.observe(world.host()) == []


@pytest.mark.parametrize(("mode", "left"), [("0600", []), ("0640", []), ("0644", [0o600]), (None, [0o600])])
@pytest.mark.parametrize("before", ["", ".part", "content"])
def test_what_is_in_a_file_lies_open_nowhere_else(
    mode: str | None, left: list[int], before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while it arrives, and not where a release before this one, or a run that was ended, has left it open."""
    world = World(tmp_path)
    wanted = file(mode=mode)(world) if mode else file()(world)
    folder = world.root / "store" / wanted.params["sha256"]
    if before:
        folder.mkdir(parents=True)
        content = world.controller.files[wanted.params["sha256"]]
        (folder / before).write_bytes(content if before == "content" else content[:3])
        (folder / before).chmod(0o644)
    seen: list[int] = []

    def write(path: str, data: bytes, mode: int = 0o644) -> None:
        seen.extend(stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir())
        Host.write(host, path, data, mode)

    host = world.host()
    monkeypatch.setattr(host, "write", write)
    wanted.ensure(host)
    assert set(seen) == {0o600}
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.glob("*")] == left
    assert wanted.observe(world.host()) == []


def test_a_file_is_written_beside_nothing_that_others_have_laid_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of another account, which would have us write elsewhere, or go on reading what we write."""
    target, trap = tmp_path / "a.conf", tmp_path / "trap"
    trap.write_text("theirs")
    monkeypatch.setattr("os.urandom", lambda size: b"\1" * size)
    (tmp_path / f"a.conf.part{os.getpid()}-{'01' * 8}").symlink_to(trap)
    monkeypatch.setattr("provisioner.remote.marker.discard_asides", lambda *place: None)
    with pytest.raises(FileExistsError):
        write_atomically(str(target), b"ours", 0o600)
    assert trap.read_text() == "theirs"


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.outside / "a.conf").mkdir()
    with pytest.raises(Failure, match="is a folder"):
        file()(world).observe(world.host())


def test_folders_that_others_use_by_now_stay(tmp_path: Path) -> None:
    world = World(tmp_path)
    file("etc/app/a.conf")(world).ensure(world.host())
    write("etc/theirs", "x")(world)
    file("etc/app/a.conf")(world).remove(world.host())
    assert set(world.snapshot()) == {"etc", "etc/theirs"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_set_kept_and_put_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    write("a.conf", "theirs\n")(world)
    path = world.outside / "a.conf"
    os.chown(path, 4242, 4343)
    file()(world).ensure(world.host())
    assert (path.stat().st_uid, path.stat().st_gid) == (4242, 4343), "another content is no reason for another owner"
    owned = file(owner="nobody")(world)
    assert shown(owned.observe(world.host())) == [("change", f"owner of {path}", "4242", "nobody")]
    owned.ensure(world.host())
    assert owned.observe(world.host()) == []
    owned.remove(world.host())
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (4242, 4343, "theirs\n")


def test_an_unknown_owner_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    if not world.host().platform.privileged():
        pytest.skip("only root can give files away")
    with pytest.raises(Failure, match="no account 'nemo'"):
        file(owner="nemo")(world).ensure(world.host())
