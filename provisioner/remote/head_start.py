"""Starts a head that keeps its state in Redis, without Redis's password on any command line. Copied to the host; stands
alone beside Ray.

head_start.py FLAGS start ...    as ``ray start ...``; FLAGS: a file with the one line ``--redis_password=...``

Ray has the password from ``--redis-password`` only, and hands it on in the command lines of the GCS (which needs it)
and of the raylet (which gives it to workers, which don't). Every account of a machine may read command lines. The GCS
reads its flags from files, too (gflags' ``--flagfile``); seen with Ray 2.60.0.
"""

from __future__ import annotations

import re
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Sequence

FLAG = "--redis_password="
VARIABLE = "RAY_REDIS_PASSWORD"
LONG_ENOUGH = 8
"""Characters of a password that are no coincidence where they are found."""


def password_in(path: str) -> str:
    """Return the password that a file of flags has; ValueError if it has none."""
    with open(path, encoding="ascii") as file:
        line = file.read().strip()
    if not line.startswith(FLAG):
        raise ValueError("%s holds no password of Redis" % path)
    return line[len(FLAG) :]


def without(password: str, command: List[str], flags: str) -> List[str]:
    """Return a command line that says nothing of the password: what needs it reads it from the file of flags."""
    forms = "|".join(re.escape(form) for form in {password, subprocess.list2cmdline([password])})
    option = re.compile(r"\s*-[\w.-]*redis[._-]password=(?:%s)(?=\s|$)" % forms)
    return ["--flagfile=" + flags if word == FLAG + password else option.sub("", word) for word in command]


def hiding(start: Callable[..., Any], password: str, flags: str, ours: Sequence[str] = ()) -> Callable[..., Any]:
    """Return Ray's function that starts a process, so that the password is in no command line and no variable.

    Args:
        ours: what we give Ray, which everybody may read: a password that is a part of it is found by coincidence.
    """
    by_coincidence = any(password in word for word in ours)

    def start_hidden(command: List[str], *args: Any, **settings: Any) -> Any:
        variables: Dict[str, str] = settings.get("env_updates") or {}
        if VARIABLE in variables:  # of the server for Ray clients, which asks the GCS, and never Redis
            settings["env_updates"] = {name: value for name, value in variables.items() if name != VARIABLE}
        hidden = without(password, command, flags)
        if not by_coincidence:
            refuse_to_show(password, [*hidden, *(settings.get("env_updates") or {}).values()])
        return start(hidden, *args, **settings)

    return start_hidden


def refuse_to_show(password: str, words: List[str]) -> None:
    """Raise a RuntimeError if the password is in what a process would be started with: another release of Ray may write
    it in a way that ``without`` does not know. Below ``LONG_ENOUGH`` it may be a word of anything."""
    forms = {password, subprocess.list2cmdline([password])}
    if len(password) >= LONG_ENOUGH and any(form in str(word) for word in words for form in forms):
        raise RuntimeError(
            "this release of Ray would show Redis's password to every account of the machine, in a way that is not "
            "known here: run another release, or choose a password that is no part of a path or a name"
        )


def main() -> None:
    flags, arguments = sys.argv[1], sys.argv[2:]
    password = password_in(flags)
    from ray._private import services

    services.start_ray_process = hiding(services.start_ray_process, password, flags, [sys.executable, *arguments])
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", *arguments, "--redis-password=" + password]  # seen by this process alone
    ray()


if __name__ == "__main__":
    main()
