"""What a lab host is made of: an overlay, a network namespace on our bridge, and a cgroup in every hierarchy.

Everything carries our name (``plab``), and only what carries it is ever stopped or removed. Each process of a session
that runs in several has a lab of its own. One more can work beside them under another name and network:
PROVISION_LAB_NAME (at most four letters), PROVISION_LAB_NETWORK (such as 10.79.0).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from .shell import LabError, LabTimeout, LabUnavailable, run, wait_until

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""The number of this process among those that share the tests (pytest-xdist)."""
NAME = os.environ.get("PROVISION_LAB_NAME") or ("plab" if WORKER == 0 else f"plb{WORKER}")
PREFIX = f"{NAME}-"
BRIDGE = f"{NAME}0"
NETWORK = os.environ.get("PROVISION_LAB_NETWORK") or f"10.78.{WORKER}"
GATEWAY = f"{NETWORK}.1"
CGROUPS = Path("/sys/fs/cgroup")
HIERARCHIES = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified")
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
ROOM = 4096

# nspawn with --keep-unit exits 133 when the guest reboots and leaves the restart to its supervisor: this loop.
SUPERVISOR = f"""\
name=$1 dir=$2; shift 2
for group; do echo $$ > $group/cgroup.procs; done
more=$(cat $dir/more 2>/dev/null)
while :; do
  SYSTEMD_NSPAWN_TMPFS_TMP=0 systemd-nspawn -q -D $dir/root -b -M {PREFIX}$name --hostname=$name --register=no \\
    --keep-unit --network-namespace-path=/run/netns/{PREFIX}$name --resolv-conf=off --timezone=off --link-journal=no \\
    --console=read-only $more & pid=$!
  echo $pid > $dir/nspawn.new; mv $dir/nspawn.new $dir/nspawn.pid
  rc=0; wait $pid || rc=$?
  [ $rc = 133 ] || exit $rc
  echo "== reboot =="
done
"""


def bridge_up() -> None:
    """The bridge between this machine and the hosts; what comes from it is never forwarded elsewhere."""
    spawn = Path("/run/systemd/nspawn")  # nspawn clears propagate/* in it at each stop and insists on a tmpfs
    spawn.mkdir(parents=True, exist_ok=True)
    try:
        if run(["stat", "-f", "-c", "%T", str(spawn)]).stdout.strip() != "tmpfs":
            run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(spawn)])
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            run(["ip", "link", "add", BRIDGE, "type", "bridge"])
            run(["ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE])
        run(["ip", "link", "set", BRIDGE, "up"])
        Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/forwarding").write_text("0")
    except (LabError, OSError) as error:
        raise LabUnavailable(f"no right to mount and to make network links here: {error}") from error


def bridge_down() -> None:
    """Remove the bridge."""
    run(["ip", "link", "del", BRIDGE], check=False)


def network_up(name: str, address: str) -> None:
    """A network namespace with one link to the bridge; its default route ends at this machine."""
    space, link = f"{PREFIX}{name}", f"{PREFIX}{name}"
    run(["ip", "netns", "add", space])
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "host0", "netns", space])
    run(["ip", "link", "set", link, "master", BRIDGE, "up"])
    # the address decides the MAC: a new host with an old address must not wait for stale neighbour entries
    mac = ":".join(["02", "78", *(f"{int(part):02x}" for part in address.split("."))])
    inside = f"link set lo up\naddr add {address}/24 dev host0\nlink set host0 address {mac} up\n"
    inside += f"route add default via {GATEWAY}\n"
    run(["ip", "-n", space, "-batch", "-"], stdin=inside)


def network_down(name: str) -> None:
    """Remove the namespace; its link goes with it."""
    run(["ip", "link", "del", f"{PREFIX}{name}"], check=False)
    if Path(f"/run/netns/{PREFIX}{name}").exists():
        run(["ip", "netns", "del", f"{PREFIX}{name}"], check=False)


def throttle(name: str, mbit: int) -> None:
    """Let at most so many megabits a second reach a host; 0: no limit."""
    _throttle(f"{PREFIX}{name}", mbit)


def slow_controller(mbit: int) -> None:
    """Let this machine send at most so many megabits a second to all hosts together; 0: no limit.

    What the hosts send each other is not touched.
    """
    _throttle(BRIDGE, mbit)


def _throttle(link: str, mbit: int) -> None:
    run(["tc", "qdisc", "del", "dev", link, "root"], check=False)
    if mbit:
        limits = ["rate", f"{mbit}mbit", "burst", "256kb", "latency", "100ms"]
        run(["tc", "qdisc", "add", "dev", link, "root", "tbf", *limits])


def bytes_sent() -> int:
    """Bytes that this machine has sent to the hosts; what they send each other does not count."""
    return int(Path(f"/sys/class/net/{BRIDGE}/statistics/tx_bytes").read_text())


def overlay_up(place: Path, *lowers: Path) -> None:
    """A writable disk over the golden root, or over several layers, the uppermost first."""
    for part in ("upper", "work", "root"):
        (place / part).mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={':'.join(map(str, lowers))},upperdir={place / 'upper'},workdir={place / 'work'}"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, str(place / "root")])


def overlay_down(place: Path) -> None:
    """Unmount the disk and delete it."""
    root = place / "root"
    if os.path.ismount(root) and run(["umount", str(root)], check=False).returncode != 0:
        run(["umount", "-l", str(root)])
    shutil.rmtree(place, ignore_errors=True)


def hierarchies() -> list[Path]:
    """Where a host gets a cgroup: every v1 hierarchy and, on hybrid machines, the unified one; on v2 the only one."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [CGROUPS / name for name in HIERARCHIES if (CGROUPS / name / "cgroup.procs").exists()]


def cgroups_up(name: str, memory: str) -> list[Path]:
    """Make the host's cgroups, limit its memory, and return the groups for its first process to enter."""
    groups = []
    for hierarchy in hierarchies():
        group = hierarchy / f"{PREFIX}{name}"
        group.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((hierarchy / setting).read_text())
        if hierarchy == CGROUPS:
            with suppress(OSError):
                (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        groups.append(group)
    limit = memory_file(name, "limit")
    limit.write_text(memory)
    return groups


def memory_file(name: str, what: str) -> Path:
    """The file with the host's memory use, peak or limit."""
    if (CGROUPS / "cgroup.controllers").exists():
        v2 = {"use": "memory.current", "peak": "memory.peak", "limit": "memory.max"}
        return CGROUPS / f"{PREFIX}{name}" / v2[what]
    v1 = {
        "use": "memory.usage_in_bytes",
        "peak": "memory.max_usage_in_bytes",
        "limit": "memory.limit_in_bytes",
    }
    return CGROUPS / "memory" / f"{PREFIX}{name}" / v1[what]


def members(name: str) -> set[int]:
    """Every process in the host's cgroups, its supervisor included."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for procs in (hierarchy / f"{PREFIX}{name}").rglob("cgroup.procs"):
            with suppress(OSError):
                found.update(int(pid) for pid in procs.read_text().split())
    return found - {0}


def kill_members(name: str) -> None:
    """Kill what is in the host's cgroups, and nothing else, until nothing is."""

    def gone() -> bool:
        alive = members(name)
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive

    wait_until(gone, f"the processes of {name} to die", 20)


def cgroups_down(name: str) -> None:
    """Remove the host's cgroups; the kernel needs a moment after the last process."""

    def removed() -> bool:
        left = False
        for hierarchy in hierarchies():
            for folder, _, _ in os.walk(hierarchy / f"{PREFIX}{name}", topdown=False):
                with suppress(FileNotFoundError):
                    try:
                        Path(folder).rmdir()
                    except OSError:
                        left = True
        return not left

    wait_until(removed, f"the cgroups of {name} to be removable", 10)


def names_in_use(hosts: Path) -> set[str]:
    """Hosts of which anything is there: a folder, a namespace, a link or a cgroup."""
    folders = [*hierarchies(), Path("/run/netns"), Path("/sys/class/net")]
    found = {entry.name[len(PREFIX) :] for folder in folders for entry in _entries(folder, f"{PREFIX}*")}
    return found | {entry.name for entry in _entries(hosts, "*")}


def remove(name: str, hosts: Path) -> None:
    """Remove a host in whatever state it is; one step's failure does not keep the others from being tried."""
    failures = []
    steps: list[Callable[[], None]] = [
        lambda: kill_members(name),
        lambda: network_down(name),
        lambda: overlay_down(hosts / name),
        lambda: cgroups_down(name),
    ]
    for step in steps:
        try:
            step()
        except (LabError, OSError) as error:
            failures.append(str(error))
    if failures:
        raise LabTimeout(f"host {name} cannot be removed completely: {'; '.join(failures)}")


def make_room(home: Path) -> TextIO:
    """Room for the systemds of all labs, about five inotify instances each; give_room_back takes the result."""
    shared = (home / "inotify.lock").open("a")
    fcntl.flock(shared, fcntl.LOCK_SH)
    before = int(INSTANCES.read_text())
    if before < ROOM:
        saved = home / "inotify.before"
        if not saved.exists():  # of a session that was killed: what was set before that one
            saved.write_text(str(before))
        INSTANCES.write_text(str(ROOM))
    return shared


def give_room_back(home: Path, shared: TextIO) -> None:
    """Put back what make_room changed, unless there is another lab that needs it."""
    saved = home / "inotify.before"
    with shared, suppress(BlockingIOError):
        fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if saved.exists():
            INSTANCES.write_text(saved.read_text())
            saved.unlink()


def _entries(folder: Path, pattern: str) -> Iterator[Path]:
    return folder.glob(pattern) if folder.is_dir() else iter(())
