"""What a Mac is, and what interpreters go with it."""

from __future__ import annotations

import json
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import launch, service
from provisioner.remote.platforms.macos import machine, privacy
from provisioner.remote.platforms.posix import Posix
from provisioner.remote.resources.ray_checks import start_failure

from .mac_host import Mac, host_of

VERSION = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
\t<key>ProductBuildVersion</key>
\t<string>24G90</string>
\t<key>ProductName</key>
\t<string>macOS</string>
\t<key>ProductUserVisibleVersion</key>
\t<string>%s</string>
\t<key>ProductVersion</key>
\t<string>%s</string>
</dict>
</plist>
"""


@pytest.mark.parametrize(
    ("platform", "compatible", "found"),
    [("15.6.1", "10.16", "15.6.1"), (None, "10.15.7", "10.15.7"), ("26.1", None, "26.1"), (None, None, "")],
)
def test_the_release(platform: str | None, compatible: str | None, found: str, tmp_path: Path) -> None:
    files = []
    for name, version in (("platform", platform), ("compatible", compatible)):
        files.append(str(tmp_path / name))
        if version:
            Path(files[-1]).write_text(VERSION % (version, version))
    assert machine.release(files) == found


def test_a_damaged_release_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe<key>ProductVersion</key>")
    assert machine.release([str(tmp_path / "x")]) == ""


@pytest.mark.parametrize(
    ("kernel", "translated", "arch"),
    [("arm64", False, "aarch64"), ("x86_64", True, "aarch64"), ("x86_64", False, "x86_64")],
)
def test_the_processor(kernel: str, translated: bool, arch: str) -> None:
    assert machine.processor(kernel, translated) == arch


def test_nothing_is_translated_where_the_kernel_knows_no_such_name() -> None:
    assert machine.is_translated() is False


def thin(cputype: int) -> bytes:
    return struct.pack("<IIII", 0xFEEDFACF, cputype, 0, 2) + b"\0" * 16


def fat(*cputypes: int, magic: int = 0xCAFEBABE) -> bytes:
    size = 20 if magic == 0xCAFEBABE else 32
    rows = (struct.pack(">I", each).ljust(size, b"\0") for each in cputypes)
    return struct.pack(">II", magic, len(cputypes)) + b"".join(rows)


INTEL, ARM = 0x01000007, 0x0100000C


@pytest.mark.parametrize(
    ("content", "processors"),
    [
        (thin(ARM), {"aarch64"}),
        (thin(INTEL), {"x86_64"}),
        (fat(INTEL, ARM), {"x86_64", "aarch64"}),
        (fat(INTEL, ARM, magic=0xCAFEBABF), {"x86_64", "aarch64"}),
        (fat(7), set()),
        (b"#!/bin/sh\nexec python3\n", set()),
        (b"\xca\xfe\xba\xbe\x00\x00\x00\x34", set()),
        (b"", set()),
    ],
)
def test_what_a_program_is_made_for(content: bytes, processors: set[str], tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    assert machine.processors_of(str(path)) == processors


@pytest.mark.parametrize("own", ["aarch64", "x86_64"])
def test_no_interpreter_for_the_other_processor(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"arm": thin(ARM), "intel": thin(INTEL), "both": fat(INTEL, ARM), "script": b"#!/bin/sh\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    every = [str(tmp_path / name) for name in contents]
    mac = Mac({})
    monkeypatch.setattr(Posix, "find_interpreters", lambda *_: list(every))
    monkeypatch.setattr(mac, "processor", lambda: own)
    wanted = {"arm", "both", "script"} if own == "aarch64" else {"intel", "both", "script"}
    assert {Path(path).name for path in mac.find_interpreters("3.11.9")} == wanted


def test_facts_start_no_program() -> None:
    mac = Mac({})
    facts = mac.facts()
    assert facts["os"] == "macos"
    assert facts["arch"] in ("x86_64", "aarch64")
    assert {"hostname", "macos_version", "python", "privileged", "clock"} <= set(facts)
    assert mac.ran == []
    json.dumps(facts)


@pytest.mark.parametrize("user", ["ray", "a-rather-long-name-for-an-account"])
def test_sockets_have_room_below_the_temp_dir(user: str) -> None:
    host = host_of(Mac({}), Path(f"/Users/{user}/.provision/clusters/seoul-lab"))
    longest = "/session_2026-11-23_05-54-13_591000_99998/sockets/plasma_store"
    assert len(host.temp_dir() + longest) <= 103, "sys/un.h of macOS"
    assert not host.temp_dir().startswith("/tmp/"), "which is swept of what nobody has read for three days"


def taken_port() -> tuple[socket.socket, int]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def note(folder: Path, gcs: str, system: str = "darwin", argv: tuple[str, ...] = ("ray",)) -> Any:
    path = folder / "log"
    launch.note_reach({"gcs": gcs, "log": str(path), "argv": list(argv)}, system)
    reach = folder / "log.reach"
    return json.loads(reach.read_text()) if reach.exists() else None


def test_a_service_notes_whether_it_reaches_the_head(tmp_path: Path) -> None:
    server, port = taken_port()
    with server:
        assert note(tmp_path, f"127.0.0.1:{port}") == {"gcs": f"127.0.0.1:{port}", "errno": 0, "error": ""}
    found = note(tmp_path, f"127.0.0.1:{port}")
    assert (found["errno"], found["error"]) == (111, "Connection refused")


@pytest.mark.parametrize(("system", "argv"), [("linux", ("ray",)), ("darwin", ("ray", "--head"))])
def test_nobody_else_notes_anything(system: str, argv: tuple[str, ...], tmp_path: Path) -> None:
    assert note(tmp_path, "127.0.0.1:1", system, argv) is None


@pytest.mark.parametrize(
    ("text", "manager", "words", "remedy"),
    [
        ({"gcs": "10.0.0.10:6379", "errno": 65}, "process", "10.0.0.10:6379.*local network", "become: true"),
        ({"gcs": "10.0.0.10:6379", "errno": 65}, "launchd", "10.0.0.10:6379.*local network", "restart the Mac"),
        ({"gcs": "10.0.0.10:6379", "errno": 61}, "launchd", "RayError", "whole log"),
        ({"gcs": "10.0.0.10:6379", "errno": 0}, "launchd", "RayError", "whole log"),
        ([], "launchd", "RayError", "whole log"),
        (None, "launchd", "RayError", "whole log"),
    ],
)
def test_a_start_that_privacy_forbids_is_told(text: Any, manager: str, words: str, remedy: str, tmp_path: Path) -> None:
    host = host_of(Mac({}), tmp_path, service=manager)
    Path(host.folder("log"))
    Path(service.log_path(host, "ray-lab")).write_text("RayError: no answer\n")
    if text is not None:
        Path(privacy.reach_path(host, "ray-lab")).write_text(json.dumps(text))
    failure = start_failure(host, "ray-lab", "ended right after its start")
    assert failure.message.startswith("Ray ended right after its start: ")
    assert re.search(words, failure.message)
    assert remedy in failure.remedy


def test_a_link_in_place_of_the_note_is_not_followed(tmp_path: Path) -> None:
    host = host_of(Mac({}), tmp_path)
    secret = tmp_path / "secret"
    secret.write_text('{"gcs": "1:2", "errno": 65}')
    host.folder("log")
    Path(privacy.reach_path(host, "ray-lab")).symlink_to(secret)
    assert privacy.hint(host, "ray-lab") is None
