"""What is said of a host beside its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.engine.remarks import about_leaving

LEAVING: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({"os": "linux", "root": "/opt/lab"}, "teardown", "apply", "rm -rf /opt/lab/env /opt/lab/python /opt/lab/store"),
    ({"os": "windows", "root": "C:\\lab"}, "teardown", "apply",
     'powershell "Remove-Item -Recurse C:\\lab\\env, C:\\lab\\python, C:\\lab\\store"'),
    ({"os": "linux", "root": "/opt/lab"}, "teardown", "teardown", ""),
    ({"os": "linux", "root": "/opt/lab"}, "apply", "apply", ""),
    ({}, "teardown", "apply", ""),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "verb", "run", "command"), LEAVING)
def test_what_stays_on_a_dropped_host_is_said(facts: dict[str, Any], verb: Any, run: Any, command: str) -> None:
    told = about_leaving(facts, verb, run)
    assert (told is not None) == bool(command)
    if told:
        assert told[0].endswith(f"stay in {facts['root']}")
        assert told[1].endswith(f": {command}")
