"""run.py ARGUMENT...: runs a Windows program as a session would, but without SSH; its exit code has 8 bits here too."""

import os
import subprocess
import sys

sys.path.insert(0, "/opt/stand-in")
from common import DRIVE_C, LAUNCH, RUN, WINE, base_env, config, win_path, wine_env, write_spec

cfg = config()
result = "%s/spec/rc-%d" % (RUN, os.getpid())
records = ["E%s=%s" % pair for pair in base_env(cfg).items()]
records += [
    "M",
    "U",
    "J",
    "R" + win_path(result),
    "DC:\\Users\\" + cfg["user"],
    "C" + subprocess.list2cmdline(sys.argv[1:]),
]
spec = write_spec(records)
code = subprocess.call([WINE, LAUNCH, "run", win_path(spec)], env=wine_env(cfg), cwd=f"{DRIVE_C}/Users/{cfg['user']}")
for path in (spec, result):
    try:
        if path == result:
            with open(path) as file:
                code = int(file.read())
        os.unlink(path)
    except (OSError, ValueError):
        pass
sys.exit(code & 255 or (255 if code else 0))
