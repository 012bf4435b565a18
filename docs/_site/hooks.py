"""What mkdocs calls while the site is built (mkdocs: hooks)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import reference

PROJECT = Path(__file__).resolve().parents[2]
ASIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages of the project's root that the site shows as well."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and those of the project's root."""
    made = {
        "reference/commands.md": reference.commands(),
        "reference/inventory.md": reference.settings("inventory"),
        "reference/playbook.md": reference.settings("playbook"),
        "index.md": _index((PROJECT / "README.md").read_text(encoding="utf-8")),
    }
    made.update(
        {f"project/{name.lower()}": _index((PROJECT / name).read_text(encoding="utf-8"), "../") for name in ASIDE}
    )
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def _index(text: str, up: str = "") -> str:
    """Return a page of the root with its links as the site has them; what the site does not show is no link."""
    import re

    def moved(found: re.Match[str]) -> str:
        label, target = found[1], found[2]
        if target.startswith("docs/"):
            return f"[{label}]({up}{target.removeprefix('docs/')})"
        if target in ASIDE:
            return f"[{label}]({up}project/{target.lower()})"
        return found[0] if re.match(r"[a-z]+:|#", target) else label

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", moved, text)
