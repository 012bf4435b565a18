"""What comes from an inventory or a host stays data where it meets another language: read back by that one's parser."""

from __future__ import annotations

import html
import plistlib
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provisioner.engine.remarks import about_leaving
from provisioner.remote.failure import Failure
from provisioner.remote.platforms import systemd
from provisioner.remote.platforms.macos import launchd
from provisioner.remote.platforms.variables import ProfileFile, VariablesFile
from provisioner.remote.platforms.windows import rules, taskxml

NASTY = "a$ \"'\\`;&|<>%\t\n\r\x00\x1b\x07\x9b\u202e\u2028{}()[]*?!#~=:@ö-"
texts = st.text(st.sampled_from(NASTY) | st.characters(), max_size=24)
lines = texts.filter(lambda text: not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", text))


def unit(path: str, account: str = "ray", cluster: str = "lab") -> str:
    """The unit that starts a launcher of that path."""
    host = SimpleNamespace(cluster=cluster, account=account)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(systemd, "launch_arguments", lambda *_: [f"{path}python", "-I", path, "run", f"{path}.json"])
        return systemd.Systemd(user_unit=False).definition(host, "ray-lab")  # type: ignore[arg-type]


def split_by_systemd(text: str) -> list[str]:
    """Words of an ExecStart line: systemd.service(5) COMMAND LINES, systemd.syntax(7) QUOTING, systemd.unit(5)
    SPECIFIERS. No variable may be left in it."""
    words: list[str] = []
    word, quote, escaped, started = "", "", False, False
    for letter in text:
        if escaped:
            assert letter in '\\"', "no other escape is written"
            word, escaped = word + letter, False
        elif letter == "\\":
            escaped = True
        elif quote:
            quote, word = ("", word) if letter == quote else (quote, word + letter)
        elif letter in "'\"":
            quote, started = letter, True
        elif letter in " \t":
            words, word, started = ([*words, word] if word or started else words), "", False
        else:
            word, started = word + letter, True
    assert not quote and not escaped
    words += [word] if word or started else []
    for each in words:
        assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", each), "a variable"
        assert not re.search(r"(?<!%)(%%)*%(?!%)", each), "a specifier"
    return [each.replace("$$", "$").replace("%%", "%") for each in words]


@given(texts)
def test_a_unit_says_what_was_meant_or_is_refused(path: str) -> None:
    path = "/" + path
    try:
        text = unit(path)
    except Failure:
        assert re.search(r"[\x00-\x1f\x7f$]", path)
        return
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    assert split_by_systemd(command) == [f"{path}python", "-I", path, "run", f"{path}.json"]
    assert len(text.split("\n")) == len(unit("/x").split("\n"))


@pytest.mark.parametrize("field", ["account", "cluster"])
def test_no_name_begins_a_line_of_a_unit(field: str) -> None:
    with pytest.raises(Failure, match="control character"):
        unit("/x", **{field: "ray\nExecStartPre=/bin/id"})


@given(account=texts, path=texts, cluster=texts)
def test_a_task_says_what_was_meant_or_is_refused(account: str, path: str, cluster: str) -> None:
    argv = ["C:\\" + path, "-I", path, "run"]
    try:
        text = taskxml.task_xml(cluster, account, password=False, elevated=True, argv=argv)
    except Failure:
        assert re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", account + path + cluster)
        return
    root = ElementTree.fromstring(text.encode("utf-16"))
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert root.findtext(".//t:Command", "", space) == argv[0]
    assert root.findtext(".//t:Arguments", "", space) == subprocess.list2cmdline(argv[1:])
    if account != "SYSTEM":
        assert root.findtext(".//t:UserId", "", space) in (account, "S-1-5-18")
    assert len(root.findall(".//t:Exec", space)) == 1
    told = taskxml.Registered(text)
    assert told.command == argv[0].strip().strip('"') or argv[0] != argv[0].strip(' "')


@given(texts)
def test_a_property_list_says_what_was_meant_or_is_refused(path: str) -> None:
    host = SimpleNamespace(cluster="lab", account="nobody-here", root="/" + path, path=lambda *names: "/".join(names))
    daemon = launchd.LaunchDaemon()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launchd, "launch_arguments", lambda *_: [path, "-I"])
        try:
            text = daemon.definition(host, "ray-lab")  # type: ignore[arg-type]
        except (ValueError, UnicodeEncodeError):  # told as a failure: see Conversation._guarded
            assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", path)
            return
    try:
        keys = plistlib.loads(text.encode())
    except Exception:
        assert re.search("[\ufffe\uffff]", path)
        return
    assert keys["ProgramArguments"] == [path.replace("\r\n", "\n").replace("\r", "\n"), "-I"]


@settings(max_examples=25)
@given(value=texts, before=lines)
def test_a_profile_says_what_was_meant_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, value: str, before: str
) -> None:
    file = tmp_path_factory.mktemp("home") / ".profile"
    file.write_text(f"# {before}\n", encoding="utf-8")
    kept = ProfileFile(str(file))
    assume(not re.search("[\ud800-\udfff]", value))
    try:
        kept.set("RAY_X", value)
    except Failure:
        assert "\n" in value or "\0" in value
        return
    assert kept.get("RAY_X") == value
    said = subprocess.run(["sh", "-c", f'. "{file}"; printf %s "$RAY_X"'], capture_output=True, check=True)
    assert said.stdout == value.encode() and said.stderr == b""


@given(texts)
def test_the_environment_file_says_what_was_meant_or_is_refused(value: str) -> None:
    with pytest.MonkeyPatch.context():
        file = VariablesFile("/nonexistent/environment")
    line = file.line("RAY_X", value)
    if "\n" not in value:
        assert file.value(line.split("=", 1)[1]) == value


@given(texts)
def test_a_firewall_script_holds_plain_names_only(name: str) -> None:
    line = rules.delete_line(name, "C:\\python.exe")
    (quoted,) = re.findall(r'rule name="([^"\n]*)" dir=in', line)
    assert quoted == name if rules.is_plain(name) else quoted == "all"
    assert "\n" not in line and "\r" not in line


@given(texts)
def test_commands_that_users_are_told_to_type_are_quoted(root: str) -> None:
    told = about_leaving({"root": "/" + root}, "teardown", "apply")
    assert told is not None
    command = told[1].split(": ", 1)[1]
    assert shlex.split(command) == ["rm", "-rf", *(f"/{root}/{name}" for name in ("env", "python", "store"))]
    told = about_leaving({"root": "C:\\" + root, "os": "windows"}, "teardown", "apply")
    assert told is not None
    whole = re.fullmatch(r'powershell "([^"]*)"', told[1].split(": ", 1)[1])
    assert whole, "one argument, whatever the shell"
    rest = re.sub(r"'(?:[^']|'')*'|[A-Za-z0-9_:.\\-]+", "", whole[1])
    assert set(rest) <= set(" ,"), "nothing stands outside of quotes"


def test_html_is_what_registered_tasks_are_read_with() -> None:
    assert html.unescape(taskxml.escaped("<&>\"'")) == "<&>\"'"


CONTROL = {"root": "/opt/x\nUser=root", "packages": ["duckdb\r--index-url http://x"],
           "ssh": {"user": "ray\u001b]52;c;x"}, "account": "ray\u202e"}  # fmt: skip


@pytest.mark.parametrize("key", CONTROL)
def test_an_inventory_with_control_characters_is_refused(key: str, tmp_path: Path) -> None:
    import json

    from provisioner.errors import InputError
    from provisioner.inventory.load import load_inventory
    from provisioner.report.lines import told_error

    values: dict[str, Any] = {"cluster": "lab", "python": "3.11.9", "ray": {"version": "2.60.0"}, "head": ["h"]}
    file = tmp_path / "inventory.yml"
    file.write_text(json.dumps({**values, key: CONTROL[key]}))
    with pytest.raises(InputError) as caught:
        load_inventory(file)
    said = told_error(caught.value)
    assert "control character U+" in said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
