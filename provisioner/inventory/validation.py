"""Checks a document against a JSON Schema, in the user's words and with the place of every mistake.

A schema may say in ``x-wants`` what a value should be (``an exact version such as 3.11.9``), and mark values that must
not be shown with ``x-secret``, and say in ``x-instead`` what is to be written in place of a key. Schemas avoid
``oneOf`` and ``anyOf``, whose failures nobody can explain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from provisioner.inventory import stamps
from provisioner.inventory.document import Document, Step
from provisioner.inventory.problems import Problems, suggestion

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUL = re.compile(r"[\x00\ud800-\udfff]")
_CONTENTS = frozenset({"vars", "env", "value", "argv", "unless", "undo", "content", "when"})
"""Keys under which a text is handed on as it is, and shown only after it was made harmless."""
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_PARTS = {
    "minItems": "item(s)",
    "maxItems": "item(s)",
    "minProperties": "key(s)",
    "maxProperties": "key(s)",
    "minLength": "character(s)",
    "maxLength": "character(s)",
}
_RULES = {
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "more than {}",
    "pattern": "a text matching {}",
}


def validate(document: Document, schema: Path) -> None:
    """Check a document against the JSON Schema (Draft 2020-12) in a file.

    Raises:
        InputError: something does not fit; InputErrors if there are several mistakes.
    """
    content = schema.read_bytes()
    stamp = stamps.stamp_of(document.fingerprint, content)
    if stamps.remembered(stamp):
        return
    problems = Problems()
    for error in _validator(json.loads(content)).iter_errors(document.value):
        _explain(error, document, problems)
    problems.raise_any()
    _refuse_controls(document, problems)
    problems.raise_any()
    stamps.remember(stamp)


def _refuse_controls(document: Document, problems: Problems) -> None:
    """Note texts that would do more than be read: in a unit file, a firewall rule or a terminal, a line that ends
    begins another. Contents (of variables, arguments, files) may have lines; a NUL no program can be given."""
    for path, text, is_key in _texts(document.value, ()):
        found = (_NUL if not is_key and _CONTENTS.intersection(map(str, path)) else _CONTROLS).search(text)
        if found:
            place = document.key_place(*path, text) if is_key else document.place(*path)
            what = "a key" if is_key else _name(path)
            problems.add(f"{what} holds the control character U+{ord(found.group()):04X}", place, "take it out")


def _texts(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], str, bool]]:
    """Return every text, with where it is and whether it is a key."""
    if isinstance(value, str):
        yield path, value, False
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str):
                yield path, key, True
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*path, number))


def _validator(schema: Mapping[str, Any]) -> Validator:
    from jsonschema import Draft202012Validator, ValidationError, validators

    def is_integer(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def match(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
        # Python's $ also matches before a final newline, JSON Schema's does not.
        if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
            yield ValidationError("does not match")

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    validator = validators.create(
        Draft202012Validator.META_SCHEMA,
        {**Draft202012Validator.VALIDATORS, "pattern": match},
        type_checker=types,
    )
    return validator(schema)


def _explain(error: ValidationError, document: Document, problems: Problems) -> None:
    """Note one failure of the schema in words."""
    path = tuple(error.absolute_path)
    if "propertyNames" in error.schema_path:
        key = str(error.instance)
        problems.add(f"the key '{key}' is not {_wanted(error)}", document.key_place(*path, key))
    elif error.validator == "additionalProperties":
        _explain_unknown_keys(error, document, problems)
    else:
        problems.add(_sentence(error, path), document.place(*path))


def _explain_unknown_keys(error: ValidationError, document: Document, problems: Problems) -> None:
    schema = _schema_of(error)
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    what = schema.get("x-key", "key")
    for key in cast(Any, error.instance):
        if key in known or any(re.search(pattern, key) for pattern in patterns):
            continue
        place = document.key_place(*error.absolute_path, key)
        instead = schema.get("x-instead", {}).get(key)
        problems.add(f"unknown {what} '{key}'", place, instead or suggestion(key, known))


def _sentence(error: ValidationError, path: Sequence[Step]) -> str:
    name = _name(path)
    rule, limit = str(error.validator), cast(Any, error.validator_value)
    if rule == "required":
        missing = re.match(r"'(.*)' is a required property", error.message)
        return f"{name} lacks the key '{missing[1]}'" if missing else f"{name} lacks a key: {error.message}"
    if rule == "dependentRequired":
        needed = re.match(r"'(.*)' is a dependency of '(.*)'", error.message)
        return f"{name} lacks the key '{needed[1]}' that goes with '{needed[2]}'" if needed else f"{name} lacks a key"
    if rule == "uniqueItems":
        return f"{name} holds the same value twice"
    if rule in ("minItems", "minProperties", "minLength"):
        return f"{name} wants at least {limit} {_PARTS[rule]}"
    if rule in ("maxItems", "maxProperties", "maxLength"):
        return f"{name} wants at most {limit} {_PARTS[rule]}"
    return f"{name} wants {_wanted(error)}; got {_got(error)}"


def _name(path: Sequence[Step]) -> str:
    """How a message calls the value at a path."""
    if not path:
        return "the file"
    if isinstance(path[-1], str):
        return f"'{path[-1]}'"
    around = f" of '{path[-2]}'" if len(path) > 1 and isinstance(path[-2], str) else ""
    return f"item {path[-1] + 1}{around}"


def _wanted(error: ValidationError) -> str:
    schema = _schema_of(error)
    if "x-wants" in schema:
        return str(schema["x-wants"])
    rule, limit = str(error.validator), cast(Any, error.validator_value)
    if rule == "type":
        names = [limit] if isinstance(limit, str) else limit
        return " or ".join(_TYPES[name] for name in names)
    if rule in ("enum", "const"):
        return "one of " + ", ".join(str(value) for value in limit) if rule == "enum" else str(limit)
    return _RULES.get(rule, f"{rule} {{}}").format(limit)


def _got(error: ValidationError) -> str:
    """The value in words; never the value itself where it may be a secret."""
    value = error.instance
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if _schema_of(error).get("x-secret"):
        return "a plain value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and re.search(r"[\x00-\x1f]", value) and "\n" not in value:
        return f"{shorten(ascii(value)[1:-1])}: in double quotes \\ begins an escape, in single quotes it is itself"
    return shorten(value) if isinstance(value, str) else str(value)


def _schema_of(error: ValidationError) -> Mapping[str, Any]:
    schema = error.schema
    return schema if isinstance(schema, Mapping) else {}


def shorten(text: str, most: int = 60) -> str:
    """A user's text in quotes, on one line and not too long.

    >>> shorten("abcdef", most=4)
    "'abc…'"
    """
    line = " ".join(text.split())
    return f"'{line}'" if len(line) <= most else f"'{line[: most - 1]}…'"
