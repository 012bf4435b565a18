"""The command line as users start it: help, versions, mistakes in sentences, and few imports."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import provisioner
from provisioner.cli import main
from provisioner.cli.main import cli, token_show
from provisioner.cli.next_steps import next_commands
from provisioner.cli.run import _telling_aside
from provisioner.errors import InputError
from provisioner.events import Notice, RunFinished
from provisioner.inventory.load import load_inventory
from provisioner.report import open_reports

PACKAGE = Path(provisioner.__file__).parent
INVENTORY = """\
cluster: lab
python: 3.11.9
ray: {version: 2.60.0}
head:
  ctl: {address: 192.0.2.1}
workers:
  w[1:2]: {}
"""


@dataclass(frozen=True)
class Done:
    """What a command ended with."""

    code: int
    out: str
    err: str


Provision = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with an inventory; there is no terminal."""
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "PROVISION_INVENTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path


@pytest.fixture
def provision(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Provision:
    """Runs a command in this process."""

    def run(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["provision", *words])
        with pytest.raises(SystemExit) as caught:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return run


COMMANDS = ("apply", "check", "rollback", "teardown", "lock", "bundle", "versions", "schema", "completion")


def test_help_lists_the_commands_in_the_order_of_their_use(provision: Provision) -> None:
    done = provision("--help")
    assert (done.code, done.err) == (0, "")
    places = [done.out.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", ["apply", "check", "rollback", "teardown"])
@pytest.mark.parametrize("code", [0, 2, 3])
def test_commands_to_type_next_can_be_typed(verb: Any, code: int, folder: Path) -> None:
    inventory = load_inventory(folder / "inventory.yml")
    flags = {"playbook": "mine.yml", "limit": ("ctl",), "purge": False, "bundle": "all.bundle"}
    commands = [words for words, _ in next_commands(verb, code, inventory, folder / "inventory.yml", flags)]
    for program, name, *words in (shlex.split(command) for command in commands if command.startswith("provision")):
        assert program == "provision"
        if name == "token":
            assert words[0] == "show" and token_show.make_context("show", words[1:])
            continue
        command = cli.commands[name]
        assert command.make_context(name, words).params["limit"] == ("ctl",)
    assert commands or code == 2 or (verb, code) == ("check", 0)


def test_what_cannot_help_is_not_suggested_again(folder: Path) -> None:
    inventory = load_inventory(folder / "inventory.yml")
    flags = {"playbook": None, "limit": ()}
    commands = [
        next_commands("rollback", 3, inventory, folder / "inventory.yml", flags, again) for again in (True, False)
    ]
    assert [command.split()[1] for ((command, _),) in commands] == ["rollback", "check"]


def test_the_list_of_commands_cuts_no_sentence_short(provision: Provision) -> None:
    assert "..." not in provision("--help").out.partition("Commands:")[2]


def test_version(provision: Provision) -> None:
    done = provision("--version")
    assert done.out == f"provision, version {provisioner.__version__}\n"


@pytest.mark.parametrize("words", ["--help", "apply --help", "--version"])
def test_help_imports_nothing_heavy(words: str) -> None:
    code = (
        "import sys\nfrom provisioner.cli import main\nsys.argv[1:] = " + repr(words.split()) + "\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    heavy = {"fabric", "paramiko", "yaml", "jsonschema", "rich", "jinja2", "requests", "cryptography", "platformdirs"}
    assert heavy.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("which", ["inventory", "playbook"])
def test_schemas_are_the_files(which: str, provision: Provision) -> None:
    done = provision("schema", which)
    assert done.out == (PACKAGE / which / "schema.json").read_text()
    json.loads(done.out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_us(shell: str, provision: Provision) -> None:
    done = provision("completion", shell)
    assert done.code == 0
    assert "_PROVISION_COMPLETE" in done.out


def test_completion_completes() -> None:
    words = {"_PROVISION_COMPLETE": "bash_complete", "COMP_WORDS": "provision te", "COMP_CWORD": "1"}
    env = {**os.environ, **words, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "provisioner.cli"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "plain,teardown\n"


MISTAKES = [
    ("nonsense", "No such command 'nonsense'"),
    ("apply --nonsense", "No such option"),
    ("apply nowhere.yml", "nowhere.yml"),
    ("apply --concurrency 0", "0 is not in the range"),
    ("apply --timeout x", "'x' is not a valid"),
    ("check --limit w9", "--limit w9: no host or group of that name"),
    ("check --limit wrokers", "did you mean workers"),
    ("check --playbook nowhere.yml", "nowhere.yml"),
    ("check broken.yml", "broken.yml:2:1: this is not YAML"),
    ("check --playbook broken.yml", "broken.yml:2:1: this is not YAML"),
    ("teardown", "say it with --yes"),
    ("schema nonsense", "'nonsense' is not one of"),
    ("completion tcsh", "'tcsh' is not one of"),
    ("check two.yml", "'ctl'"),
    ("check no_ray.yml", "no_ray.yml:3:16: Ray 2.60.7 does not exist; nearest: 2.60.0"),
    ("apply no_ray.yml --yes", "no_ray.yml:3:16: Ray 2.60.7 does not exist; nearest: 2.60.0"),
    ("apply no_python.yml --limit w1", "no_python.yml:2:9: no archive of Python 3.11.99 exists; nearest: 3.11."),
    ("versions nowhere.yml", "nowhere.yml"),
    ("versions broken.yml", "broken.yml:2:1: this is not YAML"),
]


@pytest.mark.parametrize(("words", "told"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_mistakes_are_told_in_sentences(words: str, told: str, folder: Path, provision: Provision) -> None:
    (folder / "broken.yml").write_text("a: [\n")
    (folder / "two.yml").write_text(INVENTORY.replace("head:\n", "head:\n  ctl: {address: 192.0.2.9}\n"))
    (folder / "no_ray.yml").write_text(INVENTORY.replace("2.60.0", "2.60.7"))
    (folder / "no_python.yml").write_text(INVENTORY.replace("3.11.9", "3.11.99"))
    done = provision(*words.split())
    assert done.code == 1
    assert told in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_mistakes_are_in_the_document_with_json(provision: Provision) -> None:
    done = provision("check", "--json", "--limit", "w9")
    assert done.code == 1
    document = json.loads(done.out)
    assert "--limit w9" in json.dumps(document)
    assert done.err == ""


@pytest.mark.parametrize("verb", ["check", "lock", "versions"])
def test_all_commands_tell_mistakes_in_the_same_document(verb: str, folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(INVENTORY + "nonsense: 1\n")
    done = provision(verb, "--json")
    assert (done.code, done.err) == (1, "")
    document = json.loads(done.out)
    assert list(document) == list(json.loads(provision("check", "--json", "--limit", "w9").out))
    assert (document["verb"], document["exit_code"], document["hosts"]) == (verb, 1, {})
    (notice,) = document["notices"]
    assert notice["host"] == "" and "inventory.yml:8:1: " in notice["message"] and "nonsense" in notice["message"]


def test_a_missing_secret_is_named(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(INVENTORY + "ssh: {password: {from_env: NO_SUCH_SECRET}}\n")
    done = provision("check")
    assert done.code == 1
    assert "NO_SUCH_SECRET" in done.err
    assert "inventory.yml:8:" in done.err


def test_without_an_inventory_what_was_found_is_listed(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").unlink()
    done = provision("check")
    assert done.code == 1
    assert "inventory" in done.err
    (folder / "inventory").mkdir()
    for name in ("a.yml", "b.yml"):
        (folder / "inventory" / name).write_text(INVENTORY)
    done = provision("check")
    assert done.code == 1
    assert "a.yml" in done.err and "b.yml" in done.err


def test_unreachable_hosts_end_with_4_and_a_log(folder: Path, provision: Provision) -> None:
    text = INVENTORY.replace("192.0.2.1", "127.0.0.1").replace("w[1:2]: {}", "w1: {address: 127.0.0.2}")
    (folder / "inventory.yml").write_text(text + "ssh: {port: 1, user: kim}\n")
    done = provision("check")
    assert done.code == 4, done.err
    shown = done.out + done.err
    assert "kim@127.0.0.1:1 refused the connection" in shown
    assert "unreachable" in shown
    assert "Traceback" not in shown, shown
    logs = list((folder / "home").rglob("*.jsonl"))
    assert len(logs) == 1
    assert str(logs[0]) in shown or str(logs[0]).replace(str(folder / "home"), "~") in shown


def test_a_teardown_works_whatever_the_versions(folder: Path, provision: Provision) -> None:
    text = INVENTORY.replace("192.0.2.1", "127.0.0.1").replace("w[1:2]: {}", "w1: {address: 127.0.0.2}")
    text = text.replace("2.60.0", "2.60.7").replace("3.11.9", "3.11.99")
    (folder / "inventory.yml").write_text(text + "ssh: {port: 1, user: kim}\n")
    done = provision("teardown", "--yes")
    assert done.code == 4, done.err
    assert "refused the connection" in done.out


def test_what_was_found_good_is_not_judged_again(
    folder: Path, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = INVENTORY.replace("192.0.2.1", "127.0.0.1").replace("w[1:2]: {}", "w1: {address: 127.0.0.2}")
    text += "ssh: {port: 1, user: kim}\n"
    (folder / "inventory.yml").write_text(text)
    assert provision("check").code == 4

    def judge(*_: object) -> None:
        raise InputError("judged")

    monkeypatch.setattr("provisioner.engine.fleet.check_fleet", judge)
    (folder / "inventory.yml").write_text(text + "# the same hosts and versions\n")
    assert provision("apply").code == 4
    for name, value in [("2.60.0", "2.59.0"), ("3.11.9", "3.11.10"), ("127.0.0.2", "127.0.0.2, os: windows")]:
        (folder / "inventory.yml").write_text(text.replace(name, value))
        assert "judged" in provision("apply").err
    (folder / "inventory.yml").write_text(text)
    monkeypatch.setenv("UV_PYTHON_CPYTHON_BUILD", "20240814")
    assert "judged" in provision("apply").err


FLEET = """\
cluster: lab
python: 3.11.9
ray: {version: RAY}
head: {ctl: {os: linux, arch: x86_64}}
workers: {"w[1:4]": {os: windows}, any: {}}
"""


def test_versions_are_shown_as_a_table(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(FLEET.replace("RAY", "2.57.0"))
    done = provision("versions")
    assert (done.code, done.err) == (0, "")
    title, _, head, *rows = done.out.splitlines()
    assert title == "Versions that go with every host of lab (6 hosts)"
    assert re.fullmatch("RAY( +PYTHON 3[.][0-9]+)+", head)
    cells = {row.split()[0]: row.split()[1:] for row in rows[: rows.index("")]}
    assert re.fullmatch(r"\* - - 3\.12\.\d+ 3\.11\.9 \* 3\.10\.\d+", " ".join(cells["2.57.0"]))
    assert re.fullmatch(r"- - 3\.12\.\d+ 3\.11\.\d+ 3\.10\.\d+", " ".join(cells["2.57.1"]))
    assert "-" not in cells["2.60.0"]
    assert list(cells) == sorted(cells, reverse=True)
    for told in [
        "* now: Ray 2.57.0 with Python 3.11.9 goes with every host",
        "  Windows x86_64 (w1, w2, w3 and 1 more): Python 3.10 to 3.14; 3.13 and 3.14 from Ray 2.58.0 on",
        "  Linux and Windows in one cluster: Ray 2.56.1 or newer",
        "Assumed to be Linux x86_64 until asked: any",
    ]:
        assert told in rows


def test_versions_say_what_is_wrong_now(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(FLEET.replace("RAY", "2.46.0"))
    done = provision("versions")
    assert done.code == 0
    assert "* now: Ray 2.46.0 with Python 3.11.9 does not go:\n  Linux and Windows in one cluster need" in done.out
    assert "\n2.60.0 " in done.out and "\n2.46.0" not in done.out


def test_versions_as_json(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(FLEET.replace("RAY", "2.57.0"))
    document = json.loads(provision("versions", "--json").out)
    assert (document["cluster"], document["inventory"]) == ("lab", "inventory.yml")
    assert (document["ray"], document["python"], document["problems"]) == ("2.57.0", "3.11.9", [])
    assert document["choices"][0]["ray"] == "2.60.0"
    assert [kind["system"] for kind in document["kinds"]] == ["Linux x86_64", "Windows x86_64"]
    assert document["kinds"][0]["assumed"] == ["any"]


def test_without_any_version_that_goes_the_code_is_1(folder: Path, provision: Provision) -> None:
    (folder / "inventory.yml").write_text(FLEET.replace("RAY", "2.57.0").replace("any: {}", "any: {os: macos}"))
    done = provision("versions")
    assert done.code == 1
    assert "without macOS x86_64 there would be some" in done.out
    assert "RAY " not in done.out


def test_what_can_not_be_told_aside_is_in_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, out = io.StringIO(), io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with open_reports(verb="apply", cluster="lab", json=True, stream=out) as reports:
        _telling_aside(reports)(Notice(0.0, "", "stopping: h1 is lost", "run again", urgent=True))
        reports.emit(RunFinished(0.0, "apply", 4))
    assert "stopping: h1 is lost" in out.getvalue()
