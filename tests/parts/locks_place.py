"""A folder to work in with `provision lock` and `provision bundle`: the real uv, a package index on loopback."""

from __future__ import annotations

import io
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.cli import main
from tests.index import Index
from tests.interpreters import mirror, pretended

PASSWORD = "s3cret-pass"


INVENTORY = """\
cluster: lab
python: {{version: 3.11.9, mirror: {mirror}}}
ray: {{version: 2.60.0}}
artifacts:
  index: {{url: "{index}", username: kim, password: {{from_env: INDEX_PW}}}}
head:
  ctl: {{address: 127.0.0.1, ssh: {{port: {port}}}}}
workers:
  w1: {{address: 127.0.0.2, ssh: {{port: {port}}}}}
  pc: {{address: 127.0.0.3, os: windows, packages: [demo], ssh: {{port: {port}}}}}
"""


LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}


@dataclass(frozen=True)
class Done:
    """What a command ended with."""

    code: int
    out: str
    err: str


Provision = Callable[..., Done]


@dataclass(frozen=True)
class Workplace:
    """A folder to work in, and the package index that its inventory names."""

    folder: Path
    index: Index


@contextmanager
def opened(folder: Path) -> Iterator[Workplace]:
    """Fill a folder: packages that are served, a mirror of interpreters, an inventory whose hosts can't be reached."""
    index = Index(folder / "packages", "kim", PASSWORD)
    index.add_uv()
    index.add("ray", "2.60.0", "cp311-cp311-manylinux2014_x86_64", needs=["click"])
    index.add("ray", "2.60.0", "cp311-cp311-win_amd64", needs=["click", "colour"])
    index.add("redis", "7.0")
    index.add("msvc_runtime", "14.44", "cp311-cp311-win_amd64")
    index.add("click", "8.1")
    index.add("colour", "1.0")
    index.add("demo", "1.0", needs=["click"])
    archives = [pretended(folder / "made", "3.11.9", os_name) for os_name in ("linux", "windows")]
    address = mirror(folder / "mirror", archives)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with index.serving():
        (folder / "inventory.yml").write_text(INVENTORY.format(mirror=address, index=index.url, port=port))
        yield Workplace(folder, index)


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder, with no settings but its own."""
    for name in [name for name in os.environ if name.startswith(("UV_", "XDG_", "PROVISION_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "uv"))
    monkeypatch.setenv("PROVISION_CACHE", str(folder / "cache"))
    monkeypatch.setenv("INDEX_PW", PASSWORD)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with a lock file and a bundle, made once."""
    with pytest.MonkeyPatch.context() as monkeypatch, opened(tmp_path_factory.mktemp("finished")) as place:
        settle(place.folder, monkeypatch)
        for words in (["lock"], ["bundle", "-o", "all.bundle"]):
            monkeypatch.setattr("sys.argv", ["provision", *words])
            main()
        yield place


@pytest.fixture
def folder(finished: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a copy of the finished workplace, with its lock file but without its cache."""
    for name in ("inventory.yml", "inventory.lock.yml", "all.bundle"):
        shutil.copy(finished.folder / name, tmp_path / name)
    settle(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    """A workplace of the test's own, where nothing is locked."""
    with opened(tmp_path) as place:
        settle(tmp_path, monkeypatch)
        yield place


@pytest.fixture
def provision(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Provision:
    """Runs a command in this process."""

    def run(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["provision", *words])
        with pytest.raises(SystemExit) as caught:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return Done(int(caught.value.code or 0), out, err)

    return run


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
