"""Which wheel of a package fits a platform and a Python best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from provisioner.artifacts.platform import Platform

_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_MANYLINUX = {"x86_64": 5, "aarch64": 17}


def best_wheel(filenames: Sequence[str], platform: Platform, python: str) -> str | None:
    """Return the file name of the wheel that installers prefer on that platform, or None if none fits.

    Args:
        filenames: names of wheels of one version of one package; names that are no wheel's are passed over.
        platform: where it will be installed.
        python: the version of Python there, such as ``3.11.2``.
    """
    ranks = _ranks(platform, python)
    candidates = []
    for position, filename in enumerate(filenames):
        try:
            _, _, build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        fitting = [ranks[tag] for tag in tags if tag in ranks]
        if fitting:
            newest_build_first = (-build[0], build[1]) if build else (0, "")
            candidates.append((min(fitting), newest_build_first, position, filename))
    return min(candidates)[-1] if candidates else None


@lru_cache(maxsize=16)
def _ranks(platform: Platform, python: str) -> dict[Tag, int]:
    """Return every tag that fits, with its place in the order of preference."""
    major, minor = (int(part) for part in python.split(".")[:2])
    names = list(_platform_names(platform))
    interpreter = f"cp{major}{minor}"
    ranks: dict[Tag, int] = {}
    for tag in cpython_tags((major, minor), [interpreter], names):
        ranks.setdefault(tag, len(ranks))
    for tag in compatible_tags((major, minor), interpreter, names):
        ranks.setdefault(tag, len(ranks))
    return ranks


def _platform_names(platform: Platform) -> Iterator[str]:
    """Yield the platform part of the tags that fit, most specific first."""
    if platform.os == "windows":
        yield "win_amd64"
    elif platform.os == "macos":
        yield from mac_platforms((platform.macos_level, 0), "arm64" if platform.arch == "aarch64" else platform.arch)
    else:
        for minor in range(platform.glibc_level, _OLDEST_MANYLINUX[platform.arch] - 1, -1):
            yield f"manylinux_2_{minor}_{platform.arch}"
            if minor in _OLD_NAMES:
                yield f"{_OLD_NAMES[minor]}_{platform.arch}"
        yield f"linux_{platform.arch}"
