"""Folders that something of ours needs: which we shall have to make, and taking them away when nothing is in them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def missing_folders(path: str) -> List[str]:
    """Return the folders that will have to be made for a file, the innermost first."""
    found = []
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def remove_if_empty(folder: str) -> None:
    """Remove a folder of ours that holds nothing any more."""
    try:
        os.rmdir(folder)
    except OSError:
        return
