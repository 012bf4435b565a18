"""Programs that run for us on Linux and macOS: each in a group of its own, and none outlives us."""

from __future__ import annotations

import os
import signal
import sys
import threading

from provisioner.remote.failure import Failure, NoProgram

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    import subprocess
    from typing import IO, Callable, Dict, List, Optional, Set, Tuple

STARTING = threading.Lock()
"""Held from before a program begins until it is among the children: one that nobody knows of would outlive us."""
MOST_OUTPUT = 16 << 20
"""Bytes of what a program says that runs as another account: its end counts."""
TIES: List[Callable[[], None]] = []
"""What a program that we start does first in its process, so that it ends with us even if we are killed."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the thread that made it ends. Linux only; forgotten by its own
children, and when it becomes another account."""
START_LIMIT = 5.0
"""Seconds that a program gets to begin; longer only takes one on a disk that does not answer."""
CHILDREN: Set[int] = set()
"""Programs that run for us now; they must not outlive this one."""


def have_children_end_with_us() -> None:
    """Tie every program to us that is started from now on: whoever gets our lock after us must not meet it."""
    if sys.platform != "linux" or TIES:
        return
    import ctypes

    own = os.getpid()
    try:
        prctl = ctypes.CDLL(None).prctl  # loaded now: nothing may be, between fork and exec
    except (OSError, AttributeError):
        return

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != own:  # we ended before
            os._exit(1)

    TIES.append(tie)


def _first(become: Optional[Callable[[], None]]) -> Optional[Callable[[], None]]:
    """Return what a process does before it becomes a program, if anything."""
    steps = ([become] if become else []) + TIES

    def all_of_them() -> None:
        for step in steps:
            step()

    return all_of_them if steps else None


def _nameless_file() -> IO[bytes]:
    """Return a file for a program's output: a pipe would keep us waiting for a daemon that it leaves behind."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("output"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def to_its_end(
    argv: List[str],
    timeout: float,
    env: Optional[Dict[str, str]],
    cwd: Optional[str],
    source: Optional[IO[bytes]] = None,
    become: Optional[Callable[[], None]] = None,
) -> Tuple[int, str]:
    """Run a program to its end (see Platform.run) with the whole of its environment.

    Args:
        source: what it reads.
        become: called in its process before it begins.
    """
    with _nameless_file() as output:
        code = wait(begin(argv, output, env, cwd, source, become), argv[0], timeout)
        output.seek(max(0, output.seek(0, os.SEEK_END) - (MOST_OUTPUT if source else sys.maxsize)))
        return code, output.read().decode("utf-8", "replace")


def wait(child: subprocess.Popen[bytes], program: str, timeout: float) -> int:
    """Return the exit code of a program; a Failure if it does not end in time."""
    import subprocess

    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise Failure("%s did not end within %d s" % (os.path.basename(program), timeout)) from None
    finally:
        CHILDREN.discard(child.pid)


def becoming(entry: pwd.struct_passwd) -> Callable[[], None]:
    """Return what makes a process that account's, for good.

    Its groups are looked up here: after a fork that could wait for ever for a lock that another thread held.
    """
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)[: os.sysconf("SC_NGROUPS_MAX")]  # 16 on macOS

    def become() -> None:
        os.setgroups(groups)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    return become


def begin(
    argv: List[str],
    output: IO[bytes],
    env: Optional[Dict[str, str]],
    cwd: Optional[str],
    source: Optional[IO[bytes]],
    become: Optional[Callable[[], None]],
) -> subprocess.Popen[bytes]:
    """Start a program in a group of its own, which ends with us; a Failure if that can't be done."""
    import subprocess

    with STARTING:
        try:
            child = subprocess.Popen(
                argv,
                stdin=source or subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_first(become),  # noqa: PLW1509 - system calls only; `user=` came with Python 3.9
            )
        except FileNotFoundError:
            raise NoProgram("there is no program %s" % argv[0]) from None
        except subprocess.SubprocessError:
            raise Failure("this session may run nothing as another account", "is it root's, in full?") from None
        except PermissionError:
            raise Failure("%s may not be run" % argv[0], "is it on a disk that is mounted noexec?") from None
        CHILDREN.add(child.pid)
        return child


def end_all() -> None:
    """Kill every program that runs for us, for good: whoever wants to begin one more waits for our end."""
    STARTING.acquire(timeout=START_LIMIT)
    for pid in list(CHILDREN):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
