"""The firewall's rule for files that a run hands out: as long as the run lasts, and not longer if it broke off."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from provisioner.remote.handout import Handout

from .firewall_stage import ADDRESSES, THEIRS, Machine, apply, machine, opening
from .ray_stage import free_port
from .remote_host import shown

__all__ = ["machine"]


def test_files_are_handed_out_through_a_rule_of_their_own(machine: Machine) -> None:
    """It is there while a run lasts; one that broke off leaves it to the next, or to a teardown."""
    apply(machine, opening())
    gate = machine.host().platform.firewall()
    assert gate is not None
    before = dict(machine.rules)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:  # who hands out files listens first
            port = listener.getsockname()[1]
            gate.lend(machine.host(), port, ADDRESSES)
            (lent,) = (text for key, text in machine.rules.items() if key not in before)
            assert f"|LPort={port}|RA4=10.0.0.1-10.0.0.2|App={sys.executable}|Name=provision lab files|" in lent
            assert opening().observe(machine.host()) == []
    gate.reclaim(machine.host())
    assert machine.rules == before
    starts = len(machine.starts)
    gate.reclaim(machine.host())
    assert len(machine.starts) == starts
    gate.lend(machine.host(), free_port(), ADDRESSES)
    opening().remove(machine.host())
    assert machine.rules == THEIRS


FORGOTTEN = ("remove", "firewall rule provision lab files", "lets others fetch files from a run that broke off", "")


@pytest.mark.parametrize("opened", [True, False], ids=["rules as they should be", "no rules yet"])
def test_what_a_run_that_broke_off_has_lent_goes_with_the_next(opened: bool, machine: Machine) -> None:
    if opened:
        apply(machine, opening())
    before = dict(machine.rules)
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), free_port(), ADDRESSES)
    assert shown(opening().traces(machine.host()))[-1] == FORGOTTEN
    found = apply(machine, opening())
    assert found[-1] == FORGOTTEN
    assert not any("Name=provision lab files|" in text for text in machine.ours())
    assert not opened or machine.rules == before


def test_what_a_teardown_finds_of_a_run_that_broke_off(machine: Machine) -> None:
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), free_port(), ADDRESSES)
    assert shown(opening().traces(machine.host())) == [FORGOTTEN]
    opening().remove(machine.host())
    assert machine.rules == THEIRS


def test_what_is_lent_stays_while_files_are_handed_out(machine: Machine) -> None:
    host = machine.host()
    host.node_ip = "127.0.0.1"
    server = Handout(host, {"files": [], "members": ADDRESSES, "token": "t", "port": 0})
    assert opening().traces(machine.host()) == []
    opening().ensure(machine.host())
    assert sum("Name=provision lab files|" in text for text in machine.ours()) == 1
    server.close()
    assert len(machine.ours()) == 4


@pytest.mark.parametrize("privileged", [True, False])
def test_the_rule_lasts_as_long_as_files_are_handed_out(
    privileged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch, privileged)
    host = machine.host()
    host.node_ip = "127.0.0.1"
    server = Handout(host, {"files": [], "members": ADDRESSES, "token": "t", "port": 0})
    assert [f"|LPort={server.port}|" in text for text in machine.ours()] == [True] * privileged
    server.close()
    assert machine.rules == THEIRS


def test_an_interpreter_whose_path_no_script_can_hold(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not named: the port, which is open for as long as the run lasts, and the addresses are."""
    monkeypatch.setattr(sys, "executable", r"C:\Users\홍길동\.provision\python\python.exe")
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), 7000, ADDRESSES)
    (lent,) = machine.ours()
    assert "|App=" not in lent
