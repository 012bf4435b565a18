"""Running programs on Windows, and ending them with everything they have started.

Each runs in a job object of its own: to end a process on Windows ends none of its children. It is started suspended,
so that it can't start any before it is in its job.
"""

from __future__ import annotations

import ntpath
import os
import tempfile

from provisioner.remote.failure import Failure, NoProgram
from provisioner.remote.platforms.windows import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

JOBS: Set[Any] = set()
"""Handles of the jobs of programs that run for us now; they must not outlive this one."""
_CREATE_SUSPENDED = 0x4
_CREATE_NO_WINDOW = 0x08000000
_NO_EXECUTABLE = 193
_NEEDS_ELEVATION = 740
_BUILTINS = ("copy", "del", "dir", "echo", "md", "mkdir", "mklink", "move", "rd", "ren", "rmdir", "set", "type")
ENDINGS = ".COM;.EXE;.BAT;.CMD"
"""What names of programs end with, where PATHEXT says nothing."""
DLL_MISSING = 0xC0000135
"""Exit code of a program that was not even begun for want of a library."""


def run(argv: List[str], timeout: float, env: Optional[Dict[str, str]], cwd: Optional[str]) -> Tuple[int, str]:
    """See Platform.run."""
    if cwd is not None and not os.path.isdir(cwd):
        raise Failure("there is no folder %s to run %s in" % (cwd, os.path.basename(argv[0])))
    # a file and no pipe: a pipe would keep us waiting for a process that the program leaves behind
    with tempfile.TemporaryFile() as output:
        code = run_into(output, argv, timeout, _environment(env), cwd)
        output.seek(0)
        return code, decoded(output.read())


def run_into(output: Any, argv: List[str], timeout: float, env: Optional[Dict[str, str]], cwd: Optional[str]) -> int:
    """See Platform.run_into; ``env`` is the whole environment."""
    import subprocess

    program = _found(argv[0], env)
    job = Job()
    JOBS.add(job)
    try:
        child = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            creationflags=_CREATE_SUSPENDED | _CREATE_NO_WINDOW,
        )
        job.take(child)
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            job.end()
            child.wait()
            raise Failure("%s did not end within %d s" % (os.path.basename(argv[0]), timeout)) from None
    except FileNotFoundError:
        raise _missing(argv[0]) from None
    except OSError as error:
        raise _may_not_run(argv[0], error) from None
    finally:
        JOBS.discard(job)
        job.close()


def system32(*parts: str) -> str:
    """Return the path of a program or library of Windows itself: what PATH leads to may be another one."""
    return ntpath.join(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", *parts)


def _found(program: str, env: Optional[Dict[str, str]]) -> str:
    """Return the path of a program: CreateProcess takes what lies beside our interpreter first, and no .cmd."""
    if os.path.dirname(program):
        return program
    variables = env or os.environ  # an environment that is given is complete here
    path = "%s;%s" % (variables.get("PATH", ""), system32())
    found = search(program, path, variables.get("PATHEXT") or ENDINGS, os.path.isfile)
    if not found:
        raise _missing(program)
    return found


def search(program: str, path: str, endings: str, is_file: Callable[[str], bool]) -> str:
    """Return the first program of that name along a PATH, empty if there is none.

    Not in the current folder, where shutil.which looks first: anybody may have laid something there.

    Args:
        program: its name, without a folder.
        path: folders with ``;`` between them; those that are relative to the current one do not count.
        endings: as in PATHEXT; a name that ends with one of them is not given another.
        is_file: tells whether there is a file.
    """
    known = [ending for ending in endings.lower().split(";") if ending]
    names = [program] if program.lower().endswith(tuple(known)) else [program + ending for ending in known]
    folders = [folder.strip('"') for folder in path.split(";")]
    places = (ntpath.join(folder, name) for folder in folders if _is_whole(folder) for name in names)
    return next((place for place in places if is_file(place)), "")


def _is_whole(folder: str) -> bool:
    """Tell whether a folder means the same wherever we are."""
    drive, rest = ntpath.splitdrive(folder)
    return bool(drive) and rest[:1] in ("\\", "/")


def _missing(program: str) -> NoProgram:
    remedy = "it is a part of cmd.exe: write `argv: [cmd, /c, %s, ...]`" % program
    return NoProgram("there is no program %s" % program, remedy if program.lower() in _BUILTINS else "")


def _may_not_run(program: str, error: OSError) -> Failure:
    number = getattr(error, "winerror", 0)
    if number == _NEEDS_ELEVATION:
        return Failure("%s needs an administrator's rights" % program, "log in as an administrator")
    if number == _NO_EXECUTABLE:
        return Failure("%s is no program for this Windows" % program)
    return Failure("%s may not be run: %s" % (program, error.strerror), "does a virus scanner or a policy forbid it?")


def _environment(env: Optional[Dict[str, str]]) -> Optional[Dict[str, str]]:
    """Return all variables, their names in upper case as ``os.environ`` has them: Windows knows each only once."""
    return dict(os.environ, **{name.upper(): value for name, value in env.items()}) if env else None


def decoded(data: bytes) -> str:
    """Return what a program printed: UTF-8 (uv, Ray), else the OEM code page (what Windows itself has)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("oem", "replace")


def end_all() -> None:
    """End every program that runs for us now."""
    for job in list(JOBS):
        job.end()


class Job:
    """A job object; processes that are in it when its last handle is closed stay."""

    def __init__(self) -> None:
        import ctypes

        self._c: Any = ctypes  # only Windows' has what is used here
        self._kernel = calls.library("kernel32")
        self._kernel.CreateJobObjectW.restype = self._c.c_void_p
        self._handle = self._c.c_void_p(self._kernel.CreateJobObjectW(None, None))

    def take(self, child: Any) -> None:
        """Take a process that was started suspended, and let it run."""
        process = self._c.c_void_p(int(child._handle))
        self._kernel.AssignProcessToJobObject(self._handle, process)
        calls.library("ntdll").NtResumeProcess(process)

    def end(self) -> None:
        """End every process in it."""
        self._kernel.TerminateJobObject(self._handle, 1)

    def close(self) -> None:
        self._kernel.CloseHandle(self._handle)
