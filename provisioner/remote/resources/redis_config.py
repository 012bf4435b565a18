"""What the cluster's own Redis is started with.

Settings and their reasons: every write is on the disk before it is answered (``appendfsync always``), because what the
head was told it kept must be there after a power cut; no snapshots beside that. Nothing is ever thrown away for want of
memory (``noeviction``): half of a cluster's state is none. The commands that let a client read or write files, load
code or make this a copy of another server have no name: Ray needs none of them. Only settings that Redis 5 knows.
"""

from __future__ import annotations

from provisioner.remote import files, service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from provisioner.remote.host import Host

FOLDER = "redis"
NAMELESS = ("CONFIG", "DEBUG", "MIGRATE", "MODULE", "REPLICAOF", "SLAVEOF")
LONGEST = 65536
"""Bytes of a configuration at most."""
TEXT = """\
# The Redis of the cluster {cluster}; made by provision, which writes it anew.
port {port}
bind {bind}
protected-mode yes
requirepass {password}
daemonize no
supervised no
databases 1
timeout 0
tcp-keepalive 60
dir {data}
logfile {log}
loglevel notice
save ""
appendonly yes
appendfsync always
aof-load-truncated yes
maxmemory 0
maxmemory-policy noeviction
"""


def path(host: Host) -> str:
    return host.path(FOLDER, "redis.conf")


def data(host: Host) -> str:
    """Return the folder of what it keeps; a teardown leaves it."""
    return host.path(FOLDER, "data")


def log(host: Host) -> str:
    return service.log_path(host, service.redis_name(host))


def text(host: Host, port: int, bind: List[str], password: str) -> str:
    """Return the configuration file."""
    lines = ["rename-command %s %s" % (name, quoted("")) for name in NAMELESS]
    return TEXT.format(
        cluster=host.cluster,
        port=port,
        bind=" ".join(bind),
        password=quoted(password),
        data=quoted(data(host)),
        log=quoted(log(host)),
    ) + "".join(line + "\n" for line in lines)


def quoted(value: str) -> str:
    """Return a value as a configuration file has it (sdssplitargs in Redis's sds.c): escapes inside double quotes."""
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


def differing(now: str, wanted: str) -> List[str]:
    """Return the names of the settings in which two configurations differ; never their values."""
    before, after = _settings(now), _settings(wanted)
    return sorted({line.split(None, 1)[0] for line in before ^ after})


def _settings(content: str) -> set[str]:
    return {line for line in content.splitlines() if line.strip() and not line.startswith("#")}


def read(host: Host) -> str:
    """Return the configuration that is there, empty if there is none, or what is there is none: the file is the
    account's."""
    return (files.content(path(host), LONGEST) or b"").decode("utf-8", "replace")
