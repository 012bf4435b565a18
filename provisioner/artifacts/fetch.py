"""Download what a lock names: in parallel, verified, and only what the cache does not have yet."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from provisioner import portable
from provisioner.artifacts.addresses import login_for, redact, shown
from provisioner.artifacts.cache import BeginAnew, Cache
from provisioner.artifacts.explain import LOGIN_REMEDY
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int], None]
"""Called with the bytes that arrived and the bytes to come in all; from several threads, one at a time."""
Login = Callable[[str], "tuple[str, str] | None"]
"""Returns user and password for an address, if there are any."""

PARALLEL = 6
ATTEMPTS = 3
BACKOFF = 0.5
"""Seconds before the second attempt; doubled each time."""
TIMEOUT = (15.0, 60.0)
"""Seconds for connecting, and between two pieces of an answer."""
LIMIT = 3600.0
"""Seconds for everything together."""
_CHUNK = 1 << 18


class Wanted(Protocol):
    """A file to fetch. ``size`` in bytes, 0 if unknown."""

    @property
    def filename(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def url(self) -> str: ...


class _Interrupted(Exception):
    """A download that broke; worth another attempt if ``again``."""

    def __init__(self, reason: str, remedy: str, *, again: bool) -> None:
        super().__init__(reason)
        self.remedy = remedy
        self.again = again


class _Meter:
    """Counts what arrives, tells the caller, and lets one failure stop the rest."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total = total
        self._progress = progress
        self._stopped = threading.Event()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress:
                self._progress(self._done, max(self._total, self._done))

    def stop(self) -> None:
        self._stopped.set()

    def stopped(self) -> bool:
        return self._stopped.is_set()

    def pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)


def fetch(
    files: Iterable[Wanted], cache: Cache, progress: Progress | None = None, *, login: Login | None = None
) -> dict[str, Path]:
    """Make sure that all these files are in the cache and return where, by sha256.

    Args:
        files: what is wanted.
        cache: where it is kept.
        progress: told what arrives.
        login: asked for credentials; None: uv's settings in the environment are.

    Raises:
        ProvisionError: a file could not be fetched, or is not the one that was locked.
    """
    wanted = {file.sha256: file for file in files}
    found = {sha256: cache.find(sha256, file.size) for sha256, file in wanted.items()}
    paths = {sha256: path for sha256, path in found.items() if path}
    missing = [file for sha256, file in wanted.items() if sha256 not in paths]
    if missing:
        largest_first = sorted(missing, key=lambda file: -file.size)
        meter = _Meter(sum(file.size for file in missing), progress)
        paths.update(_download_all(largest_first, cache, login or _login_of_user, meter))
    return paths


def _login_of_user(url: str) -> tuple[str, str] | None:
    return login_for(url, os.environ)


def _download_all(files: list[Wanted], cache: Cache, login: Login, meter: _Meter) -> dict[str, Path]:
    session = None if all(file.url.startswith("file:") for file in files) else _session()

    def read(file: Wanted, offset: int) -> Iterator[bytes]:
        if session is None or file.url.startswith("file:"):
            return _read_local(file.url, offset)
        return _read_remote(file.url, session, login(file.url), offset)

    futures: dict[Future[Path], Wanted] = {Future(): file for file in files}
    try:
        _share_out(futures, lambda file: _download(file, cache, read, meter))
        deadline = time.monotonic() + LIMIT
        pending: set[Future[Path]] = set(futures)
        while pending and time.monotonic() < deadline:
            done, pending = wait(futures, timeout=portable.POLL, return_when=FIRST_EXCEPTION)
            _raise_first(done)
        if pending:
            raise ProvisionError(
                f"fetching {len(pending)} packages took longer than {LIMIT / 60:.0f} minutes",
                remedy="What has arrived is kept: run the same command again to go on.",
            )
        return {file.sha256: future.result() for future, file in futures.items()}
    finally:
        meter.stop()  # those still at work see it at their next piece and end
        for future in futures:
            future.cancel()


def _share_out(futures: dict[Future[Path], Wanted], work: Callable[[Wanted], Path]) -> None:
    """Begin to fetch, a few files at a time.

    Not in an executor: a program that is interrupted would wait at its end for everything that executors have to do.
    """
    waiting: queue.SimpleQueue[tuple[Future[Path], Wanted]] = queue.SimpleQueue()
    for turn in futures.items():
        waiting.put(turn)
    for _ in range(min(PARALLEL, len(futures))):
        threading.Thread(target=_take_turns, args=(waiting, work), daemon=True, name="fetch").start()


def _take_turns(waiting: queue.SimpleQueue[tuple[Future[Path], Wanted]], work: Callable[[Wanted], Path]) -> None:
    while True:
        try:
            future, file = waiting.get_nowait()
        except queue.Empty:
            return
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(work(file))
        except BaseException as error:
            future.set_exception(error)


def _raise_first(done: set[Future[Path]]) -> None:
    errors = [error for error in (future.exception() for future in done) if error]
    if errors:
        raise errors[0]


def _download(file: Wanted, cache: Cache, read: Callable[[Wanted, int], Iterator[bytes]], meter: _Meter) -> Path:
    """Fetch one file, in several attempts if the connection breaks."""
    counted = 0
    for attempt in range(1, ATTEMPTS + 1):

        def chunks(offset: int = 0) -> Iterator[bytes]:
            nonlocal counted
            meter.add(offset - counted)
            counted = offset
            for chunk in read(file, offset):
                if meter.stopped():
                    raise _Interrupted("another file failed", "", again=False)
                counted += len(chunk)
                meter.add(len(chunk))
                yield chunk

        try:
            path = cache.keep(file.sha256, file.filename, chunks, size=file.size, rest=chunks, cancelled=meter.stopped)
            meter.add(0 if counted else file.size)
            return path
        except _Interrupted as broken:
            if not broken.again or attempt == ATTEMPTS or meter.stopped():
                raise ProvisionError(
                    f"{file.filename} could not be fetched from {shown(file.url)}: {broken}", remedy=broken.remedy
                ) from None
            meter.pause(BACKOFF * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _read_local(url: str, offset: int) -> Iterator[bytes]:
    path = Path(url2pathname(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        reason = f"{error.strerror or error}"
        remedy = "Look at the folders of `artifacts: {find_links: []}`, UV_FIND_LINKS and UV_INDEX."
        raise _Interrupted(reason, remedy, again=False) from error


def _read_remote(url: str, session: requests.Session, login: tuple[str, str] | None, offset: int) -> Iterator[bytes]:
    """Yield a file's bytes from the offset on."""
    import requests

    started = time.monotonic()
    try:
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        with session.get(url, stream=True, timeout=TIMEOUT, auth=login, headers=wanted) as response:
            if offset and response.status_code == 416:
                raise BeginAnew  # the file ends before what we have of it, which is therefore of another
            _check_status(response.status_code)
            known = offset if response.status_code == 200 else 0  # a server without ranges begins anew
            for chunk in response.iter_content(_CHUNK):
                yield chunk[known:]
                known = max(0, known - len(chunk))
                if time.monotonic() - started > LIMIT:
                    raise _Interrupted("it took too long", "Look at the connection and try again.", again=False)
    except requests.exceptions.SSLError as error:
        remedy = "If a proxy opens TLS here, set SSL_CERT_FILE to the file with its certificate authority."
        raise _Interrupted(_innermost(error), remedy, again=False) from error
    except requests.exceptions.RequestException as error:
        remedy = "Look at this machine's connection (and HTTPS_PROXY), then run the same command again."
        raise _Interrupted(_innermost(error), remedy, again=True) from error


def _check_status(status: int) -> None:
    if status in (401, 403, 407):
        raise _Interrupted(f"the server refused it (HTTP {status})", LOGIN_REMEDY, again=False)
    if status >= 500 or status == 429:
        raise _Interrupted(f"the server is in trouble (HTTP {status})", "Try again in a while.", again=True)
    if status not in (200, 206):
        remedy = "The package index no longer has this file; lock again with another version."
        raise _Interrupted(f"the server does not give it (HTTP {status})", remedy, again=False)


def _innermost(error: BaseException) -> str:
    """Return the one sentence at the bottom of what requests and urllib3 wrap several times."""
    cause: BaseException = error
    for _ in range(10):
        nested = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
        inner = nested if isinstance(nested, BaseException) else _exception_in(cause.args)
        if inner is None:
            break
        cause = inner
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return redact(str(text))[:300]


def _exception_in(values: tuple[object, ...]) -> BaseException | None:
    return next((value for value in values if isinstance(value, BaseException)), None)


def _session() -> requests.Session:
    """Return a session that knows the user's proxies and certificates; _download makes the further attempts."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    session = requests.Session()
    retry = Retry(
        total=3,
        backoff_factor=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        respect_retry_after_header=False,  # a server could ask for hours
        raise_on_status=False,
    )
    adapter = HTTPAdapter(max_retries=retry, pool_connections=PARALLEL, pool_maxsize=PARALLEL)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if not (os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")):
        session.verify = os.environ.get("SSL_CERT_FILE") or True  # uv knows only this one
    return session
