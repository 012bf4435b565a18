"""First start on a host: unpack the archive this was started from beside itself, then go on from the folder.

Lies in the archive as ``__main__.py``. The folder gets its final name only when it is complete, so that a broken
transfer or a power cut never leaves a half program in use. Hosts may share a home folder, so several may do this at
once, each with an archive of its own: ``HASH.ANYTHING.zip`` goes to ``HASH``.

Beside the program lies a small script that starts it the next time, on the interpreter that runs this: it names it by
its full path, for what PATH leads to may be another one under sudo, or in a year.
"""

import os
import shutil
import sys
import time
import zipfile

STARTERS = {"posix": ("start", '#!/bin/sh\nexec %s -I -S "${0%%/*}/run.py"\n')}
"""By ``os.name``: the script's name and its text."""
KEPT = 3
"""Programs that stay whatever their age: other controllers may be of another version."""
MONTH = 30 * 86400.0


def unpack(archive: str) -> str:
    """Unpack the archive into the folder that its name says and remove it; returns the folder."""
    folder = os.path.join(os.path.dirname(archive), os.path.basename(archive).split(".")[0])
    aside, old = archive[: -len(".zip")] + ".part", archive[: -len(".zip")] + ".old"
    with zipfile.ZipFile(archive) as bundle:
        if not is_whole(bundle, folder):
            try:
                bundle.extractall(aside)
                write_starter(aside)
                if os.path.isdir(folder):
                    os.rename(folder, old)
                os.rename(aside, folder)
            except OSError:
                if not is_whole(bundle, folder):  # else another was faster
                    raise
            finally:
                for left in (aside, old):
                    shutil.rmtree(left, ignore_errors=True)
    try:
        write_starter(folder)
    except PermissionError:
        pass  # root unpacked it, through sudo; this account still can start it as it was started now
    os.remove(archive)
    return folder


def is_whole(bundle: zipfile.ZipFile, folder: str) -> bool:
    """Tell whether everything in the archive is in the folder, as far as sizes tell."""
    for entry in bundle.infolist():
        path = os.path.join(folder, *entry.filename.split("/"))
        if not os.path.isfile(path) or os.path.getsize(path) != entry.file_size:
            return False
    return True


def write_starter(folder: str) -> None:
    """Write the script that starts the program, in one step; the one that is there may name another interpreter."""
    name, text = STARTERS[os.name]
    path = os.path.join(folder, name)
    text %= "'" + os.path.abspath(sys.executable).replace("'", "'\\''") + "'"
    if os.path.isfile(path):
        with open(path) as file:
            if file.read() == text:
                return
    aside = "%s.part%d" % (path, os.getpid())
    with open(aside, "w") as file:
        file.write(text)
    os.replace(aside, path)


def tidy(folder: str) -> None:
    """Remove programs that nobody can be using, and what broken transfers left; never anything of this moment."""
    aged = []
    for entry in os.scandir(os.path.dirname(folder)):
        age = time.time() - entry.stat().st_mtime
        aged.append((age, entry.path, entry.is_dir() and "." not in entry.name))
    programs = [each for each in sorted(aged) if each[2]]
    spared = {folder} | {path for _, path, _ in programs[:KEPT]}
    for age, path, is_program in aged:
        if path in spared or age < (MONTH if is_program else 86400.0):
            continue
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.remove(path)


def main() -> None:
    if sys.version_info < (3, 8):
        sys.exit("it is Python %d.%d, and the program needs 3.8 or newer" % sys.version_info[:2])
    if os.name not in STARTERS:
        sys.exit("hosts need Linux or macOS, and this one's Python says %r" % os.name)
    folder = unpack(os.path.abspath(sys.argv[0]))
    try:
        tidy(folder)
    except OSError:
        pass  # other accounts' files, or another host was faster
    sys.path.insert(0, folder)
    from provisioner.remote.main import main as converse

    converse()


if __name__ == "__main__":
    main()
