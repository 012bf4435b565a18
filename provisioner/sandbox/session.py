"""One command on a sandbox host: its process, the streams between it and the client, and how both end.

As in OpenSSH's sshd the exit status goes out as soon as the process ends, and the channel closes once its output
is drained, however long something it left behind holds that output open.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

assert sys.platform != "win32"

_LOOK_AGAIN = 0.25  # seconds until a waiting stream looks whether its client is still there
_INPUT_CHUNK = 1 << 22  # at least the channel's window: paramiko moves what a shorter read leaves behind
_OUTPUT_CHUNK = 1 << 16


class Sessions:
    """Every process group this daemon started that may still run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._closing = False

    def run(self, channel: paramiko.Channel, command: bytes, environment: Mapping[str, str], home: Path) -> Session:
        """Start a command; its streams flow once ``Session.start`` is called.

        Raises:
            OSError: the process could not be started.
        """
        with self._lock:
            if self._closing:
                raise OSError("the sandbox is stopping")
            session = Session(channel, command, environment, home)
            self._groups.add(session.process.pid)
        return session

    def sweep(self) -> None:
        """Forget the groups that ended; soon enough that their number is not in use again."""
        with self._lock:
            self._groups = {group for group in self._groups if group_alive(group)}

    def end(self, patience: float) -> None:
        """End every group: politely, and after ``patience`` seconds for good. What called setsid lives on."""
        with self._lock:
            self._closing = True
        for number in (signal.SIGHUP, signal.SIGKILL):
            self.sweep()
            for group in self._groups:
                signal_group(group, number)
            limit = time.monotonic() + patience
            while self._groups and time.monotonic() < limit:
                time.sleep(0.02)
                self.sweep()


class Session:
    """A process with its three streams joined to a channel."""

    def __init__(self, channel: paramiko.Channel, command: bytes, environment: Mapping[str, str], home: Path) -> None:
        self._channel = channel
        self._exited = threading.Event()
        self.process = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def start(self) -> None:
        """Let the streams flow, each in a thread of its own."""
        output = threading.Thread(target=self._carry_output, daemon=True)
        output.start()
        threading.Thread(target=self._carry_input, daemon=True).start()
        threading.Thread(target=self._wait, args=(output,), daemon=True).start()

    def _wait(self, output: threading.Thread) -> None:
        """Reap the process, report how it ended, and close the channel when its output is out."""
        status = self.process.wait()  # ends with the process; the channel's end sends it SIGHUP
        self._exited.set()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the client may be gone
            if status < 0:
                send_exit_signal(self._channel, -status)
            else:
                self._channel.send_exit_status(status)
        output.join()  # ends with the output or the channel
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _hang_up(self) -> None:
        """Tell the process that its client is gone."""
        if not self._exited.is_set():
            signal_group(self.process.pid, signal.SIGHUP)

    def _carry_output(self) -> None:
        stdout, stderr = self.process.stdout, self.process.stderr
        assert stdout is not None and stderr is not None
        size = min(_OUTPUT_CHUNK, self._channel.out_max_packet_size - 64)  # one read, one packet
        with stdout, stderr, selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ, self._channel.sendall)
            ready.register(stderr, selectors.EVENT_READ, self._channel.sendall_stderr)
            while ready.get_map() and not self._channel.closed:
                for key, _ in ready.select(_LOOK_AGAIN):
                    if not self._carry_chunk(key, size):
                        ready.unregister(key.fileobj)
        while not self._channel.closed and not self._exited.wait(_LOOK_AGAIN):
            pass
        if self._channel.closed:
            self._hang_up()

    def _carry_chunk(self, key: selectors.SelectorKey, size: int) -> bool:
        """Pass on what is there to be read; False at the end of the stream."""
        data = os.read(key.fd, size)
        if data:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # closed: the caller sees it next
                key.data(data)
        return bool(data)

    def _carry_input(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        os.set_blocking(stdin.fileno(), False)
        listening = True
        with stdin:
            while data := self._receive():
                listening = listening and self._write(stdin.fileno(), data)

    def _receive(self) -> bytes:
        """Wait for input; empty at its end, or at the end of the channel or the connection."""
        try:
            return self._channel.recv(_INPUT_CHUNK)
        except (OSError, EOFError, paramiko.SSHException):
            return b""

    def _write(self, stdin: int, data: bytes) -> bool:
        """Write all of it as fast as the process reads; False once nobody will read it any more."""
        room = select.poll()
        room.register(stdin, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if self._channel.closed or self._exited.is_set():
                return False
            try:
                rest = rest[os.write(stdin, rest) :]
            except BlockingIOError:
                room.poll(_LOOK_AGAIN * 1000)
            except BrokenPipeError:
                return False
        return True


def send_exit_signal(channel: paramiko.Channel, number: int) -> None:
    """Report that a signal ended the process (RFC 4254, section 6.10); paramiko has no call for it."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(_signal_name(number))
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    if channel.transport is not None:
        channel.transport._send_user_message(message)  # type: ignore[attr-defined]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"{number}@provisioner"


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_alive(group: int) -> bool:
    """Say whether a process group has members; ones we may not signal count too."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
