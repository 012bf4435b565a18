"""The reference pages, made from the schemas and from the commands' own help: nothing of it is written twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import click

from provisioner.cli.main import cli

Schema = dict[str, Any]
DEEPEST = 3
"""Levels of settings within settings that are listed; deeper ones are described where they stand."""


def commands() -> str:
    """Return the page of all commands with their flags."""
    context = click.Context(cli, info_name="provision")
    parts = ["# Commands", "", "Every command says the same with `--help`.", ""]
    for words, command in _walk(cli, "provision"):
        text = command.get_help(click.Context(command, info_name=words, max_content_width=100))
        parts += [f"## {words}", "", "```text", text, "```", ""]
    assert context.command is cli
    return "\n".join(parts)


def _walk(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _walk(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def settings(which: str) -> str:
    """Return the page of all settings of inventories or playbooks."""
    schema = json.loads((resources.files(f"provisioner.{which}") / "schema.json").read_text(encoding="utf-8"))
    title = "Inventory" if which == "inventory" else "Playbook"
    parts = [f"# {title}", "", str(schema.get("description", "")), ""]
    parts += [f"`provision schema {which}` prints the JSON Schema that this page is made of.", ""]
    parts += ["| setting | what it is |", "| --- | --- |"]
    parts += [f"| `{name}` | {text} |" for name, text in _rows(schema, schema, "", 0)]
    return "\n".join(parts) + "\n"


def _rows(part: Schema, schema: Schema, before: str, depth: int) -> Iterator[tuple[str, str]]:
    for name, value in _properties(part, schema):
        where = f"{before}{name}"
        yield where, _described(value, schema)
        if depth + 1 < DEEPEST:
            yield from _rows(value, schema, f"{where}.", depth + 1)


def _properties(part: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    resolved = _resolved(part, schema)
    yield from resolved.get("properties", {}).items()
    for each in (*resolved.get("anyOf", ()), *resolved.get("oneOf", ())):
        yield from _resolved(each, schema).get("properties", {}).items()
    inner = resolved.get("additionalProperties")
    if isinstance(inner, dict):
        yield "NAME", inner
    if isinstance(resolved.get("items"), dict):
        yield from _properties(resolved["items"], schema)


def _resolved(part: Schema, schema: Schema) -> Schema:
    while "$ref" in part:
        found: Any = schema
        for step in str(part["$ref"]).removeprefix("#/").split("/"):
            found = found[step]
        part = {**found, **{key: value for key, value in part.items() if key != "$ref"}}
    return part


def _described(part: Schema, schema: Schema) -> str:
    resolved = _resolved(part, schema)
    text = str(resolved.get("description") or resolved.get("x-wants") or "")
    if "enum" in resolved:
        text += " One of " + ", ".join(f"`{each}`" for each in resolved["enum"]) + "."
    if "default" in resolved:
        text += f" Default: `{json.dumps(resolved['default'])}`."
    return " ".join(text.replace("|", "\\|").split())
