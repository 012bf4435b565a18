"""The site is built without a warning: every page is in it, every link leads somewhere, the reference is made anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_every_page_of_the_docs_is_in_it(site: Path) -> None:
    pages = {path.stem for path in (PROJECT / "docs").glob("*.md")}
    assert {path.stem for path in site.glob("*.html")} >= pages
    shown = (site / "index.html").read_text(encoding="utf-8")
    assert [page for page in pages if f'href="{page}.html"' not in shown] == []


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("commands", "provision job logs"), ("commands", "--accept-new-host-keys"), ("inventory", "workers.NAME.ray"),
        ("inventory", "metrics.prometheus"), ("playbook", "plays"), ("playbook", "needs"),
    ],
)  # fmt: skip
def test_the_reference_is_made_of_schemas_and_help(site: Path, page: str, said: str) -> None:
    assert said in (site / "reference" / f"{page}.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis" not in text and "cdn" not in text
