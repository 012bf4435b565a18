"""Files that come from the mirror host, or from the controller whatever the mirror does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import handout, pull
from provisioner.remote.failure import Failure

from .handout_site import CONTENT, MIRROR, SHA256, TOKEN, Site, site, whole

__all__ = ["site"]


def test_a_file_comes_from_the_mirror(site: Site) -> None:
    assert site.fetch() == CONTENT
    assert site.controller.sent == []
    assert site.wire.sent == [(SHA256, 0)]
    assert site.said[0] == "receiving packages from h1, 0 of 1 MB"
    assert site.detours() == []


def test_many_come_with_one_question(site: Site) -> None:
    files: list[dict[str, Any]] = []
    for number in range(30):
        content = b"%d" % number * 70_000
        site.wire.offer(content)
        files.append({"sha256": site.controller.offer(content), "filename": str(number), "size": len(content)})

    def source(args: dict[str, Any]) -> dict[str, Any]:
        site.asked.append(args["files"])
        files_ = [each["sha256"] for each in files[:20]]
        return {"name": "h1", "address": MIRROR, "port": site.hold(*files[:20]), "token": TOKEN, "files": files_}

    site.controller.answers["controller", "source"] = source
    paths = site.store().fetch_all(files, "packages")
    assert all(Path(paths[each["sha256"]]).stat().st_size == each["size"] for each in files)
    assert site.asked == [[each["sha256"] for each in files]]
    assert [sha256 for sha256, _ in site.wire.sent] == [each["sha256"] for each in files[:20]]
    assert [sha256 for sha256, _ in site.controller.sent] == [each["sha256"] for each in files[20:]]


def test_a_file_that_the_mirror_is_receiving_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "WAIT", 0.1)
    site.wire.go.clear()
    threading.Timer(0.5, site.wire.go.set).start()
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])


def test_a_cut_transfer_goes_on_at_the_mirror(site: Site) -> None:
    site.part().parent.mkdir(parents=True)
    site.part().write_bytes(CONTENT[:-5])
    assert site.fetch() == CONTENT
    assert site.controller.sent == []


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" + CONTENT[1:]], ids=["begun", "complete"])
def test_a_damaged_beginning_is_fetched_anew_from_the_mirror(part: bytes, site: Site) -> None:
    site.part().parent.mkdir(parents=True)
    site.part().write_bytes(part)
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])


def test_the_mirror_does_not_use_a_damaged_file_of_its_own(site: Site) -> None:
    there = site.world.root / "store" / SHA256 / "a.whl"
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(len(CONTENT)))
    assert site.fetch() == CONTENT
    assert site.wire.sent == [(SHA256, 0)]
    assert site.controller.sent == []


def test_what_is_damaged_all_the_same_is_noticed_on_arrival(site: Site) -> None:
    whole(site)
    (site.world.root / "store" / SHA256 / "a.whl").write_bytes(bytes(len(CONTENT)))
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, 0)]
    assert site.detours() == ["what it handed out as a.whl is damaged"]


def test_a_file_of_another_size_is_not_taken(site: Site) -> None:
    whole(site)
    (site.world.root / "store" / SHA256 / "a.whl").write_bytes(CONTENT + b"x")
    assert site.fetch() == CONTENT
    assert site.detours() == ["it hands out a.whl with another size"]


def test_what_the_mirror_can_not_have_comes_from_the_controller(site: Site) -> None:
    site.wire.files.clear()
    site.hold()
    assert site.fetch() == CONTENT
    assert site.detours() == ["it answers HTTP 404"]


def test_after_a_failure_the_mirror_is_left_alone(site: Site) -> None:
    site.port = closed_port()
    store = site.store()
    assert site.fetch(store) == CONTENT
    assert site.detours() == [f"{MIRROR} port {site.port}: Connection refused"]
    other = site.controller.offer(b"other")
    store.fetch(other, "b.whl", 5)
    assert len(site.asked) == len(site.detours()) == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind((MIRROR, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("answer", [None, Failure("no answer from controller")])
def test_without_a_mirror_everything_comes_from_the_controller(answer: Any, site: Site) -> None:
    def source(args: Any) -> Any:
        if answer:
            raise answer
        return answer

    site.controller.answers["controller", "source"] = source
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, 0)]
    assert site.detours() == []


def test_a_file_for_one_host_only_never_goes_that_way(site: Site) -> None:
    site.store().fetch(SHA256, "content", len(CONTENT), direct=True)
    assert (site.asked, site.controller.sent) == ([], [(SHA256, 0)])


class Stand:
    """A server in place of the mirror, which does with each connection what it is told."""

    def __init__(self, *acts: Callable[[socket.socket], None]) -> None:
        self.acts = list(acts)
        self.heard: list[bytes] = []
        self.listener = socket.create_server((MIRROR, 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            for act in self.acts:
                connection, _ = self.listener.accept()
                self.heard.append(connection.recv(4096))
                with contextlib.suppress(OSError), connection:
                    act(connection)


def says(*pieces: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return act


def body(offset: int = 0, length: int | None = None) -> bytes:
    status = "206 Partial Content" if offset else "200 OK"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(CONTENT) - offset}\r\n\r\n".encode() + CONTENT[offset:][:length]


HALF = len(CONTENT) // 2


FAILURES = {
    "silent": (says(b"", pause=2), "it does not answer"),
    "silent in the middle": (says(body(0, HALF), pause=2), "it does not answer"),
    "hangs up": (says(), "it hung up"),
    "endless": (says(*[b"X-Header: value\r\n" * 100] * 40), "what it says does not end"),
    "another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "what answers there is no mirror"),
    "an error": (says(b"HTTP/1.1 500 Oh\r\n\r\n"), "it answers HTTP 500"),
    "slow": (says(*[body(0, 100)] + [b"x"] * 60, pause=0.02), "it sends only 0 kB a second"),
    "waits for ever": (
        says(*[b"HTTP/1.1 503 x\r\nX-Received: 5\r\n\r\n"] * 60, pause=0.02), "it receives nothing itself"
    ),
    "wrong bytes": (says(body()[:-1] + b"?"), "what it handed out as a.whl is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "reason"), FAILURES.values(), ids=FAILURES)
def test_whatever_the_mirror_does_the_file_comes(
    act: Callable[[socket.socket], None], reason: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_LIMIT", 0.5)
    monkeypatch.setattr(pull, "PATIENCE", 0.3)
    stand = Stand(act, act, act)
    site.port = stand.port
    begun = time.monotonic()
    assert site.fetch() == CONTENT
    (told,) = site.detours()
    assert told in (reason, f"{MIRROR} port {stand.port}: {reason}")
    assert time.monotonic() - begun < 5
    assert site.controller.sent[-1][1] == (HALF if act is FAILURES["silent in the middle"][0] else 0)
    stand.listener.close()


def test_a_connection_that_breaks_once_is_made_again(site: Site) -> None:
    """And goes on where it broke."""
    stand = Stand(says(body(0, HALF)), says(body(HALF)))
    site.port = stand.port
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])
    assert f"Range: bytes={HALF}-".encode() in stand.heard[1]
    stand.listener.close()


def test_a_mirror_that_is_gone_leaves_what_it_sent(site: Site) -> None:
    stand = Stand(says(body(0, HALF)))
    site.port = stand.port
    threading.Timer(0.2, stand.listener.close).start()
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, HALF)]
    assert len(site.detours()) == 1
