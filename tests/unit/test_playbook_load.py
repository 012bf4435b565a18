"""Loading a playbook: what it means, and every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioner.errors import InputError, InputErrors
from provisioner.playbook import load as loading
from provisioner.playbook.load import SCHEMA, default_playbook, load_playbook
from provisioner.playbook.model import Playbook

PLAY = "- play: One\n  hosts: all\n  tasks:\n"
TASK = "    - {name: T, python: {}}\n"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "play.yml"


def load(file: Path, text: str) -> Playbook:
    file.write_text(text)
    return load_playbook(file)


def test_a_playbook(file: Path) -> None:
    text = """\
- play: Prepare
  hosts: all
  tasks:
    - name: Install
      environment:
- play: Start
  hosts: [workers, gpu]
  needs: Prepare
  tasks:
    - name: Work
      when: {os: linux, changed: true}
      command: {argv: [echo, "{{ host.name }}"], creates: /x}
"""
    prepare, start = load(file, text).plays
    assert (prepare.hosts, prepare.needs, prepare.tasks[0].params) == (("all",), (), {})
    assert (start.hosts, start.needs) == (("workers", "gpu"), ("Prepare",))
    task = start.tasks[0]
    assert (task.resource, task.when) == ("command", {"os": "linux", "changed": True})
    assert str(task.place) == f"{file}:10:7"
    assert str(task.places[("params", "argv", 1)]) == f"{file}:12:30"


BAD: list[tuple[str, str, str]] = [
    ("a: 1\n", "1:1", "the file wants a list of plays; got a mapping"),
    ("[]\n", "1:1", "the file wants at least 1 item(s)"),
    ("- a\n", "1:3", "item 1 wants a play: play, hosts, tasks; got 'a'"),
    ("- play: One\n  hosts: all\n", "1:3", "item 1 lacks the key 'tasks'"),
    ("- play: One\n  hosts: all\n  tasks: []\n", "3:10", "'tasks' wants at least 1 item(s)"),
    ("- play: One\n  hosts: []\n  tasks:\n" + TASK, "2:10", "'hosts' wants at least 1 item(s)"),
    (
        "- play: One\n  host: all\n  hosts: all\n  tasks:\n" + TASK,
        "2:3",
        "unknown key of a play 'host'\n  -> did you mean 'hosts'?",
    ),
    (PLAY + "    - python: {}\n", "4:7", "item 1 of 'tasks' lacks the key 'name'"),
    (PLAY + "    - name: T\n", "4:7", "the task 'T' has no resource"),
    (PLAY + "    - {name: T, python: {}, members: {}}\n", "4:7", "the task 'T' has 2 resources: python, members"),
    (
        PLAY + "    - {name: T, enviroment: {}}\n",
        "4:17",
        "unknown resource 'enviroment'\n  -> did you mean 'environment'?",
    ),
    (PLAY + "    - {name: T, zzz: {}}\n", "4:17", "unknown resource 'zzz'\n  -> allowed: certificate, command"),
    (PLAY + "    - {name: T, python: {verson: 1}}\n", "4:26", "unknown key 'verson'\n  -> did you mean 'version'?"),
    (PLAY + "    - {name: T, python: {version: 3.10}}\n", "4:35", "'version' wants a text; got 3.10"),
    (
        PLAY + "    - {name: T, python: 3}\n",
        "4:25",
        "'python' wants a mapping of the resource's values, or nothing; got 3",
    ),
    (PLAY + "    - {name: T, variable: {name: X}}\n", "4:27", "'variable' lacks the key 'value'"),
    (PLAY + "    - {name: T, environment: {packages: abc}}\n", "4:31", "unknown key 'packages'"),
    (PLAY + "    - {name: T, file: {path: /x}}\n", "4:17", "'file' wants either 'content' or 'source'"),
    (PLAY + "    - {name: T, file: {path: /x, content: a, source: b}}\n", "4:17", "either 'content' or 'source'"),
    (
        PLAY + "    - {name: T, file: {path: /x, content: a, mode: 644}}\n",
        "4:52",
        'wants permissions in quotes, such as "0644"; got 644',
    ),
    (PLAY + "    - {name: T, command: {argv: [a]}}\n", "4:17", "'command' wants 'creates' or 'unless'\n  -> say when"),
    (
        PLAY + "    - {name: T, command: {argv: a b, creates: x}}\n",
        "4:33",
        "'argv' wants a list of texts, or a {{ template }}; got 'a b'",
    ),
    (
        PLAY + "    - {name: T, python: {}, when: {os: linx}}\n",
        "4:40",
        "'os' wants one of linux, macos, windows, or a list of them; got 'linx'",
    ),
    (
        PLAY + "    - {name: T, python: {}, when: {os: [linux, win]}}\n",
        "4:48",
        "wants one of linux, macos, windows; got 'win'",
    ),
    (
        PLAY + "    - {name: T, python: {}, when: {roles: head}}\n",
        "4:36",
        "unknown key 'roles'\n  -> did you mean 'role'?",
    ),
    (PLAY + TASK + PLAY + TASK, "5:3", "the play 'One' is declared twice, first at line 1"),
    (PLAY.replace("all\n", "all\n  needs: Two\n", 1) + TASK, "3:10", "there is no play 'Two'\n  -> plays: One"),
    (PLAY.replace("all\n", "all\n  needs: [One]\n", 1) + TASK, "3:11", "the play 'One' needs itself"),
    (
        PLAY.replace("all\n", "all\n  needs: Two\n", 1) + TASK + PLAY.replace("One", "Two") + TASK,
        "3:10",
        "the play 'Two' comes later",
    ),
    (PLAY + "    - name: {{ x }}\n      python: {}\n", "4:14", "quote a value that begins with a template"),
]


@pytest.mark.parametrize(("text", "where", "what"), BAD, ids=[what for _, _, what in BAD])
def test_mistakes_say_what_and_where(file: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        load(file, text)
    assert not isinstance(caught.value, InputErrors), str(caught.value)
    assert str(caught.value).startswith(f"{file}:{where}: ")
    assert what in str(caught.value)


def test_the_default_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "a" / "b" / "load.py"
    monkeypatch.setattr(loading, "__file__", str(module))
    with pytest.raises(InputError, match="is missing"):
        default_playbook()
    for path in (tmp_path / "playbooks" / "cluster.yml", module.with_name("cluster.yml")):
        path.parent.mkdir(parents=True)
        path.touch()
        assert default_playbook() == path


def test_every_parameter_of_every_resource_is_described() -> None:
    definitions = json.loads(SCHEMA.read_text())["$defs"]
    for resource in set(definitions["task"]["properties"]) - {"name", "when"}:
        assert definitions[resource]["description"]
        assert definitions[resource]["additionalProperties"] is False
        assert all(own["description"] for own in definitions[resource]["properties"].values())
