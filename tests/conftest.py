"""The lab's fixtures, registered once for all folders: its Linux hosts and its stand-ins for Windows machines meet."""

import sys

if sys.platform == "linux":
    from .lab.fixtures import lab, machines, module_machines, provision, pytest_collection_modifyitems, write_inventory
    from .winlab.fixtures import module_stand_ins, stand_ins, winlab

    __all__ = [
        "lab",
        "machines",
        "module_machines",
        "module_stand_ins",
        "provision",
        "pytest_collection_modifyitems",
        "stand_ins",
        "winlab",
        "write_inventory",
    ]
