"""The check before a run and the one at a host: what is said, where, and what is advised."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.artifacts.archives import KnownArchives
from provisioner.artifacts.cache import Cache
from provisioner.engine.census import Census
from provisioner.engine.early import check_early
from provisioner.engine.fleet import check_fleet
from provisioner.engine.versions import MOST, survey
from provisioner.errors import HostFailed, InputError
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Host, Inventory, RayOptions
from tests.interpreters import mirror, pretended

LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
MUSL = {"os": "linux", "arch": "x86_64", "libc": "musl", "libc_version": ""}
WINDOWS = {"os": "windows", "arch": "AMD64"}
MAC = {"os": "macos", "arch": "arm64"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> KnownArchives:
    """The real one, of the uv that is installed here."""
    return KnownArchives(Cache(tmp_path_factory.mktemp("cache")))


def inventory(folder: Path, python: str, ray: str, *workers: str) -> Inventory:
    lines = ["cluster: lab", f"python: {python}", f"ray: {{version: {ray}}}", "head: {ctl: {}}", "workers:"]
    file = folder / "inventory.yml"
    file.write_text("\n".join([*lines, *(f"  {worker}" for worker in workers or ("w1: {}",))]) + "\n")
    return load_inventory(file)


REFUSED = [
    ("3.11.9", "2.60.7", [], "3:16", ["Ray 2.60.7 does not exist; nearest: 2.60.0"], ["Ray 2.60.0 with Python 3.11.9"]),
    ("3.11.99", "2.60.0", [], "2:9", ["no archive of Python 3.11.99 exists; nearest: 3.11."],
     ["Ray 2.60.0 with Python 3.11.", "source: system}` if the hosts have it"]),
    ("{version: 3.11.99, mirror: 'https://x.example'}", "2.60.0", [], "2:9", ["no archive of Python 3.11.99"], []),
    ("{version: 3.11.99, mirror: nowhere/pythons}", "2.60.0", [], "2:9", ["no archive of Python 3.11.99"],
     ["or look at `mirror:`, there is no folder ", str(Path("/nowhere/pythons"))]),
    ("3.13.5", "2.57.0", ["w[1:5]: {os: windows}"], "3:16",
     ["w1, w2, w3 and 2 more (Windows x86_64): Ray 2.57.0 has wheels for Python 3.10 to 3.12 there, not for 3.13"],
     ["with every host would go: Ray 2.60.0 with Python 3.13.5, Ray 2.57.0 with Python 3.12."]),
    ("3.13.5", "2.57.0", ["w1: {os: windows}", "mac: {os: macos}", "odd: {os: windows, arch: aarch64}"], "3:16",
     ["Ray 2.57.0 and Python 3.13.5 do not go with these hosts:\n", "\n  w1 (Windows x86_64): Ray 2.57.0 has wheels",
      "\n  mac (macOS x86_64, assumed): Ray's wheels for macOS x86_64 end at 2.49.2",
      "\n  odd (Windows aarch64): Ray has no wheels for Windows aarch64"],
     ["take odd (Windows aarch64) out of the inventory", "or say what the hosts are"]),
    ("3.11.9", "2.60.0", ["mac: {os: macos, arch: x86_64}"], "3:16", ["mac (macOS x86_64): Ray's wheels"],
     ["take ctl (Linux x86_64) or mac (macOS x86_64) out of the inventory"]),
    ("3.11.9", "2.60.0", ["odd: {os: windows, arch: aarch64}"], "6:3", ["odd (Windows aarch64): Ray has no wheels"],
     ["take odd (Windows aarch64) out of the inventory"]),
    ("3.11.9", "2.60.0", ["old: {glibc: '2.12'}"], "6:3", ["Ray's wheels need glibc 2.17 or newer, not 2.12"], []),
    ("3.11.9", "2.54.0", ["w1: {os: windows}"], "3:16", ["Linux and Windows in one cluster need Ray 2.56.1"], []),
    ("{version: 3.11.9, match: minor}", "2.50.0", [], "3:16", ["`match: minor` needs Ray 2.51.0"], []),
]  # fmt: skip


@pytest.mark.parametrize(("python", "ray", "workers", "place", "told", "advised"), REFUSED)
def test_what_cannot_go_is_refused_in_one_message(
    python: str, ray: str, workers: list[str], place: str, told: list[str], advised: list[str],
    tmp_path: Path, archives: KnownArchives,
) -> None:  # fmt: skip
    cluster = inventory(tmp_path, python, ray, *workers)
    with pytest.raises(InputError) as caught:
        check_fleet(cluster, archives)
    assert caught.value.exit_code == 1
    assert str(caught.value.place) == f"{cluster.file}:{place}"
    assert all(part in caught.value.message for part in told), caught.value.message
    assert all(part in caught.value.remedy for part in advised), caught.value.remedy


def test_what_goes_is_not_refused(tmp_path: Path, archives: KnownArchives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL", raising=False)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "download-metadata.json").write_text("{}")
    cases = [
        ("3.11.9", "2.60.0", ["w[1:9]: {os: windows}", "mac: {os: macos, arch: aarch64}", "arm: {arch: aarch64}"]),
        ("3.11.9", "2.61.0", []),
        ("{version: 3.11.99, source: system}", "2.60.0", []),
        ("{version: 3.11.99, source: /opt/python/bin/python3}", "2.60.0", []),
        ("{version: 3.11.99, mirror: mirror}", "2.60.0", []),
        ("{version: 3.11.9, match: minor}", "2.51.0", ["w1: {python: 3.11.14}"]),
    ]
    for python, ray, workers in cases:
        check_fleet(inventory(tmp_path, python, ray, *workers), archives)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", "https://own.example/catalogue.json")
    check_fleet(inventory(tmp_path, "3.11.99", "2.60.0"), archives)


@pytest.mark.parametrize(
    ("python", "workers", "told", "remedy"),
    [
        ("3.11.9", [], "", ""),
        (
            "3.11.9",
            ["w1: {os: windows}"],
            "there is no archive of Python 3.11.9 for windows x86_64 in /",
            "another version",
        ),
        (
            "3.11.8",
            [],
            "there is no archive of Python 3.11.8 for linux x86_64 in /",
            "Write 3.11.9 (the nearest there is)",
        ),
        ("3.11.10", [], "the mirror lacks Python 3.11.10 for linux x86_64: there is no /", "Put that file"),
    ],
)
def test_a_mirror_folder_is_looked_into_before_contact(
    python: str, workers: list[str], told: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [pretended(tmp_path / "made", version, "linux") for version in ("3.11.9", "3.11.10")]
    mirror(tmp_path / "mirror", made if python == "3.11.10" else made[:1])
    for file in (tmp_path / "mirror").rglob("*3.11.10*"):
        file.unlink()
    cluster = inventory(tmp_path, f"{{version: {python}, mirror: mirror}}", "2.60.0", *workers)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "stamps"))
    if not told:
        check_early(cluster, Cache(tmp_path / "cache"))
        return
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            check_early(cluster, Cache(tmp_path / "cache"))
        assert caught.value.message.startswith(told)
        assert remedy in caught.value.remedy
        assert str(caught.value.place) == f"{cluster.file}:2:9"
    check_early(cluster, Cache(tmp_path / "cache"), fixed=True)


def test_interpreters_of_a_lock_or_a_bundle_are_not_looked_for(tmp_path: Path, archives: KnownArchives) -> None:
    check_fleet(inventory(tmp_path, "3.11.99", "2.60.0"), archives, fixed=True)
    with pytest.raises(InputError, match="does not exist"):
        check_fleet(inventory(tmp_path, "3.11.99", "2.60.7"), archives, fixed=True)


def lab(ray: str = "2.60.0", python: str = "3.11.9", **declared: str) -> Inventory:
    """A head of which nothing is said, and a worker that is declared."""
    head = Host("ctl", "head", "10.0.0.1", python, (), RayOptions())
    worker = replace(head, name="w1", role="worker", address="10.0.0.2", **declared)  # type: ignore[arg-type]
    return Inventory("lab", ray, (head, worker), Path("inv.yml"))


@pytest.mark.parametrize(
    ("cluster", "facts", "told", "advised"),
    [
        (lab(), LINUX, "", ""),
        (lab(os="linux", arch="x86_64"), LINUX, "", ""),
        (lab(os="windows", arch="x86_64"), WINDOWS, "", ""),
        (lab(os="macos", arch="aarch64"), MAC, "", ""),
        (lab(), MAC, "", ""),
        (lab(), WINDOWS, "it is Windows x86_64, and the inventory does not say so", "write `os: windows` for w1"),
        (lab(os="linux"), WINDOWS, "it is Windows x86_64, and the inventory says `os: linux`",
         "write `os: windows` for w1, or look whether its address is another machine's"),
        (lab(os="linux", arch="x86_64"), MAC,
         "it is macOS aarch64, and the inventory says `os: linux` and `arch: x86_64`",
         "write `os: macos` and `arch: aarch64` for w1"),
        (lab(arch="aarch64"), LINUX, "it is Linux x86_64, and the inventory says `arch: aarch64`", "`arch: x86_64`"),
        (lab(), MUSL, "it is Linux x86_64: Ray has no wheels for Linux with musl", "take w1 out of the inventory"),
        (lab(), {"os": "windows", "arch": "ARM64"}, "Ray has no wheels for Windows aarch64", "take w1 out"),
        (lab(ray="2.57.0", python="3.13.5"), WINDOWS,
         "it is Windows x86_64: Ray 2.57.0 has wheels for Python 3.10 to 3.12",
         "write `os: windows` and `arch: x86_64` for w1; then `provision versions`"),
        (lab(), {"os": "macos", "arch": "x86_64"}, "it is macOS x86_64: Ray's wheels for macOS x86_64 end at 2.49.2",
         "`os: macos` and `arch: x86_64`"),
    ],
)  # fmt: skip
def test_a_host_is_what_it_says(cluster: Inventory, facts: dict[str, str], told: str, advised: str) -> None:
    census = Census(cluster)
    if not told:
        census.take(cluster.hosts[1], facts)
        return
    with pytest.raises(HostFailed) as caught:
        census.take(cluster.hosts[1], facts)
    assert told in caught.value.message
    assert advised in caught.value.remedy


def test_the_host_that_brings_another_os_is_refused_below_2_56_1() -> None:
    cluster = lab(ray="2.54.0")
    head, worker = cluster.hosts[0], replace(cluster.hosts[1], os="windows")
    census = Census(cluster)
    census.take(head, LINUX)
    for _ in range(2):
        with pytest.raises(HostFailed, match="it is Windows x86_64, and there is Linux in this cluster: Linux and Win"):
            census.take(worker, WINDOWS)
    census.take(replace(worker, name="w2", os=None), LINUX)
    newer = Census(lab(ray="2.56.1"))
    newer.take(head, LINUX)
    newer.take(worker, WINDOWS)


def test_a_declared_os_counts_whoever_answers_first() -> None:
    cluster = lab(ray="2.54.0", os="windows")
    head, worker = cluster.hosts
    census = Census(cluster)
    with pytest.raises(HostFailed, match="there is Windows in this cluster"):
        census.take(head, LINUX)
    census.take(worker, WINDOWS)


def test_of_hosts_that_answer_at_once_one_os_gets_in() -> None:
    cluster = lab(ray="2.54.0")
    census, refused, start = Census(cluster), [], threading.Barrier(8)

    def answer(number: int) -> None:
        start.wait(10)
        try:
            worker = replace(cluster.hosts[1], name=f"w{number}", os="windows" if number % 2 else None)
            census.take(worker, WINDOWS if number % 2 else LINUX)
        except HostFailed:
            refused.append(number % 2)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(refused) == 4 and len(set(refused)) == 1


def test_the_survey_offers_what_the_check_lets_pass(tmp_path: Path, archives: KnownArchives) -> None:
    workers = ["w[1:3]: {os: windows}", "mac: {os: macos, arch: aarch64}"]
    found = survey(inventory(tmp_path, "3.11.9", "2.57.0", *workers), archives)
    assert found.problems == ()
    assert "2.57.0" in [choice.ray for choice in found.choices]
    assert len(found.choices) <= MOST + 1
    for choice in (found.choices[0], found.choices[-1]):
        for python in choice.pythons:
            check_fleet(inventory(tmp_path, python, choice.ray, *workers), archives)
    assert [(kind.system, len(kind.hosts)) for kind in found.kinds] == [
        ("Linux x86_64", 1), ("Windows x86_64", 3), ("macOS aarch64", 1),
    ]  # fmt: skip
    assert [kind.assumed for kind in found.kinds] == [("ctl",), (), ()]
    assert found.kinds[1].limits == ("Python 3.10 to 3.14", "3.13 and 3.14 from Ray 2.58.0 on")
    assert found.together == ("Linux and macOS and Windows in one cluster: Ray 2.56.1 or newer",)


def test_the_survey_says_why_there_is_nothing(tmp_path: Path, archives: KnownArchives) -> None:
    found = survey(inventory(tmp_path, "3.11.9", "2.60.0", "mac: {os: macos, arch: x86_64}"), archives)
    assert found.choices == ()
    assert found.problems == ("mac (macOS x86_64): Ray's wheels for macOS x86_64 end at 2.49.2",)
    assert (
        "no release goes with all of them; without Linux x86_64 or macOS x86_64 there would be some" in found.together
    )


def test_pythons_that_are_not_brought_are_named_by_their_minor_version(tmp_path: Path, archives: KnownArchives) -> None:
    found = survey(inventory(tmp_path, "{version: 3.11.2, source: system}", "2.60.0"), archives)
    assert found.choices[0].pythons == ("3.14", "3.13", "3.12", "3.11", "3.10")


@pytest.mark.parametrize(
    ("hosts", "facts", "told"),
    [
        (2, [LINUX, LINUX], [False, False]),
        (2, [LINUX, WINDOWS, WINDOWS, MAC], [False, True, False, False]),
        (2, [MAC, LINUX], [True, False]),
        (1, [WINDOWS], [False]),
    ],
)
def test_what_is_unsupported_is_told_once(hosts: int, facts: list[dict[str, str]], told: list[bool]) -> None:
    cluster = lab()
    census = Census(replace(cluster, hosts=cluster.hosts[:hosts]))
    assert [census.unsupported(each) for each in facts] == told
