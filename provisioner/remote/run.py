"""Start from the unpacked folder. Plain enough for any Python 3: one that is too old says so, and another is found."""

import os
import sys

if sys.version_info < (3, 8):
    sys.exit("it is Python %d.%d, and the program needs 3.8 or newer" % sys.version_info[:2])

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from provisioner.remote.main import main

main()
