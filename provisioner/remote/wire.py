"""The host's end of the conversation: JSON lines on stdin and stdout, and raw bytes where a blob is announced.

Lines are ASCII, so that no code page can hurt them. Whoever the controller is, it is heard at least every 5 seconds
or given up after ``SILENCE``: a program whose controller vanished must not go on for ever, for it keeps others out.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time

from provisioner.remote.failure import Failure
from provisioner.remote.pieces import Pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    Message = Dict[str, Any]

BEAT = 5.0
"""Seconds between two signs of life to the controller."""
SILENCE = 30.0
"""Seconds without a word from the controller after which the program gives up."""
LOOK = 1.0
"""Seconds between two looks at that."""
STALL = 120.0
"""Seconds without a byte of any file after which a transfer is given up."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one line at most; more is no message of ours."""


LONGEST_TEXT = 16 * 1024
"""Characters of a text for the user: the controller cuts off a host that has far more to say."""
QUESTIONS = 64
"""Questions of the controller that may be open at once."""


class Delivery:
    """One file that the controller sends; its bytes go to a sink piece by piece, in the thread that listens."""

    def __init__(self, wire: Wire, number: int, sink: Callable[[bytes], None]) -> None:
        self._wire = wire
        self._number = number
        self._sink = sink
        self._ended: queue.Queue[Optional[Exception]] = queue.Queue()

    def take(self, piece: bytes) -> Optional[Exception]:
        """Hand on a piece; returns what kept it from being taken."""
        try:
            self._sink(piece)
        except (OSError, ValueError) as error:  # ValueError: whoever wanted it has given up
            return error
        return None

    def end(self, error: Optional[Exception] = None) -> None:
        """Note that no more comes."""
        self._ended.put(error)

    def wait(self) -> None:
        """Return when all of it has come.

        Raises:
            Failure: the controller does not have it, or sends nothing any more.
            OSError: the sink could not take it.
        """
        begun = time.monotonic()
        while True:
            try:
                error = self._ended.get(timeout=5.0)
                break
            except queue.Empty:
                if time.monotonic() - max(begun, self._wire.poured) > STALL:
                    raise Failure("a transfer stood still for %d s" % STALL, "run the same command again") from None
        self._number = 0
        if error is not None:
            raise error

    def cancel(self) -> None:
        """Have the controller send no more of it; nothing happens if all of it was waited for."""
        if self._number:
            self._wire.forget(self._number)


class Wire:
    """Sends and receives messages; a thread of its own reads, so that questions are answered during a task.

    Args:
        answer: called in a thread for each ``query`` of the controller, with what may send pieces before the reply;
            returns the reply's value.
        lost: called when the controller is gone; must end the program.
        stop: called in a thread when the user wants the run ended: first with True, to begin nothing more, then with
            False: must end the program.
        pause: called where nobody must be kept waiting: whether nothing may be begun for now.
        cut: called in a thread when what is being done is given up, and the program is to stay.
    """

    def __init__(
        self,
        answer: Callable[[str, Any, Pieces], Any],
        lost: Callable[[], None],
        stop: Callable[[bool], None] = lambda halt: None,
        pause: Callable[[bool], None] = lambda on: None,
        cut: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer = answer
        self._lost = lost
        self._stop = stop
        self._pause = pause
        self._cut = cut
        self._out = sys.stdout.buffer
        self._lock = threading.Lock()
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._room = threading.Semaphore(QUESTIONS)
        self._waiting: Dict[int, queue.Queue[Message]] = {}
        self._deliveries: Dict[int, Delivery] = {}
        self._pieces: Dict[int, Pieces] = {}
        self.poured = 0.0
        """When the last bytes of a file came (``time.monotonic()``)."""
        self.received = 0
        """Bytes of files that have come so far."""
        self._buffer = bytearray()
        self._taking = False
        self._asked = 0
        self.heard = time.monotonic()
        """When the controller was last heard (``time.monotonic()``)."""

    def start(self) -> None:
        """Begin to listen and to give signs of life."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, message: Message) -> None:
        for name in ("message", "text", "remedy", "error", "reason"):
            told = message.get(name)
            if isinstance(told, str) and len(told) > LONGEST_TEXT:
                message = dict(message, **{name: told[:LONGEST_TEXT] + " ..."})
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
            timeout: seconds to wait for the answer, or for a word that it is still being worked on and gets on.

        Raises:
            Failure: the other side can't say, or said nothing in time.
        """
        number = self._number()
        box: queue.Queue[Message] = queue.Queue()
        self._waiting[number] = box
        self.send({"type": "ask", "id": number, "to": to, "what": what, "args": args})
        try:
            reply = box.get(timeout=timeout)
            while reply["type"] == "moving":
                reply = box.get(timeout=timeout)
        except queue.Empty:
            raise Failure("no answer from %s within %d s (asked for %s)" % (to, timeout, what)) from None
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise Failure(reply["error"], reply.get("remedy", ""))
        return reply.get("value")

    def need(self, sha256: str, offset: int, sink: Callable[[bytes], None]) -> Delivery:
        """Have the controller send a file, from an offset on; returns at once, so that many can be asked for."""
        number = self._number()
        delivery = self._deliveries[number] = Delivery(self, number, sink)
        self.send({"type": "need", "id": number, "sha256": sha256, "offset": offset})
        return delivery

    def forget(self, number: int) -> None:
        """Have no more of a file sent."""
        if self._deliveries.pop(number, None) is not None:
            self.send({"type": "enough", "id": number})

    def _number(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked

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
        if kind in ("halt", "stop"):
            threading.Thread(target=self._stop, args=(kind == "halt",), daemon=True).start()
        elif kind == "pause":
            self._pause(bool(message.get("on")))
        elif kind == "cut":
            threading.Thread(target=self._cut, daemon=True).start()
        elif kind == "blob":
            self._pour(message)
        elif kind in ("answer", "moving"):
            self._deliver(message)
        elif kind == "query":
            question = (message["id"], message["what"], message.get("args"))
            self._pieces[message["id"]] = Pieces(self.send, message["id"])
            if self._room.acquire(blocking=False):
                threading.Thread(target=self._reply, args=question, daemon=True).start()
            else:
                told = "it was asked more than %d questions at once" % QUESTIONS
                self.send({"type": "reply", "id": message["id"], "error": told})
        elif kind in ("more", "enough"):
            pieces = self._pieces.get(message["id"])
            if pieces is not None:
                pieces.taken() if kind == "more" else pieces.end()
        else:
            self._inbox.put(message)

    def _deliver(self, message: Message) -> None:
        number = message["id"]
        delivery = self._deliveries.pop(number, None)
        if delivery is not None:
            delivery.end(Failure(str(message.get("error")), str(message.get("remedy", ""))))
            return
        box = self._waiting.get(number)
        if box is not None:
            box.put(message)

    def _pour(self, message: Message) -> None:
        """Hand on one slice of a file; between two slices other messages may come."""
        number, left = message["id"], max(0, int(message["size"]))
        while left:
            piece = self._bytes(left)
            left -= len(piece)
            self.poured = time.monotonic()
            self.received += len(piece)
            delivery = self._deliveries.get(number)
            problem = self._hand_on(delivery, piece) if delivery is not None else None
            if delivery is not None and problem is not None:
                self.forget(number)
                delivery.end(problem)
        if message.get("last"):
            delivery = self._deliveries.pop(number, None)
            if delivery is not None:
                delivery.end()

    def _hand_on(self, delivery: Delivery, piece: bytes) -> Optional[Exception]:
        """Nobody listens to the controller meanwhile: a disk that stands still for a while makes it no silent one."""
        self._taking = True
        try:
            return delivery.take(piece)
        finally:
            self.heard = time.monotonic()
            self._taking = False

    def _reply(self, number: int, what: str, args: Any) -> None:
        try:
            reply: Message = {"value": self._answer(what, args, self._pieces[number])}
        except Failure as failure:
            reply = {"error": failure.message, "remedy": failure.remedy}
        except Exception as error:  # an answer must come whatever happens, or the asker waits in vain
            reply = {"error": "%s: %s" % (type(error).__name__, error)}
        finally:
            self._room.release()
            self._pieces.pop(number, None)
        self.send(dict(reply, type="reply", id=number))

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            self.send({"type": "beat"})

    def _watch(self) -> None:
        """Notice that the controller is gone. Not where something is sent: that waits if nobody reads any more."""
        while time.monotonic() - self.heard <= (STALL if self._taking else SILENCE):
            time.sleep(min(LOOK, SILENCE))
        self._lost()

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
        self.heard = time.monotonic()
        self._buffer += data
        return bool(data)
