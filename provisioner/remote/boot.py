"""First start on a host: unpack the archive this was started from beside itself, then go on from the folder.

Lies in the archive as ``__main__.py``. The folder gets its final name only when it is complete, so that a broken
transfer or a power cut never leaves a half program in use. Hosts may share a home folder, so several may do this at
once, each with an archive of its own: ``HASH.ANYTHING.zip`` goes to ``HASH``.
"""

import os
import shutil
import sys
import zipfile


def unpack(archive: str) -> str:
    """Unpack the archive into the folder that its name says and remove it; returns the folder."""
    folder = os.path.join(os.path.dirname(archive), os.path.basename(archive).split(".")[0])
    aside = archive[: -len(".zip")] + ".part"
    try:
        if not os.path.isdir(folder):
            with zipfile.ZipFile(archive) as bundle:
                bundle.extractall(aside)
            os.rename(aside, folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        if not os.path.isdir(folder):  # else another was faster
            raise
    os.remove(archive)
    return folder


if __name__ == "__main__":
    sys.path.insert(0, unpack(os.path.abspath(sys.argv[0])))
    from provisioner.remote.main import main

    main()
