"""A bare host fetches its interpreter from the mirror with what it has; whatever goes wrong, it comes from here."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.remote import handout, pull
from provisioner.transport import fetchers
from tests import interpreters
from tests.unit.remote_host import World

from .bare import USUAL, Bare, Make, managed, was_sent, whole
from .neighbour import ADDRESS, TOKEN, Mirror, head

pytestmark = pytest.mark.usefixtures("every_word")
TOOLS = [tool for tool in ("curl", "wget") if shutil.which(tool) or os.environ.get("CI") == "true"]
Given = Callable[..., Mirror]


@pytest.fixture
def mirror(archive: interpreters.Archive) -> Iterator[Mirror]:
    made = Mirror(archive.path.read_bytes())
    yield made
    made.close()


def part_of(host: Bare, archive: interpreters.Archive) -> Path:
    """Return where what comes from the mirror is until it is whole."""
    folder = host.home / ".provision" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{archive.sha256}.tar.gz.w1.part"


def first_sent(host: Bare) -> int:
    """Return how many MB were there when the first piece was sent from here."""
    return next(int(text.split(", ")[1].split()[0]) for text in host.told if text.startswith("sending Python"))


@pytest.mark.parametrize("tool", TOOLS)
def test_it_comes_from_the_mirror(bare: Make, archive: interpreters.Archive, mirror: Mirror, tool: str) -> None:
    host = bare((*USUAL, tool))
    assert host.contact(mirror.choice(managed(archive)))["python"] == archive.version
    assert host.left() == whole(archive)
    assert not was_sent(host)
    assert (mirror.offsets, mirror.detours, mirror.peers) == ([0], [], ["127.0.0.3"])
    assert f"waiting for h1 to hand out Python {archive.version}" in host.told
    host.contact(mirror.choice(managed(archive)))
    assert (len(host.commands), mirror.asked) == (1, 1), "from then on nobody is asked"


@pytest.mark.parametrize("tool", TOOLS)
def test_the_token_is_nobody_elses_business(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, tool: str, tmp_path: Path
) -> None:
    host, seen = bare((*USUAL, "stat")), tmp_path / "seen"
    host.script(tool, f'echo "$@" >> {seen}; stat -c %a .provision/python/*.request >> {seen}; '
                      f'exec {shutil.which(tool)} "$@"')  # fmt: skip
    host.contact(mirror.choice(managed(archive)))
    assert not was_sent(host)
    assert seen.read_text().splitlines()[-1] == "600"
    assert TOKEN not in seen.read_text() + " ".join(host.commands)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("right", [True, False], ids=["good", "damaged"])
def test_a_part_is_gone_on_with(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, tool: str, right: bool
) -> None:
    host = bare((*USUAL, tool))
    part_of(host, archive).write_bytes(mirror.content[:3_000_000] if right else b"?" * 3_000_000)
    host.contact(mirror.choice(managed(archive)))
    assert mirror.offsets == ([3_000_000] if right else [3_000_000, 0])
    assert (mirror.detours, host.left(), was_sent(host)) == ([], whole(archive), False)


def test_what_is_whole_but_has_no_name_yet_is_not_fetched(
    bare: Make, archive: interpreters.Archive, mirror: Mirror
) -> None:
    host = bare((*USUAL, TOOLS[0]))
    part_of(host, archive).write_bytes(mirror.content)
    host.contact(mirror.choice(managed(archive)))
    assert (mirror.offsets, mirror.detours, host.left()) == ([], [], whole(archive))


@pytest.mark.parametrize("tools", [(), ("busybox",)], ids=["nothing", "a wget that shows the token"])
def test_without_a_program_for_it_nobody_waits(
    tools: tuple[str, ...], bare: Make, archive: interpreters.Archive, mirror: Mirror
) -> None:
    host = bare()
    if tools:
        host.script("wget", "echo 'wget: unrecognized option: version' >&2; exit 1")
    host.contact(mirror.choice(managed(archive)))
    assert mirror.asked == 0
    assert mirror.detours == ["it has neither curl nor wget -> install curl there"]
    assert was_sent(host)
    assert host.left() == whole(archive)


def turned(content: bytes) -> bytes:
    """As many bytes, and one of them another."""
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("answer", "reason", "there"),
    [
        (lambda mirror, offset: head(404, 0), "it answers HTTP 404", 0),
        (lambda mirror, offset: None, "127.0.0.2 port ", 0),
        (lambda mirror, offset: mirror.rest(offset)[:3_000_000], "127.0.0.2 port ", 6),
        (lambda mirror, offset: head(200, len(mirror.content)) + turned(mirror.content), "is damaged", 0),
        (lambda mirror, offset: head(200, 9) + b"something", "127.0.0.2 port ", 0),
        (lambda mirror, offset: head(503, 0, "X-Received: 17"), "it receives nothing itself", 0),
        (lambda mirror, offset: head(503, 0, "Retry-After: 1"), "too many hosts fetch from it", 0),
    ],
    ids=["not there", "hangs up", "hangs up in the middle", "damaged", "another file", "stands still", "busy"],
)
def test_whatever_the_mirror_does_the_host_gets_it(
    answer: Callable[[Mirror, int], bytes | None], reason: str, there: int, tool: str, bare: Make,
    archive: interpreters.Archive, mirror: Mirror, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(pull, "PATIENCE", 1.0)
    mirror.answer = lambda offset: answer(mirror, offset)
    host = bare((*USUAL, tool))
    assert host.contact(mirror.choice(managed(archive)))["python"] == archive.version
    (told,) = mirror.detours
    assert reason in told
    assert (was_sent(host), host.left()) == (True, whole(archive))
    assert first_sent(host) == there, "what came from there is not sent from here"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_port_that_nobody_listens_on(bare: Make, archive: interpreters.Archive, mirror: Mirror, tool: str) -> None:
    mirror.close()
    host = bare((*USUAL, tool))
    host.contact(mirror.choice(managed(archive), port=1))
    (told,) = mirror.detours
    assert told.startswith("127.0.0.2 port 1: ")
    assert (was_sent(host), host.left()) == (True, whole(archive))


def test_a_port_that_is_blocked_is_given_up(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would answer is full: as with a firewall that drops, nobody says a word."""
    monkeypatch.setattr(fetchers, "CONNECT_LIMIT", 1)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((ADDRESS, 0))
        full.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        host = bare((*USUAL, TOOLS[0]))
        host.contact(mirror.choice(managed(archive), port=full.getsockname()[1]))
    assert len(mirror.detours) == 1
    assert was_sent(host)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_host_that_the_others_know_under_a_foreign_address(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, tool: str
) -> None:
    host = bare((*USUAL, tool))
    host.contact(mirror.choice(managed(archive), own="203.0.113.7"))
    assert (mirror.detours, was_sent(host), len(mirror.peers)) == ([], False, 1)


def test_a_mirror_that_shares_the_home_folder(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, tmp_path: Path
) -> None:
    """While the others wait for it, it has brought what they wait for."""
    (tmp_path / "shared").mkdir()
    first, second = (bare((*USUAL, TOOLS[0]), tmp_path / "shared") for _ in range(2))
    mirror.waiting = lambda: first.open(managed(archive)).close()
    second.contact(mirror.choice(managed(archive)))
    assert (was_sent(first), was_sent(second), mirror.offsets) == (True, False, [])


def test_the_real_mirror_hands_out_what_first_contact_brought_to_it(
    bare: Make, archive: interpreters.Archive, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not sent to it again, and lies in its store from then on."""
    brought = tmp_path / "python"
    brought.mkdir()
    shutil.copy(archive.path, brought / f"{archive.sha256}.tar.gz")
    monkeypatch.setattr("provisioner.remote.brought.interpreters", lambda: str(brought))
    world = World(tmp_path)
    world._hello["node_ip"] = ADDRESS
    there = world.host()
    there.wire.received = 0
    wanted = {"sha256": archive.sha256, "filename": "python.tar.gz", "size": archive.path.stat().st_size}
    order = {"port": 0, "token": TOKEN, "members": ["127.0.0.3"], "files": [wanted]}
    port = handout.hold(there, order)
    try:
        for tool in TOOLS:
            host = bare((*USUAL, tool))
            host.contact(mirror.choice(managed(archive), port=port))
            assert (mirror.detours, was_sent(host), host.left()) == ([], False, whole(archive))
    finally:
        there.shared["handout"].close()
    assert list(brought.iterdir()) == []
    stored = Path(there.path("store", archive.sha256, "python.tar.gz"))
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == archive.sha256
    assert world.controller.sent == []
