"""The golden root: the disk that every lab host starts from. Built once, and again when its recipe changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .shell import LabError, LabUnavailable, run

SUITE = "bookworm"
NEEDED_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "pgrep": "procps",
    "curl": "curl",
    "wget": "wget",
}
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "python3-venv",
    "iproute2",
    "iputils-ping",
    "sudo",
    "ca-certificates",
    "procps",
    "redis-server",
    "nftables",
]

SSHD_LOG = "/var/log/sshd.log"
FILES = {
    "etc/systemd/system/ssh-hostkeys.service": """\
[Unit]
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
""",
    # VERBOSE has one line per accepted login and one per session request; a file needs no journal to be flushed.
    "etc/ssh/sshd_config.d/lab.conf": "LogLevel VERBOSE\nHostKey /etc/ssh/ssh_host_ed25519_key\n",
    "etc/default/ssh": f'SSHD_OPTS="-E {SSHD_LOG}"\n',
    "etc/sudoers.d/lab": "kim ALL=(ALL:ALL) NOPASSWD: ALL\nlee ALL=(ALL:ALL) ALL\n",
    "etc/resolv.conf": "",  # a nameserver that doesn't answer costs Ray's dashboard 11 s
    "etc/machine-id": "",  # every host makes its own
}
RECIPE = f"""\
set -eu
for user in kim lee park; do useradd --create-home --shell /bin/bash $user; done
echo lee:lee-pw | chpasswd
for home in /root /home/kim /home/lee /home/park; do
  install -d -m 700 $home/.ssh; install -m 600 /lab-key.pub $home/.ssh/authorized_keys
  chown -R --reference=$home $home/.ssh
done
rm -f /lab-key.pub /etc/ssh/ssh_host_*
chmod 440 /etc/sudoers.d/lab
systemctl enable -q ssh-hostkeys ssh
systemctl disable -q redis-server nftables
systemctl mask -q systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \\
  e2scrub_all.timer e2scrub_reap.service fstrim.timer console-getty.service getty@tty1.service \\
  systemd-timesyncd.service systemd-logind-varlink.socket
touch {SSHD_LOG}; chmod 600 {SSHD_LOG}
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
"""


@dataclass(frozen=True)
class Golden:
    """A built golden root and the key that every user in it accepts."""

    root: Path
    key: Path


def lab_home() -> Path:
    """The folder of everything the lab keeps; outside the project's tree."""
    return Path(os.environ.get("PROVISION_LAB") or "/var/tmp/provision-lab")


def fingerprint() -> str:
    """Changes whenever a freshly built golden root would differ."""
    parts = [SUITE, *PACKAGES, RECIPE, *(f"{name}\0{text}" for name, text in sorted(FILES.items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def require_debian_root() -> None:
    """The lab needs namespaces, mounts and apt."""
    if not sys.platform.startswith("linux"):
        raise LabUnavailable(f"lab hosts need Linux; this is {sys.platform}")
    if os.geteuid() != 0:
        raise LabUnavailable("lab hosts need root: run pytest with sudo")
    if release().get("ID") != "debian":
        raise LabUnavailable(f"lab hosts need Debian; this is {release().get('ID', 'unknown')}")


def release() -> dict[str, str]:
    """What /etc/os-release says."""
    with suppress(OSError):
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    return {}


def require_tools(needed: Mapping[str, str], limit: float) -> None:
    """Install the tools that are missing (package by program) with this machine's own apt, within ``limit`` seconds."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    missing = sorted({package for tool, package in needed.items() if not shutil.which(tool, path=path)})
    if not missing:
        return
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *missing]
    if run(install, check=False, timeout=limit).returncode == 0:
        return
    run(["apt-get", "update"], check=False, timeout=300)
    done = run(install, check=False, timeout=limit)
    if done.returncode != 0:
        raise LabUnavailable(f"apt cannot install {', '.join(missing)}: {error_line(done.stderr)}")


@contextmanager
def locked(path: Path, what: str, limit: float) -> Iterator[None]:
    """Hold a file lock; the kernel lets it go if this process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=limit)
    except Timeout as error:
        raise LabUnavailable(f"{what} is in use by another session (waited {limit:g} s for {path})") from error
    try:
        yield
    finally:
        lock.release()


def golden(home: Path) -> Golden:
    """The golden root of the present recipe; builds it (about 40 s) when it is not there yet."""
    place = home / f"golden-{fingerprint()}"
    built = Golden(place / "root", place / "id_lab")
    with locked(home / "golden.lock", "the golden root", 400):
        if not place.is_dir():
            aside = home / f"building-{fingerprint()}"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True, mode=0o755)
            try:
                _build(aside)
                aside.rename(place)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        for old in (*home.glob("golden-*"), *home.glob("building-*")):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
    return built


def _build(place: Path) -> None:
    root, key = place / "root", place / "id_lab"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "provision-lab", "-f", str(key)])
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    done = run([*argv, _apt_source()], check=False, timeout=380)
    if done.returncode != 0:
        raise LabUnavailable(f"mmdebstrap cannot build the golden root: {error_line(done.stderr)}")
    for name, text in FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text, encoding="utf-8")
    shutil.copy(f"{key}.pub", root / "lab-key.pub")
    try:
        run(["chroot", str(root), "sh", "-c", RECIPE], timeout=120)
    except LabError as error:
        raise LabUnavailable(f"the recipe of the golden root fails: {error}") from error


def _apt_source() -> str:
    """This machine's own source when it has the same suite (perhaps a mirror), else Debian's."""
    here = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    if release().get("VERSION_CODENAME") == SUITE:
        for path in here:
            if path.is_file() and path.stat().st_size:
                return str(path)
    return f"deb http://deb.debian.org/debian {SUITE} main"


def error_line(text: str) -> str:
    """The first error that apt names (the later ones follow from it), else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E: ", "Err:"))]
    return (errors or lines[-1:] or ["no message"])[0]
