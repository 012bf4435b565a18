"""What Ctrl-C and a service manager's end do to the command, before, during and after its question."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from provisioner.cli.interrupts import Interrupts


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_counted(number: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert interrupts.count == 2
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_what_nobody_else_ends(number: int) -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.asking():
            os.kill(os.getpid(), number)
            raise AssertionError("went on")
        os.kill(os.getpid(), number)
        assert interrupts.count == 2, "afterwards it is counted again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_ignored_stays_so(number: int) -> None:
    """As by `command &` in a script: Ctrl-C is for what is in front."""
    signal.signal(number, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.count == 0
    assert signal.getsignal(number) is signal.SIG_IGN


def test_the_third_ends_it_on_the_spot() -> None:
    code = (
        "import os, signal; from provisioner.cli.interrupts import Interrupts\n"
        "with Interrupts():\n"
        "    for _ in range(3): os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('went on')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (130, b"")
