"""The tests' own server: who has gone is not told of in another test's capture; a mistake in a handler is."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from tests.quiet_server import QuietServer


@pytest.mark.parametrize(
    ("failure", "told"), [(ConnectionResetError, False), (BrokenPipeError, False), (KeyError, True)]
)
def test_only_of_those_who_have_gone_nothing_is_said(
    failure: type[Exception], told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with QuietServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        try:
            raise failure
        except failure:
            server.handle_error(None, ("127.0.0.1", 1))
    assert ("Traceback" in capsys.readouterr().err) is told
