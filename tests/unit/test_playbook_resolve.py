"""What a playbook says to one host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import InputError, Place
from provisioner.inventory.document import WrittenNumber
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.playbook.load import load_playbook
from provisioner.playbook.model import Play, Playbook, Task
from provisioner.playbook.resolve import ResolvedPlay, Resolver, resolve
from provisioner.playbook.templates import BadTemplate, fill


def host(name: str, role: Any = "worker", groups: tuple[str, ...] = (), **values: Any) -> Host:
    return Host(name, role, f"{name}.lab", "3.11.9", (), RayOptions(), groups=groups, vars=values)


CTL = host("ctl", "head", tier=1)
GPU = host("gpu1", groups=("gpu",), cuda=True, tier=2)
CPU = host("cpu1")
VARS: dict[str, Any] = {
    "site": "seoul",
    "minor": WrittenNumber("3.10"),
    "text": "3.10",
    "list": ["a", "b"],
    "items": 7,
    "on": True,
}
LAB = Inventory("lab", "2.60.0", (CTL, GPU, CPU), Path("inv.yml"), VARS)
CONTEXT = Resolver(Playbook((), Path("p.yml")), LAB).context(CTL)

pytestmark = pytest.mark.usefixtures("own_cache")


def playbook(*tasks: Task, hosts: tuple[str, ...] = ("all",)) -> Playbook:
    return Playbook((Play("One", hosts, tasks, hosts_place=Place("p.yml", 2, 10)),), Path("p.yml"))


def task(resource: str = "python", when: dict[str, Any] | None = None, **params: Any) -> Task:
    places: dict[tuple[str | int, ...], Place] = {("params", key): Place("p.yml", 5, 9) for key in params}
    places.update({("when", key): Place("p.yml", 6, 7) for key in when or {}})
    return Task("T", resource, params, when or {}, Place("p.yml", 4, 5), places)


@pytest.mark.parametrize(
    ("hosts", "included"),
    [
        (("all",), {"ctl", "gpu1", "cpu1"}),
        (("head",), {"ctl"}),
        (("workers",), {"gpu1", "cpu1"}),
        (("gpu",), {"gpu1"}),
        (("cpu1",), {"cpu1"}),
        (("head", "gpu"), {"ctl", "gpu1"}),
    ],
)
def test_plays_are_for_their_hosts(hosts: tuple[str, ...], included: set[str]) -> None:
    assert {each.name for each in LAB.hosts if resolve(playbook(task(), hosts=hosts), each, LAB)} == included


def test_an_unknown_host_is_a_mistake_for_every_host() -> None:
    with pytest.raises(InputError) as caught:
        resolve(playbook(task(), hosts=("wrokers",)), CTL, LAB)
    assert (
        str(caught.value)
        == "p.yml:2:10: 'wrokers' is neither a host nor a group of inv.yml\n  -> did you mean 'workers'?"
    )


@pytest.mark.parametrize(
    ("when", "holding"),
    [
        ({"role": "head"}, {"ctl"}),
        ({"role": ["head", "worker"]}, {"ctl", "gpu1", "cpu1"}),
        ({"host": ["cpu1", "ctl"]}, {"ctl", "cpu1"}),
        ({"group": "gpu"}, {"gpu1"}),
        ({"vars.cuda": True}, {"gpu1"}),
        ({"vars.tier": [1, 2]}, {"ctl", "gpu1"}),
        ({"vars.site": "seoul", "role": "worker"}, {"gpu1", "cpu1"}),
        ({"vars.site": "busan"}, set()),
    ],
)
def test_conditions_judged_here(when: dict[str, Any], holding: set[str]) -> None:
    book = playbook(task(when=when))
    assert {each.name for each in LAB.hosts if resolve(book, each, LAB)[0].tasks} == holding
    assert len(resolve(book, CPU, LAB)) == 1, "a play without tasks stays, as others may need it"


def test_conditions_left_for_the_host() -> None:
    when = {"os": "linux", "arch": ["x86_64", "aarch64"], "changed": True, "role": "head"}
    (play,) = resolve(playbook(task(when=when)), CTL, LAB)
    assert play.tasks[0].when == {"os": ("linux",), "arch": ("x86_64", "aarch64"), "changed": True}


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ({"host": "cpu2"}, "the inventory has no host 'cpu2'\n  -> did you mean 'cpu1'?"),
        ({"group": "gpus"}, "the inventory has no group 'gpus'\n  -> did you mean 'gpu'?"),
        ({"vars.zzz": 1}, "the inventory has no variable 'zzz'\n  -> known: cuda, items, list"),
    ],
)
def test_conditions_on_what_does_not_exist(when: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(playbook(task(when=when)), CTL, LAB)
    assert str(caught.value).startswith(f"p.yml:6:7: {what}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ cluster }}-{{ ray_version }}", "lab-2.60.0"),
        ("{{ host.name }}/{{ host.address }}/{{ host.role }}", "ctl/ctl.lab/head"),
        ("{{ head.name }}", "ctl"),
        ("{{ vars.list }}", ["a", "b"]),
        (" {{- vars.on -}} ", True),
        ("{{ vars.text }}", "3.10"),
        ("python{{ vars.minor }}", "python3.10"),
        ("{{ vars.items }}", 7),
        ("{{ vars.tier + 1 }}", 2),
        ("{% if host.role == 'head' %}yes{% endif %}", "yes"),
        ("{{ 'a' }}{{ 'b' }}", "ab"),
        ("{{ vars.nothing | default('x') }}", "x"),
        ("{{ -1 }}", -1),
    ],
)
def test_templates(text: str, value: object) -> None:
    filled = fill(text, CONTEXT)
    assert filled == value
    assert isinstance(filled, type(value))


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("{{ clster }}", "nothing is called 'clster' here", "did you mean 'cluster'?"),
        ("{{ host.nam }}", "nothing is called 'nam' here", "did you mean 'name'?"),
        ("a {{ vars.sitee }}", "nothing is called 'sitee' here", "did you mean 'site'?"),
        ("{{ env.HOME }}", "nothing is called 'env' here", "known: cluster, head"),
        ("{{ vars. }}", "the template is malformed", ""),
        ("{{ x", "the template is malformed", ""),
        ("{% for %}", "the template is malformed", ""),
        ("{{ 1 / 0 }}", "the template fails: division by zero", ""),
        ("{{ host.name.__class__.__mro__ }}", "unsafe", ""),
        ("{{ range }}", "gives a function", ""),
        ("{{ [clster] }}", "nothing is called 'clster' here", "did you mean"),
    ],
)
def test_bad_templates(text: str, what: str, remedy: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        fill(text, CONTEXT)
    assert what in str(caught.value)
    assert caught.value.remedy.startswith(remedy)


PIECES = [
    "{{ ",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    " ",
    "vars",
    ".",
    "host",
    "name",
    "-",
    "(",
    ")",
    "1",
    "'",
    "*",
    "if",
    "x",
]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_any_template_is_filled_or_is_bad(parts: list[str]) -> None:
    try:
        fill("".join(parts), CONTEXT)
    except BadTemplate as error:
        assert str(error)


def params_of(resource: str, **params: Any) -> Any:
    (play,) = resolve(playbook(task(resource, **params)), CTL, LAB)
    return play.tasks[0].params


def test_values_become_what_the_resource_wants() -> None:
    assert params_of("variable", name="X", value="{{ vars.on }}") == {"name": "X", "value": "true"}
    assert params_of("variable", name="X", value=WrittenNumber("3.10"))["value"] == "3.10"
    assert params_of("system_package", name="{{ vars.list }}") == {"name": ["a", "b"]}
    assert params_of("command", argv=["a", "{{ vars.items }}"], creates="/x")["argv"] == ["a", "7"]
    assert params_of("command", argv=["a"], creates="/x", env={"A": "{{ vars.minor }}"})["env"] == {"A": "3.10"}


@pytest.mark.parametrize(
    ("resource", "params", "what"),
    [
        ("command", {"argv": "{{ vars.site }}", "creates": "/x"}, "'argv' wants"),
        ("variable", {"name": "X", "value": "{{ vars.list }}"}, "'value' wants a text; the template gives ['a', 'b']"),
        ("variable", {"name": "X", "value": "{{ vars }}"}, "'value' wants a text; the template gives {"),
        ("python", {"version": "{{ none }}"}, "'version' wants a text; the template gives None"),
        ("file", {"path": "/x", "content": "", "mode": "{{ vars.site }}"}, "'mode' wants permissions in quotes"),
        (
            "variable",
            {"name": "X", "value": "{{ vars.sitee }}"},
            "nothing is called 'sitee' here\n  -> did you mean 'site'?",
        ),
        ("file", {"path": "/x", "source": "nope"}, "there is no file nope"),
    ],
)
def test_bad_values_say_where(resource: str, params: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        params_of(resource, **params)
    assert str(caught.value).startswith("p.yml:5:9: ")
    assert what in str(caught.value)


def test_from_the_file_to_the_host(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hi")
    file = tmp_path / "play.yml"
    file.write_text(
        "- play: One\n  hosts: head\n  tasks:\n"
        "    - name: F\n      file: {path: '/{{ host.name }}', source: motd, mode: 0644}\n"
        "- play: Two\n  hosts: workers\n  needs: One\n  tasks:\n"
        "    - name: C\n      command: {argv: [run, '{{ vars.nope }}'], creates: x}\n"
    )
    book = load_playbook(file)
    (play,) = resolve(book, CTL, LAB)
    assert play.tasks[0].params == {"path": "/ctl", "source": str(tmp_path / "motd"), "mode": "0644"}
    assert play == ResolvedPlay("One", (), play.tasks)
    with pytest.raises(InputError) as caught:
        resolve(book, CPU, LAB)
    assert str(caught.value).startswith(f"{file}:11:29: task 'C': nothing is called 'nope' here")
