"""First contact with a host: it has an SSH server with SFTP, and perhaps no Python that the program can run on.

The program is sent and tried with what Python there is: one that was brought before, then the host's own. If none will
do, the interpreter that the cluster uses is brought into the home folder (transport/bring.py). From then on one command
starts the program on the interpreter that did (remote/boot.py writes it down).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from fabric import Connection
from paramiko import SFTPClient

from provisioner.errors import HostFailed
from provisioner.transport import delivery, program
from provisioner.transport.bring import Bringer, platform_of
from provisioner.transport.choice import Choice, NothingThere, Ours
from provisioner.transport.home import HOME, PYTHONS, Home
from provisioner.transport.starter import Refusal, Started, Starter
from provisioner.transport.systems import Facts, System, opens_a_window

NONE = "no place is known where one could be trusted"


class FirstContact:
    """Gets the program onto one host and started there.

    Args:
        connection: open.
        system: the kind of system at its other end.
        starter: runs the commands that may start the program.
        choice: what Python it may run on.
        doing: told what takes time.
        opened: SFTP that was opened before.
    """

    def __init__(
        self,
        connection: Connection,
        host: str,
        system: System,
        starter: Starter,
        choice: Choice,
        doing: Callable[[str], None],
        opened: SFTPClient | None = None,
    ) -> None:
        self._host = host
        self._system = system
        self._starter = starter
        self._choice = choice
        self._home = Home(connection, host, system, doing, opened)
        self._untouched = False
        """Nothing of ours was there, and nothing is to stay there."""
        self._brought: list[str] = []
        """Names of the interpreters that were brought before."""
        self._tried: set[str] = set()
        """Interpreters that did not start the program."""

    def start(self) -> Started:
        """Send the program and start it.

        Raises:
            NothingThere: it can't be started, and so it shall stay.
            HostFailed, Unreachable: in the user's words.
        """
        self._home.doing("sending the program")
        archive = program.archive_path()
        try:
            self._send_program(archive)
            return self._on_what_is_there(archive)
        except BaseException:
            with suppress(Exception):  # it may be the connection that failed
                self._take_back(archive)
            raise

    def _send_program(self, archive: str) -> None:
        content = program.archive()
        with self._home.files(f"the program ({len(content) >> 10} KiB)") as sftp:
            self._untouched = self._choice.leave is not None and self._has_nothing(sftp, self._choice.leave)
            for folder in (HOME, program.FOLDER):
                delivery.make_folder(sftp, folder)
            delivery.write(sftp, archive, content)
            with suppress(FileNotFoundError):
                self._brought = sorted(sftp.listdir(PYTHONS))

    def _has_nothing(self, sftp: SFTPClient, ours: Ours) -> bool:
        """Tell whether there is nothing of ours on the host."""
        for path in (HOME, *([ours.root] if ours.root else self._system.roots(ours.cluster))):
            try:
                sftp.stat(path)
            except FileNotFoundError:
                continue
            except OSError:  # who may not look knows nothing
                return False
            return False
        return True

    def _take_back(self, archive: str) -> None:
        """Remove the program again, and the folders that were made for it, unless they hold anything else."""
        with self._home.files("the program") as sftp:
            for remove, path in ((sftp.remove, archive), (sftp.rmdir, program.FOLDER), (sftp.rmdir, HOME)):
                with suppress(OSError):  # another host may share the folder
                    remove(path)

    def _on_what_is_there(self, archive: str) -> Started:
        facts: Facts = {}
        refusals: list[str] = []
        for interpreter in self._at_hand(facts):
            if opens_a_window(self._home.shell, interpreter):
                refusals.append(f"{interpreter}: Apple's stand-in for one, the developer tools are not installed")
                continue
            started = self._starter.run(program.first_command(self._system.program(interpreter), archive))
            if isinstance(started, Started):
                return started
            self._tried.add(interpreter)
            refusals.append(f"{interpreter}: {started.last}")
        if self._untouched:
            self._leave()
        if self._choice.bring is None:
            raise HostFailed(
                f"there is no Python on the host that the program can run on ({'; '.join(refusals)})",
                remedy="install Python 3.8 or newer there, or have it brought: `python: {source: managed}`",
                host=self._host,
            )
        return self._on_our_own(
            archive, facts or self._system.facts(self._home.shell), refusals[-1] if refusals else NONE
        )

    def _leave(self) -> None:
        """Raise NothingThere, or what keeps the host from becoming part of the cluster."""
        if self._choice.judge:
            self._choice.judge(self._system.facts(self._home.shell))
        raise NothingThere

    def _at_hand(self, facts: Facts) -> Iterator[str]:
        """Yield interpreters that may be there, the likeliest first; fills the facts if they had to be asked for."""
        whole = [name for name in self._brought if not name.endswith((".gz", ".part", ".work", ".request"))]
        if whole:
            facts.update(self._system.facts(self._home.shell))
            for name in whole:
                if name.endswith(platform_of(facts)):
                    yield f"{PYTHONS}/{name}/{self._system.inside}"
        path, version = self._choice.path, self._choice.version
        if path and self._system.plain.fullmatch(path):
            yield path
        yield from self._system.interpreters(version, brings=self._choice.bring is not None)

    def _on_our_own(self, archive: str, facts: Facts, refusal: str) -> Started:
        """Bring the interpreter and start the program on it."""
        interpreter = Bringer(self._home, self._choice, self._tried).bring(facts, refusal)
        started = self._starter.run(program.first_command(self._system.program(interpreter), archive))
        if isinstance(started, Refusal):
            raise HostFailed(f"the program could not be started on the host: {started.last}", host=self._host)
        return started
