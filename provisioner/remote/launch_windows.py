"""Keeps running what a service specification says, on Windows. Copied to the host; stands alone, standard library only.

launch.py supervise SPEC STATE HOLD

It is the action of a scheduled task. It puts itself into a job object that ends with it, so whatever ends the launcher
ends all of Ray: the Task Scheduler's own end reaches the action's process only. Ray is started again after a pause
whenever it ends, and the task's repetition starts the launcher again if that is ended.

A fresh file HOLD has it end Ray and itself, and not start: so a stop is not undone by the repetition, and a run that
was cut off in the middle of one does not leave the node stopped for ever.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from ctypes import wintypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Dict, List, Mapping, Optional

    Spec = Dict[str, Any]

LOG_LIMIT = 20 * 1024 * 1024
"""Bytes after which the log is put aside; one old one is kept. (Ray rotates nothing on Windows.)"""
PAUSE = 5.0
"""Seconds between an end and the next start."""
LOOK = 0.2
"""Seconds between two looks at Ray and at HOLD."""
HELD = 180.0
"""Seconds for which HOLD counts: far more than from a stop to the next start, far less than anybody would wait."""
MISLEADING = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables of the machine or of the account that would have Ray load other files than its own."""
BUSY_LIMIT = 5.0
"""Seconds for a file to be let go by who reads it, or by a virus scanner."""


def load(path: str) -> Spec:
    with open(path, encoding="utf-8") as file:
        spec: Spec = json.load(file)
        return spec


def environment(spec: Spec, around: Mapping[str, str]) -> Dict[str, str]:
    """Return every variable of Ray: what the system says of the machine and the account, and what was declared.

    What else was set on the machine for Python or for Ray counts as little as it does for a service on Linux.
    """
    names = {name.upper() for name in around}
    left_out = {*MISLEADING, *(name for name in names if name.startswith("RAY_"))}
    variables = {name.upper(): value for name, value in around.items() if name.upper() not in left_out}
    variables.update((name.upper() if name.upper() in names else name, value) for name, value in spec["env"].items())
    variables["PATH"] = spec["path"] + os.pathsep + variables.get("PATH", "")
    return variables


def replace(source: str, target: str) -> None:
    """Rename a file over another one that somebody may be reading just now."""
    deadline = time.monotonic() + BUSY_LIMIT
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def is_held(path: str) -> bool:
    """Tell whether the file HOLD is there and young."""
    try:
        return 0 <= time.time() - os.stat(path).st_mtime < HELD
    except OSError:
        return False


class Log:
    """Takes what Ray writes, and puts a long file aside."""

    def __init__(self, path: str) -> None:
        self._path = path

    def follow(self, source: IO[bytes]) -> None:
        """Write down all of it, until its end."""
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        file = open(self._path, "ab")  # noqa: SIM115 - another one after a while
        while True:
            piece = os.read(source.fileno(), 1 << 16)
            if not piece:
                break
            file.write(piece)
            file.flush()
            if file.tell() > LOG_LIMIT:
                file.close()
                self._put_aside()
                file = open(self._path, "ab")  # noqa: SIM115
        file.close()

    def _put_aside(self) -> None:
        try:
            replace(self._path, self._path + ".1")
        except OSError:
            return  # somebody has it open: it is put aside with the next piece


class Job:
    """A job object of Windows that ends everything in it when this process ends; this process is its first member."""

    def __init__(self) -> None:
        self._kernel = kernel = vars(ctypes)["WinDLL"]("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.TerminateProcess.argtypes = (wintypes.HANDLE, wintypes.UINT)
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
        kernel.QueryInformationJobObject.argtypes = (
            wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p,
        )  # fmt: skip
        self._handle = kernel.CreateJobObjectW(None, None)  # never closed: its end is ours
        limits = ctypes.create_string_buffer(144)  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
        ctypes.c_uint32.from_buffer(limits, 16).value = 0x2000  # LimitFlags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        self._check(kernel.SetInformationJobObject(self._handle, 9, limits, len(limits)))
        self._check(kernel.AssignProcessToJobObject(self._handle, kernel.GetCurrentProcess()))

    def end_others(self) -> None:
        """End every member but this process."""
        for _ in range(5):  # one may start another meanwhile
            others = [pid for pid in self._members() if pid != os.getpid()]
            if not others:
                return
            for pid in others:
                self._end(pid)
            time.sleep(0.1)

    def _members(self) -> List[int]:
        """Return the pids of the members (JOBOBJECT_BASIC_PROCESS_ID_LIST)."""
        buffer = ctypes.create_string_buffer(8 + 8 * 4096)
        if not self._kernel.QueryInformationJobObject(self._handle, 3, buffer, len(buffer), None):
            return []
        number = int.from_bytes(buffer.raw[4:8], "little")
        return [int.from_bytes(buffer.raw[at : at + 8], "little") for at in range(8, 8 + 8 * number, 8)]

    def _end(self, pid: int) -> None:
        handle = self._kernel.OpenProcess(0x0001, False, pid)  # PROCESS_TERMINATE
        if handle:
            self._kernel.TerminateProcess(handle, 1)
            self._kernel.CloseHandle(handle)

    def _check(self, done: int) -> None:
        if not done:
            raise OSError("no job object: error %d" % vars(ctypes)["get_last_error"]())


def born() -> int:
    """Return when this process was created, in units of 100 ns since 1601."""
    kernel = vars(ctypes)["WinDLL"]("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *(ctypes.POINTER(wintypes.FILETIME),) * 4)
    times = [wintypes.FILETIME() for _ in range(4)]
    kernel.GetProcessTimes(kernel.GetCurrentProcess(), *(ctypes.byref(each) for each in times))
    return int((times[0].dwHighDateTime << 32) + times[0].dwLowDateTime)


class Supervisor:
    """Keeps the program running and tells in a small file what it does.

    Args:
        spec_path: the specification; read again at each start.
        state_path: where its own pid and state are kept.
        hold_path: the file HOLD.
    """

    def __init__(self, spec_path: str, state_path: str, hold_path: str) -> None:
        self.spec_path = spec_path
        self.state_path = state_path
        self.hold_path = hold_path
        self.job = Job()
        self.restarts = 0

    def forever(self) -> None:
        """Run the program again and again, until HOLD."""
        while not is_held(self.hold_path):
            self.once()
            self.job.end_others()
            if is_held(self.hold_path):
                break
            self.restarts += 1
            self.record(waiting=True)
            self.pause()

    def once(self) -> None:
        """Run the program until it ends, or until HOLD."""
        spec = load(self.spec_path)
        os.makedirs(spec["temp_dir"], exist_ok=True)
        forget_last_cluster(spec)
        child = subprocess.Popen(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(spec, os.environ),
            cwd=spec["temp_dir"],
        )
        assert child.stdout is not None
        threading.Thread(target=Log(spec["log"]).follow, args=(child.stdout,), daemon=True).start()
        self.record(waiting=False)
        while child.poll() is None and not is_held(self.hold_path):
            time.sleep(LOOK)

    def record(self, waiting: bool) -> None:
        state = {"pid": os.getpid(), "born": born(), "waiting": waiting, "restarts": self.restarts}
        aside = self.state_path + ".part"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(state, file)
        replace(aside, self.state_path)

    def pause(self) -> None:
        deadline = time.monotonic() + PAUSE
        while not is_held(self.hold_path) and time.monotonic() < deadline:
            time.sleep(LOOK)


def forget_last_cluster(spec: Spec) -> None:
    """Remove what makes a restarted head believe that it is running already (see launch.py)."""
    try:
        os.unlink(os.path.join(spec["temp_dir"], "ray_current_cluster"))
    except OSError:
        pass


def complain(spec_path: str, error: Exception) -> None:
    """Write why the launcher can't go on where whoever looks for the cause will look: nobody sees its own output."""
    path: Optional[str] = None
    try:
        path = load(spec_path)["log"]
        with open(path, "a", encoding="utf-8") as file:
            file.write("Error: the launcher ended: %s: %s\n" % (type(error).__name__, error))
    except (OSError, ValueError, KeyError):
        return


if __name__ == "__main__":
    try:
        Supervisor(*sys.argv[2:5]).forever()
    except Exception as problem:
        complain(sys.argv[2], problem)
        sys.exit(1)
