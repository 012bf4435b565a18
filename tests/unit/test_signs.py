"""What Ray's logs mean: recorded ones, whose first line says where they are from, and what they are signs of."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from provisioner.remote.signs import LONGEST, SHOWN, SIGNS, found

LOGS = sorted((Path(__file__).parent / "ray_logs").glob("*.log"))
RECORDED = [log for log in LOGS if log.stem != "healthy"]
UNRECORDED = {
    "token refused", "certificate refused", "another cluster", "out of memory", "Redis refuses",
    "folder of somebody else",
}  # fmt: skip
"""Signs whose texts are known from Ray's sources alone."""


def lines(log: Path) -> list[str]:
    source, *said = log.read_text(encoding="utf-8").splitlines()
    assert source.startswith("# ")
    return said


@pytest.mark.parametrize("log", RECORDED, ids=lambda log: log.stem)
def test_a_log_has_its_sign_first(log: Path) -> None:
    first = found(lines(log))[0]
    assert first["name"].lower() == log.stem.replace("-", " ")
    assert first["line"] in log.read_text(encoding="utf-8")


def test_a_healthy_log_has_none() -> None:
    (healthy,) = (log for log in LOGS if log.stem == "healthy")
    assert found(lines(healthy)) == []


def test_every_sign_is_recorded_or_known_not_to_be() -> None:
    recorded = {log.stem.replace("-", " ") for log in RECORDED}
    assert {sign.name.lower() for sign in SIGNS} == recorded | {name.lower() for name in UNRECORDED}


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.name)
def test_each_is_told_in_the_users_words(sign: object) -> None:
    assert isinstance(sign, type(SIGNS[0]))
    assert sign.cause and sign.remedy and not sign.cause.endswith(".")
    assert found([" ".join(sign.patterns[0])])[0]["line"]


def test_the_cause_comes_before_what_follows_from_it() -> None:
    said = [line for log in RECORDED for line in lines(log)]
    names = [each["name"] for each in found(said)]
    assert names[0] == "version mismatch" and names[-1] == "small shared memory"


def test_a_log_without_end_keeps_nobody_busy() -> None:
    begun = time.process_time()
    told = found(["x" * 10_000_000, "WinError 10013" + "y" * LONGEST])
    assert [len(each["line"]) for each in told] == [SHOWN]
    assert time.process_time() - begun < 2


def test_the_docs_have_the_table_as_it_is() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    rows = [f"| {sign.name} | {sign.cause} | {sign.remedy} |" for sign in SIGNS]
    assert [row for row in rows if row not in page] == []
