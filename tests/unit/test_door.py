"""The door before a dashboard: one browser is let in, once; whoever else comes, whatever they say, is not."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provisioner.transport.door import LONGEST_HEAD, Door
from provisioner.transport.forward import Forward

TOKEN = "a0" * 32


class Dashboard(BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = f"{self.requestline}\n{self.headers}{self.rfile.read(size).decode()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return


class Channel:
    """A connection with the methods of SSH's."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self.recv = self._socket.recv
        self.sendall = self._socket.sendall
        self.close = self._socket.close

    def shutdown_write(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)


class Place:
    """A door with a dashboard behind it."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.door = Door(lambda: TOKEN, "127.0.0.1:8265")
        self.forward = Forward(lambda: Channel(self.server.server_port), 0, self.door.serve)
        self.door.port = self.forward.port

    def ask(self, path: str, method: str = "GET", body: str = "", **fields: str) -> tuple[int, str, str]:
        """Return status, text and the cookie that is set."""
        client = http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        client.request(method, path, body or None, named)
        answer = client.getresponse()
        text, cookie = answer.read().decode(), answer.getheader("Set-Cookie") or ""
        client.close()
        return answer.status, text, cookie.partition(";")[0]

    def enter(self) -> str:
        status, _, cookie = self.ask(self.door.invitation().partition(str(self.door.port))[2])
        assert status == 303
        return cookie

    def close(self) -> None:
        self.forward.close()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def test_a_browser_that_was_invited_is_let_in_and_ray_is_shown_the_token(place: Place) -> None:
    cookie = place.enter()
    status, text, _ = place.ask("/api/jobs/?x=1", Cookie=f"theirs=1; {cookie}", User_Agent="me")
    assert status == 200
    lines = text.splitlines()
    assert lines[0] == "GET /api/jobs/?x=1 HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN}" in lines
    assert "Host: 127.0.0.1:8265" in lines and "Cookie: theirs=1" in lines and "User-Agent: me" in lines
    assert cookie not in text


def test_a_body_goes_with_its_request(place: Place) -> None:
    cookie = place.enter()
    origin = f"http://127.0.0.1:{place.door.port}"
    status, text, _ = place.ask("/x", "POST", "b" * 200_000, Cookie=cookie, Origin=origin)
    assert status == 200
    assert text.endswith("b" * 200_000)
    assert "Origin: http://127.0.0.1:8265" in text


def test_an_invitation_works_once(place: Place) -> None:
    path = place.door.invitation().partition(str(place.door.port))[2]
    assert place.ask(path)[0] == 303
    assert place.ask(path)[0] == 403


def test_the_cookie_is_for_scripts_and_other_sites_out_of_reach(place: Place) -> None:
    client = http.client.HTTPConnection("127.0.0.1", place.door.port, timeout=20)
    client.request("GET", place.door.invitation().partition(str(place.door.port))[2])
    fields = client.getresponse().getheader("Set-Cookie") or ""
    assert fields.endswith("; Path=/; HttpOnly; SameSite=Strict")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 403),
        ({"Cookie": "provision-PORT=guess"}, 403),
        ({"Cookie": "KEY", "Host": "evil.example:PORT"}, 421),
        ({"Cookie": "KEY", "Host": "127.0.0.1"}, 421),
        ({"Cookie": "KEY", "Origin": "http://evil.example"}, 403),
        ({"Cookie": "KEY", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Cookie": "KEY", "Origin": "null"}, 403),
        ({"Cookie": "KEY", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Cookie": "KEY", "Host": "localhost:PORT"}, 200),
        ({"Cookie": "KEY", "Authorization": "Bearer theirs"}, 200),
    ],
)
def test_who_may_not_come_in_is_refused(place: Place, fields: dict[str, str], status: int) -> None:
    cookie = place.enter()
    said = {name: text.replace("PORT", str(place.door.port)).replace("KEY", cookie) for name, text in fields.items()}
    found, text, _ = place.ask("/x", "POST", "y", **said)
    assert found == status
    assert "theirs" not in text
    assert (TOKEN in text) == (status == 200)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n bad\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\nAuthorization: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * LONGEST_HEAD,
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_what_is_no_request_is_answered_and_handed_to_nobody(place: Place, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", place.door.port), 20) as client:
        client.sendall(said.replace(b"PORT", str(place.door.port).encode()))
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                answer += piece
    assert answer.split(b" ")[1][:1] == b"4"
    assert TOKEN.encode() not in answer


def test_a_port_that_is_taken_is_refused(place: Place) -> None:
    with pytest.raises(OSError):
        Forward(lambda: Channel(1), place.forward.port)


def test_bytes_go_both_ways_until_both_have_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            taken, _ = server.accept()
            with taken:
                while piece := taken.recv(65536):
                    taken.sendall(piece)
                taken.sendall(b"end")

        threading.Thread(target=echo, daemon=True).start()
        forward = Forward(lambda: Channel(server.getsockname()[1]))
        with socket.create_connection(("127.0.0.1", forward.port), 20) as client:
            client.sendall(b"x" * 1_000_000)
            client.shutdown(socket.SHUT_WR)
            said = b""
            while piece := client.recv(65536):
                said += piece
        forward.close()
    assert said == b"x" * 1_000_000 + b"end"
