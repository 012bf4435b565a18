"""Ray on a relocated interpreter, in an environment that uv makes: run with ``pytest tests/net``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import uv

from tests import interpreters
from tests.interpreters import Interpreter

pytestmark = pytest.mark.skipif(not interpreters.at_hand(), reason="relocatable interpreters are made on Linux")


@pytest.mark.parametrize("interpreter", interpreters.at_hand()[:2], ids=lambda interpreter: str(interpreter.version))
def test_ray_imports_in_an_environment_of_it(interpreter: Interpreter, tmp_path: Path) -> None:
    program = interpreters.unpack(interpreters.relocatable(interpreter), tmp_path)
    environment = tmp_path / "env"
    settings = ["--no-config", "--quiet", "--python"]
    _run(uv.find_uv_bin(), "venv", *settings, str(program), str(environment))
    python = str(environment / "bin" / "python")
    _run(uv.find_uv_bin(), "pip", "install", *settings, python, "ray[default]==2.60.0", "redis")
    code = "import ray, sys, redis; print(ray.__version__, '%d.%d.%d' % sys.version_info[:3], sys.base_prefix)"
    done = subprocess.run([python, "-I", "-c", code], env={}, capture_output=True, encoding="utf-8", timeout=120)
    assert done.stdout.split() == ["2.60.0", interpreter.version, str(tmp_path / "python")], done.stderr


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
