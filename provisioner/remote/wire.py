"""The host's end of the conversation: JSON lines on stdin and stdout, and raw bytes where a blob is announced.

Lines are ASCII, so that no code page can hurt them. Whoever the controller is, it is heard at least every 15 seconds
or given up after ``SILENCE``: a program whose controller vanished must not go on for ever.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    Message = Dict[str, Any]

BEAT = 5.0
"""Seconds between two signs of life to the controller."""
SILENCE = 90.0
"""Seconds without a word from the controller after which the program gives up."""
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of one line at most; more is no message of ours."""


class Wire:
    """Sends and receives messages; a thread of its own reads, so that questions are answered during a task.

    Args:
        answer: called in a thread for each ``query`` of the controller; returns the reply's value.
        lost: called when the controller is gone; must end the program.
    """

    def __init__(self, answer: Callable[[str, Any], Any], lost: Callable[[], None]) -> None:
        self._answer = answer
        self._lost = lost
        self._out = sys.stdout.buffer
        self._lock = threading.Lock()
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._waiting: Dict[int, queue.Queue[Message]] = {}
        self._sinks: Dict[str, Callable[[bytes], None]] = {}
        self._buffer = bytearray()
        self._asked = 0
        self._heard = time.monotonic()

    def start(self) -> None:
        """Begin to listen and to give signs of life."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, message: Message) -> None:
        line = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            try:
                self._out.write(line)
                self._out.flush()
            except OSError:
                self._lost()

    def receive(self) -> Message:
        """Wait for the controller's next instruction (the watch over its silence limits the wait)."""
        return self._inbox.get()

    def ask(self, to: str, what: str, args: Any = None, timeout: float = 60.0) -> Any:
        """Put a question to the controller or, through it, to another host.

        Args:
            to: ``controller`` or the inventory name of a host in this run.
            timeout: seconds to wait for the answer.

        Raises:
            Failure: the other side can't say, or said nothing in time.
        """
        with self._lock:
            self._asked += 1
            number = self._asked
            box: queue.Queue[Message] = queue.Queue()
            self._waiting[number] = box
        self.send({"type": "ask", "id": number, "to": to, "what": what, "args": args})
        try:
            reply = box.get(timeout=timeout)
        except queue.Empty:
            raise Failure("no answer from %s within %d s (asked for %s)" % (to, timeout, what)) from None
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise Failure(reply["error"], reply.get("remedy", ""))
        return reply.get("value")

    def need(self, sha256: str, sink: Callable[[bytes], None], timeout: float) -> None:
        """Have the controller send a blob; its bytes are handed to ``sink`` piece by piece."""
        box: queue.Queue[Message] = queue.Queue()
        with self._lock:
            self._asked += 1
            number = self._asked
            self._waiting[number] = box
        self._sinks[sha256] = sink
        self.send({"type": "need", "id": number, "sha256": sha256})
        try:
            reply = box.get(timeout=timeout)
        except queue.Empty:
            raise Failure("a transfer did not end within %d s" % timeout) from None
        finally:
            self._waiting.pop(number, None)
            self._sinks.pop(sha256, None)
        if "error" in reply:
            raise Failure(reply["error"], reply.get("remedy", ""))

    def _listen(self) -> None:
        try:
            while True:
                line = self._line()
                if line is None:
                    break
                self._take(json.loads(line.decode("ascii")))
        except Exception as error:  # whatever it is, the rest can't be understood either
            told = "the controller sent what is no message (%s: %s)" % (type(error).__name__, str(error)[:200])
            self.send({"type": "error", "message": told, "remedy": "run the same command again", "task": ""})
        self._lost()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "beat":
            return
        if kind == "blob":
            self._pour(message)
        elif kind == "answer":
            self._deliver(message)
        elif kind == "query":
            question = (message["id"], message["what"], message.get("args"))
            threading.Thread(target=self._reply, args=question, daemon=True).start()
        else:
            self._inbox.put(message)

    def _deliver(self, message: Message) -> None:
        box = self._waiting.get(message["id"])
        if box is not None:
            box.put(message)

    def _pour(self, message: Message) -> None:
        sink = self._sinks.get(message["sha256"])
        left = max(0, int(message["size"]))
        problem: Optional[Exception] = None
        while left:
            piece = self._bytes(left)
            left -= len(piece)
            if sink is None or problem is not None:
                continue
            try:
                sink(piece)
            except (OSError, ValueError) as error:  # ValueError: whoever wanted it gave up and closed the file
                problem = error
        self._deliver({"id": message["id"]} if problem is None else _failed(message["id"], problem))

    def _reply(self, number: int, what: str, args: Any) -> None:
        try:
            reply: Message = {"value": self._answer(what, args)}
        except Failure as failure:
            reply = {"error": failure.message, "remedy": failure.remedy}
        except Exception as error:  # an answer must come whatever happens, or the asker waits in vain
            reply = {"error": "%s: %s" % (type(error).__name__, error)}
        self.send(dict(reply, type="reply", id=number))

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            if time.monotonic() - self._heard > SILENCE:
                self._lost()
            self.send({"type": "beat"})

    def _line(self) -> Optional[bytes]:
        start = 0
        while True:
            end = self._buffer.find(b"\n", start)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            start = len(self._buffer)
            if start > LONGEST_LINE or not self._fill():
                return None

    def _bytes(self, limit: int) -> bytes:
        if not self._buffer and not self._fill():
            raise OSError("the connection ended in the middle of a transfer")
        piece = bytes(self._buffer[:limit])
        del self._buffer[: len(piece)]
        return piece

    def _fill(self) -> bool:
        data = os.read(0, 1 << 18)
        self._heard = time.monotonic()
        self._buffer += data
        return bool(data)


def _failed(number: int, error: Exception) -> Message:
    from provisioner.remote.failure import from_exception

    failure = from_exception(error)
    return {"id": number, "error": failure.message, "remedy": failure.remedy}
