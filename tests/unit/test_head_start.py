"""Redis's password is on no command line and in no variable of what Ray starts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.head_start import hiding, password_in, without

FLAGS = "/opt/provision/lab/service/redis.flags"


def worker_command(password: str) -> str:
    """The raylet's argument, as ray/_private/services.py of 2.60.0 makes it: one word with a whole command line."""
    words = ["python", "setup_worker.py", "--cluster-id=1", "PLACEHOLDER", f"--redis-password={password}"]
    return "--python_worker_command=" + subprocess.list2cmdline(words)


@pytest.mark.parametrize("password", ["5f3a" * 16, 'a"b\\c$d', "x.*+(y)"])
@pytest.mark.parametrize(
    ("process", "wanted"),
    [
        (
            ["gcs_server", "--a=1", "--redis_password={}", "--b=2"],
            ["gcs_server", "--a=1", f"--flagfile={FLAGS}", "--b=2"],
        ),
        (["raylet", "--cpp=w --ray_redis_password={} --x=1"], ["raylet", "--cpp=w --x=1"]),
        (["raylet", "--java=java -Dray.redis.password={} Main"], ["raylet", "--java=java Main"]),
        (["client", "--redis-username=me"], ["client", "--redis-username=me"]),
    ],
)
def test_it_is_taken_out_of_command_lines(process: list[str], wanted: list[str], password: str) -> None:
    assert without(password, [word.replace("{}", password) for word in process], FLAGS) == wanted


@pytest.mark.parametrize("password", ["5f3a" * 16, 'a"b\\c$d', 'q"'])
def test_workers_of_the_head_never_get_it(password: str) -> None:
    (word,) = without(password, [worker_command(password)], FLAGS)
    assert word == "--python_worker_command=python setup_worker.py --cluster-id=1 PLACEHOLDER"


def test_other_options_stay() -> None:
    assert without("lab", same := ["--name=lab", "--x=a --redis-username=lab --y=lab"], FLAGS) == same


def test_it_is_taken_out_of_variables() -> None:
    seen: list[tuple[Any, ...]] = []

    def start(command: list[str], kind: str, **settings: Any) -> str:
        seen.append((command, kind, settings))
        return "started"

    hidden = hiding(start, "pw", FLAGS)
    assert hidden(["server"], "ray_client_server", env_updates={"RAY_REDIS_PASSWORD": "pw", "A": "1"}) == "started"
    assert hidden(["gcs", "--redis_password=pw"], "gcs_server", fate_share=True) == "started"
    assert seen == [
        (["server"], "ray_client_server", {"env_updates": {"A": "1"}}),
        (["gcs", f"--flagfile={FLAGS}"], "gcs_server", {"fate_share": True}),
    ]


def test_a_password_that_is_a_part_of_a_path_is_there_by_coincidence() -> None:
    """Whoever chooses `provision`, where Ray lies in /opt/provision, is not told that Ray shows it."""
    started: list[Any] = []
    command = ["gcs_server", "--redis_password=provision", "--log_dir=/opt/provision/lab/ray"]
    ours = ["/opt/provision/lab/env/e1/bin/python", "--head"]
    hiding(lambda words, **_: started.extend(words), "provision", FLAGS, ours)(command)
    assert started == ["gcs_server", f"--flagfile={FLAGS}", "--log_dir=/opt/provision/lab/ray"]
    with pytest.raises(RuntimeError, match="or choose a password that is no part of a path"):
        hiding(lambda words, **_: None, "provision", FLAGS, ["--head"])(command)


SHOWN: list[tuple[list[str], dict[str, str]]] = [
    (["gcs_server", "--redis-password", "s3cr3t-pw"], {}),
    (["raylet", "--cpp=w --password:s3cr3t-pw"], {}),
    (["raylet", '--cpp=w --redis_secret="s3cr3t-pw"'], {}),
    (["worker"], {"RAY_redis_password": "s3cr3t-pw"}),
]


@pytest.mark.parametrize(("command", "variables"), SHOWN)
def test_a_release_that_would_show_it_in_another_way_is_not_run(command: list[str], variables: dict[str, str]) -> None:
    started: list[Any] = []
    hidden = hiding(lambda *each, **_: started.append(each), "s3cr3t-pw", FLAGS)
    with pytest.raises(RuntimeError, match="this release of Ray would show") as caught:
        hidden(command, "kind", env_updates=variables)
    assert started == [] and "s3cr3t-pw" not in str(caught.value)
    hiding(lambda *each, **_: started.append(each), "short", FLAGS)(["x", "--name=short"], "kind")
    assert len(started) == 1, "a short one may be a word of anything"


@pytest.mark.parametrize(("content", "wanted"), [("--redis_password=a=b\n", "a=b"), ("--redis_password=x", "x")])
def test_the_file_of_flags(content: str, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "redis.flags"
    path.write_text(content)
    assert password_in(str(path)) == wanted
    path.write_text("something else")
    with pytest.raises(ValueError, match="no password"):
        password_in(str(path))
