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

STARTERS = {
    "posix": ("start", '#!/bin/sh\nexec %s -I -S "${0%%/*}/run.py"\n', "utf-8"),
    "nt": ("start.cmd", '@"%s" -I -S "%%~dp0run.py"\r\n', "oem"),
}
"""By ``os.name``: the script's name, its text and its encoding; cmd.exe reads scripts in the OEM code page."""
PATIENCE = 5.0
"""Seconds for a virus scanner to let go of what was just written (Windows)."""
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
                    patiently(os.rename, folder, old)
                patiently(os.rename, aside, folder)
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
    patiently(os.remove, archive)
    return folder


def patiently(act: object, *paths: str) -> None:
    """Do what others may keep from being done for a moment."""
    deadline = time.time() + (PATIENCE if os.name == "nt" else 0.0)
    while True:
        try:
            act(*paths)  # type: ignore[operator] # its type has no name that every Python 3 knows
            return
        except PermissionError:
            if time.time() >= deadline:
                raise
            time.sleep(0.05)


def is_whole(bundle: zipfile.ZipFile, folder: str) -> bool:
    """Tell whether everything in the archive is in the folder, as far as sizes tell."""
    for entry in bundle.infolist():
        path = os.path.join(folder, *entry.filename.split("/"))
        if not os.path.isfile(path) or os.path.getsize(path) != entry.file_size:
            return False
    return True


def write_starter(folder: str) -> None:
    """Write the script that starts the program, in one step; the one that is there may name another interpreter."""
    name, text, encoding = STARTERS[os.name]
    path = os.path.join(folder, name)
    try:
        content = (text % quoted_interpreter(folder)).encode(encoding)
    except UnicodeEncodeError:
        sys.exit("the path of this Python, %a, has letters that cmd.exe does not know here" % sys.executable)
    if os.path.isfile(path):
        with open(path, "rb") as file:
            if file.read() == content:
                return
    aside = "%s.part%d" % (path, os.getpid())
    with open(aside, "wb") as file:
        file.write(content)
    patiently(os.replace, aside, path)


def quoted_interpreter(folder: str) -> str:
    """Return how the script names the interpreter that runs this.

    On Windows by the way from the script to it, if it lies below the same ``.provision``: so the name of the home
    folder, which may hold what no code page has, is not in the script.
    """
    path = os.path.abspath(sys.executable)
    if os.name != "nt":
        return "'" + path.replace("'", "'\\''") + "'"
    ours = os.path.dirname(os.path.dirname(folder))
    if path.lower().startswith(ours.lower() + os.sep):
        return "%~dp0..\\..\\" + path[len(ours) + 1 :].replace("%", "%%")
    return path.replace("%", "%%")


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
        sys.exit("hosts need Linux, macOS or Windows, and this one's Python says %r" % os.name)
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
