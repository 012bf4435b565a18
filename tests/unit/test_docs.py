"""What the docs show can be typed, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from provisioner.cli.main import cli

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
ADDRESS = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.M)


def commands(page: Path) -> Iterator[str]:
    """Yield every line of an indented or fenced block, and every piece of code in the text, that begins with ours."""
    for line in page.read_text(encoding="utf-8").splitlines():
        shown = re.match(r"(?: {4,}|\$ )?(provision [a-z-]+.*?)(?:\s{2,}\S.*|\s+#.*)?$", line)
        if shown and line.startswith(("    ", "$ ")):
            yield shown[1]
        yield from re.findall(r"`(provision [a-z][a-z-]*[^`|]*)`", line)


CASES = sorted({(page.name, command) for page in PAGES for command in commands(page)})


def words(command: str) -> list[str]:
    return shlex.split(command.replace("...", "").rstrip(": "))


@pytest.mark.parametrize(("page", "command"), CASES)
def test_a_command_that_is_shown_exists_with_its_flags(page: str, command: str) -> None:
    group: click.Command = cli
    rest = words(command)[1:]
    while isinstance(group, click.Group) and rest and not rest[0].startswith("-"):
        name = rest[0]
        for each in name.split("|"):
            assert each in group.commands, f"{page}: there is no `{command}`"
        group = group.commands[name.split("|")[0]]
        rest = rest[1:]
    known = {flag for option in group.params for flag in option.opts + option.secondary_opts} | {
        "--help",
        "-h",
        "--version",
    }
    given = rest[: rest.index("--")] if "--" in rest else rest
    flags = {each.strip("[]").partition("=")[0] for each in given if each.lstrip("[").startswith("-")}
    assert flags <= known, f"{page}: `{command}` knows no {flags - known}"


def test_there_are_commands_to_look_at() -> None:
    assert len(CASES) > 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in ADDRESS.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target} leads nowhere"
        if anchor and file.suffix == ".md":
            assert anchor in {slug(each) for each in HEADING.findall(file.read_text(encoding="utf-8"))}, target


def slug(heading: str) -> str:
    """Return what a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
