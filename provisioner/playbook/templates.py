"""Fills ``{{ }}`` in a playbook's values from the inventory, with Jinja2 in its sandbox."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from provisioner.inventory.problems import suggestion

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_MISSING = re.compile(r"'(?P<name>[^']+)' is undefined|has no attribute '(?P<attribute>[^']+)'")


class BadTemplate(ValueError):
    """A template that cannot be filled; the text is for the user, the remedy too."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def is_template(text: str) -> bool:
    """Whether there is anything to fill in."""
    return "{{" in text or "{%" in text


def fill(text: str, context: Mapping[str, Any]) -> Any:
    """Fill one text; a text that is one ``{{ expression }}`` and nothing else becomes the value itself.

    Raises:
        BadTemplate: the template is malformed, or names something that is not there.
    """
    from jinja2 import TemplateSyntaxError, UndefinedError

    try:
        value = _compiled(text)(context)
        is_plain = _is_plain(value)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"the template is malformed: {error.message}") from None
    except UndefinedError as error:
        raise _missing(str(error.message), context) from None
    except Exception as error:
        raise BadTemplate(f"the template fails: {error}") from None
    if not is_plain:
        raise BadTemplate(f"the template gives a {type(value).__name__}, not a text, number, list or mapping")
    return value


@functools.cache
def _compiled(text: str) -> Callable[[Mapping[str, Any]], Any]:
    from jinja2 import nodes

    environment = _environment()
    stripped = text.strip()
    body = environment.parse(stripped).body
    single = len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1
    if single and stripped.startswith("{{") and stripped.endswith("}}"):
        source = stripped[2:-2].removeprefix("-").removeprefix("+").removesuffix("-").removesuffix("+")
        return environment.compile_expression(source, undefined_to_none=False)
    return environment.from_string(text).render


@functools.cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    class Environment(SandboxedEnvironment):
        """Looks for a key of a mapping before its methods, so that a variable may be called ``items``."""

        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, Mapping) and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

    return Environment(undefined=StrictUndefined, keep_trailing_newline=True)


def _is_plain(value: Any) -> bool:
    """Whether a value is what YAML can say; Jinja2's own error if something in it is undefined."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # a strict undefined value names what is missing as soon as it is used
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, bool, int, float))


def _missing(message: str, context: Mapping[str, Any]) -> BadTemplate:
    """What is missing, in words that do not speak of Python."""
    match = _MISSING.search(message)
    if match is None:
        return BadTemplate(message)
    name = match["name"] or match["attribute"]
    known = context if match["name"] else set(_inner_names(context.values()))
    return BadTemplate(f"nothing is called '{name}' here", suggestion(name, known, "known"))


def _inner_names(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping):
            yield from (str(key) for key in value)
            yield from _inner_names(value.values())
