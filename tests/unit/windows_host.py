"""A Windows host as a service manager asks it, with recorded answers: for tests that run elsewhere."""

from __future__ import annotations

import ntpath
from pathlib import Path
from typing import Any


class Windows:
    """What the service manager asks of the platform, with recorded answers by program and verb."""

    def __init__(self, answers: dict[str, tuple[int, str]], elevated: bool = True) -> None:
        self.answers = answers
        self.elevated = elevated
        self.ran: list[tuple[list[str], dict[str, str] | None]] = []
        self.files: dict[str, str] = {}

    def run(self, argv: list[str], timeout: float = 60.0, env: dict[str, str] | None = None) -> tuple[int, str]:
        self.ran.append((argv, env))
        for path in [*argv, *(env or {}).values()]:
            if path.endswith(".xml"):
                self.files[path] = Path(path).read_bytes().decode("utf-16")
        return self.answers.get(f"{ntpath.basename(argv[0])} {argv[1]}", (0, ""))

    def login_account(self) -> str:
        return "kim"

    def privileged(self) -> bool:
        return self.elevated

    def make_folder(self, path: str, account: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)

    def make_sessions(self, path: str, account: str, enclosure: str = "", ours: bool = False) -> None:
        self.make_folder(path, account)

    def admit(self, path: str, account: str) -> None:
        assert Path(path).is_file()


class Host:
    cluster = "lab"

    def __init__(
        self, folder: Path, account: str, password: str, answers: dict[str, tuple[int, str]], elevated: bool = True
    ) -> None:
        self.root, self.account, self.account_password = folder, account, password
        self.platform = Windows(answers, elevated)
        self.shared: dict[str, Any] = {}
        self.service_manager: Any = None
        self.said: list[str] = []

    def doing(self, text: str) -> None:
        self.said.append(text)

    def path(self, *parts: str) -> str:
        return str(self.root.joinpath(*parts))

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(data)
        Path(path).chmod(mode)
