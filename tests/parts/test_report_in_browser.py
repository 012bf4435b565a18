"""The page of a run as a browser shows it: without a complaint, quickly, light, dark and on paper."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from provisioner.report.page import html_page
from tests import debian
from tests.unit.test_report_page import a_run, replay

LIMIT = 120
DARK = "--blink-settings=preferredColorScheme=0"


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser; where there is none it is installed."""
    debian.need(chromium="chromium")
    return shutil.which("chromium") or "chromium"


def page(folder: Path, hosts: int) -> Path:
    file = folder / f"{hosts}.html"
    file.write_text(html_page(replay(folder, a_run(hosts))), encoding="utf-8")
    return file


def browse(chromium: str, file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
    profile = f"--user-data-dir={file.parent / 'profile'}"
    command = [chromium, *words, profile, "--window-size=1100,1700", *flags, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)


def colour(picture: Path) -> tuple[int, ...]:
    """Return the colour of a picture's first pixel: PNG keeps the first one of a line as it is, whatever its filter."""
    import struct
    import zlib

    data = picture.read_bytes()
    place, packed = 8, b""
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + size]
        place += 12 + size
    return tuple(zlib.decompressobj().decompress(packed, 4)[1:4])


@pytest.mark.parametrize(("flags", "light"), [((), True), ((DARK,), False)], ids=["light", "dark"])
def test_it_is_as_light_or_dark_as_the_rest(chromium: str, tmp_path: Path, flags: tuple[str, ...], light: bool) -> None:
    picture = tmp_path / "picture.png"
    said = browse(chromium, page(tmp_path, 3), f"--screenshot={picture}", *flags).stderr
    assert "CONSOLE" not in said, "the page's own rules forbid something that it holds"
    assert (sum(colour(picture)) > 3 * 128) == light


def test_it_can_be_printed(chromium: str, tmp_path: Path) -> None:
    paper = tmp_path / "page.pdf"
    browse(chromium, page(tmp_path, 3), f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF-")


def test_500_hosts_are_shown_quickly(chromium: str, tmp_path: Path) -> None:
    file = page(tmp_path, 500)
    browse(chromium, page(tmp_path, 3), "--dump-dom")  # the browser itself is started for the first time
    begun = time.monotonic()
    shown = browse(chromium, file, "--dump-dom")
    assert "w499" in shown.stdout and "</html>" in shown.stdout
    assert "CONSOLE" not in shown.stderr
    assert time.monotonic() - begun < 30
