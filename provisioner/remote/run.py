"""Start from the unpacked folder. Plain enough for any Python 3, so that one too old is told in a sentence."""

import json
import os
import sys

if sys.version_info < (3, 8):
    message = "the host's python3 is %d.%d, the program needs 3.8 or newer" % sys.version_info[:2]
    print(json.dumps({"type": "error", "message": message, "remedy": "install a newer Python there", "task": ""}))
    sys.exit(0)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from provisioner.remote.main import main

main()
