"""What Ray's logs mean: signs that are worth knowing, each with its cause and what to do about it.

Patterns are plain texts that must all be in one line, so that no log, whoever wrote it, keeps us busy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Tuple

LONGEST = 4000
"""Characters of a line that are looked at."""
SHOWN = 300
"""Characters of it that are told."""


class Sign:
    """Something that Ray, or a system below it, says when a node can't work.

    Args:
        name: for people who read this table.
        patterns: texts; all of one of these groups are in one line.
        cause: what has happened, in a sentence without a full stop.
        remedy: what to do about it.
    """

    def __init__(self, name: str, patterns: Tuple[Tuple[str, ...], ...], cause: str, remedy: str) -> None:
        self.name = name
        self.patterns = patterns
        self.cause = cause
        self.remedy = remedy

    def is_in(self, line: str) -> bool:
        return any(all(text in line for text in group) for group in self.patterns)


SIGNS = (
    Sign(
        "version mismatch",
        (("Version mismatch: The cluster was started with",),),
        "this node's Ray or Python is not the one that the head runs",
        "`provision apply` brings the versions together",
    ),
    Sign(
        "token missing",
        (
            ("RAY_AUTH_TOKEN_PATH is set but file cannot be opened or is empty",),
            ("Token authentication is enabled but no",),
        ),
        "the cluster's token does not lie where this node reads it",
        "`provision apply` puts it there",
    ),
    Sign(
        "token refused",
        (("InvalidAuthToken",), ("Invalid or missing authentication token",), ("Unauthenticated", "token")),
        "this node shows another token than the head's",
        "`provision apply` brings the head's; `provision token rotate` replaces it everywhere",
    ),
    Sign(
        "certificate refused",
        (("CERTIFICATE_VERIFY_FAILED",), ("Handshake failed", "SSL"), ("Ssl handshake failed",)),
        "a node and the head do not take each other's certificates",
        "`provision apply` renews them; clocks that differ spoil them, too",
    ),
    Sign(
        "another cluster",
        (("WrongClusterID",), ("cluster ID mismatch",), ("Cluster ID mismatch",)),
        "this node belongs to a cluster that was there before; the head was started anew since",
        "`provision apply` starts the node again",
    ),
    Sign(
        "port taken",
        (("Address already in use",), ("Failed to start the grpc server. The specified port is",)),
        "one of the node's ports is taken by another program",
        "end that program, or move the ports: `ray: {first_port: ...}`",
    ),
    Sign(
        "port kept by Windows",
        (("WinError 10013",),),
        "Windows keeps one of the node's ports from every program",
        "move the ports: `ray: {first_port: ...}`; `netsh int ipv4 show excludedportrange tcp` lists what is kept",
    ),
    Sign(
        "path too long",
        (("AF_UNIX path length cannot exceed",), ("WinError 206",)),
        "the path of Ray's folder for sessions is too long",
        "choose a shorter `root:` or `ray: {temp_dir: ...}`",
    ),
    Sign(
        "disk full",
        (("is over", "% full, available space"), ("No space left on device",), ("[Errno 28]",), ("WinError 112",)),
        "the disk is full where Ray keeps its sessions",
        "free some space there",
    ),
    Sign(
        "out of memory",
        (("running low on memory", "killed"), ("Out of memory: Killed process",), ("OutOfMemoryError",)),
        "the machine has too little memory for what runs on it",
        "give the node fewer processors (`ray: {num_cpus: ...}`), or the work less memory",
    ),
    Sign(
        "marked dead",
        (("mistakenly been marked as dead by the GCS",), ("has been marked dead because the detector has missed",)),
        "the head did not hear the node for a while and gave it up",
        "look at the network between them, at sleep settings, and at how busy the machine is",
    ),
    Sign(
        "head not reached",
        (
            ("Failed to connect to GCS",),
            ("Failed to get cluster ID from GCS server",),
            ("failed to connect to all addresses",),
        ),
        "the node does not reach the head's GCS; Ray tries again for many minutes before it says more",
        "`provision doctor` tries the ports between the hosts; is the head's node up (`provision status`)?",
    ),
    Sign(
        "Redis refuses",
        (("WRONGPASS",), ("NOAUTH Authentication required",)),
        "Redis does not take the password",
        "see `redis: {password: ...}` in the inventory; `provision apply` brings a managed one in line",
    ),
    Sign(
        "folder of somebody else",
        (("PermissionError", "session_"), ("Permission denied", "session_")),
        "Ray may not write to its folder for sessions: another account made it",
        "`provision check` names whose it is; choose another `root:` or `ray: {temp_dir: ...}`",
    ),
    Sign(
        "too slow",
        (("timed out during startup",),),
        "the machine was too busy to start Ray within the 30 s that Ray gives itself",
        "its service tries again; if that repeats, look at the machine's load and disk",
    ),
    Sign(
        "small shared memory",
        (("The object store is using", "instead of /dev/shm"),),
        "the shared memory (/dev/shm) is too small: objects go to the disk, which is slow",
        "enlarge /dev/shm (`mount -o remount,size=...`), or set `ray: {object_store_memory: ...}`",
    ),
)
"""The most telling first: what of two signs in one log comes first is likelier to be the cause."""


def found(lines: Iterable[str]) -> List[Dict[str, str]]:
    """Return the signs that are in a log, the most telling first: ``{"name", "cause", "remedy", "line"}``.

    Of several lines with the same sign the last one is told.
    """
    seen: Dict[str, str] = {}
    for line in lines:
        short = line[:LONGEST]
        for sign in SIGNS:
            if sign.is_in(short):
                seen[sign.name] = short.strip()[:SHOWN]
    return [
        {"name": sign.name, "cause": sign.cause, "remedy": sign.remedy, "line": seen[sign.name]}
        for sign in SIGNS
        if sign.name in seen
    ]
