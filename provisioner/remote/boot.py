"""First start on a host: unpack the archive this was started from beside itself, then go on from the folder.

Lies in the archive as ``__main__.py``. The folder gets its final name only when it is complete, so that a broken
transfer or a power cut never leaves a half program in use.
"""

import os
import shutil
import sys
import zipfile


def unpack(archive: str) -> str:
    """Unpack the archive into a folder with its name without ``.zip``; returns the folder."""
    folder = archive[: -len(".zip")]
    if os.path.isdir(folder):
        return folder
    aside = folder + ".part%d" % os.getpid()
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(aside)
    try:
        os.rename(aside, folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        if not os.path.isdir(folder):
            raise
    return folder


if __name__ == "__main__":
    home = unpack(os.path.abspath(sys.argv[0]))
    os.remove(os.path.abspath(sys.argv[0]))
    sys.path.insert(0, home)
    from provisioner.remote.main import main

    main()
