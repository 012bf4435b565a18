"""A package index on loopback with real small packages, for the real uv: PEP 503 pages, Basic auth if wanted."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from pathlib import Path

from .quiet_server import QuietServer

UV_TAGS = (
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "macosx_11_0_arm64",
    "win_amd64",
)
_BACKEND = """
import zipfile
TAG = "{tag}"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{name}-{version}-%s.whl" % TAG
    about = "{name}-{version}.dist-info/"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        for path, text in {{
            "{name}.py": "VERSION = '{version}' # " + str({salt}),
            about + "METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
            about + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: %s\\n" % TAG,
            about + "RECORD": "",
        }}.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
"""


def make_wheel(folder: Path, name: str, release: str, tag: str = "py3-none-any", needs: Sequence[str] = ()) -> Path:
    """Write the smallest wheel there is, the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{release}-{tag}.whl"
    about = f"{name}-{release}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in {
            f"{name}.py": f"VERSION = {release!r}\n",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{requires}",
            f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{about}/RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return file


def make_sdist(folder: Path, name: str, release: str, builds: str = "py3-none-any", salt: str = "0") -> Path:
    """Write a source archive with a build backend of its own, which makes a wheel with that tag.

    ``salt`` is an expression that is evaluated for each build; its value becomes part of the wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{release}.tar.gz"
    project = f'[project]\nname = "{name}"\nversion = "{release}"\n'
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    with tarfile.open(file, "w:gz") as archive:
        for path, text in {
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {release}\n",
            "pyproject.toml": project + system,
            "backend.py": _BACKEND.format(name=name, version=release, tag=builds, salt=salt),
        }.items():
            entry = tarfile.TarInfo(f"{name}-{release}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return file


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass
class Index:
    """A folder of packages, served as an index while `serving`.

    Args:
        folder: the packages' files.
        user: who may look, with ``password``; everybody if empty.
    """

    folder: Path
    user: str = ""
    password: str = ""
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for."""
    refused: list[str] = field(default_factory=list)
    """Paths that were asked for without the right login."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"

    def add(self, name: str, release: str, tag: str = "py3-none-any", needs: Sequence[str] = ()) -> Path:
        return make_wheel(self.folder, name, release, tag, needs)

    def add_sdist(self, name: str, release: str, builds: str = "py3-none-any", salt: str = "0") -> Path:
        return make_sdist(self.folder, name, release, builds, salt)

    def add_uv(self) -> None:
        """Offer what passes for the uv that is installed here, for every platform."""
        for tag in UV_TAGS:
            self.add("uv", version("uv"), f"py3-none-{tag}")

    @contextmanager
    def serving(self) -> Iterator[Index]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                if not index.lets_in(self.headers.get("Authorization", "")):
                    index.refused.append(self.path)
                    self._answer(401, b"who are you?")
                    return
                content = index.page(self.path)
                self._answer(200 if content is not None else 404, content or b"")

            do_HEAD = do_GET

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        with QuietServer(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()

    def lets_in(self, header: str) -> bool:
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return not self.user or header == f"Basic {login}"

    def page(self, path: str) -> bytes | None:
        """Return what is under a path: a project's page or a file."""
        parts = path.strip("/").split("/")
        if parts[0] == "files" and len(parts) == 2:
            file = self.folder / parts[1]
            return file.read_bytes() if file.is_file() else None
        if parts[0] != "simple" or len(parts) != 2:
            return None
        found = [file for file in sorted(self.folder.iterdir()) if _project(file.name) == parts[1]]
        links = [f'<a href="/files/{file.name}#sha256={sha256_of(file)}">{file.name}</a>' for file in found]
        return "\n".join(links).encode() if links else None


def _project(filename: str) -> str:
    return filename.split("-")[0].replace("_", "-").lower()
