"""Every mistake in an inventory, with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .inventories import HEAD, TOP, mistakes

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inv.yml"


BAD: list[tuple[str, str, str]] = [
    # The shape of the file.
    ("- a\n", "1:1", "the file wants a mapping; got a list"),
    ("cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\n", "1:1", "the file lacks the key 'head'"),
    (HEAD + "wrokers: {}\n", "5:1", "unknown key 'wrokers'\n  -> did you mean 'workers'?"),
    (HEAD + "zzz: 1\n", "5:1", "unknown key 'zzz'\n  -> allowed: account, arch, artifacts, become,"),
    (HEAD + "workers: {w: {adress: x}}\n", "5:15", "unknown key 'adress'\n  -> did you mean 'address'?"),
    (HEAD + "become: 'yes'\n", "5:9", "'become' wants true or false; got 'yes'"),
    (HEAD + "workers: {w: {python: 3.11}}\n", "5:23", "'python' wants an exact version such as 3.11.9"),
    (HEAD + "workers: {w: {python: 3.11.8}}\n", "5:11", "'w' has Python 3.11.8 and 'ctl' 3.11.9: Ray would refuse"),
    (HEAD + "workers: {w: {python: 3.11.8}}\n", "5:11", "or write `match: minor`"),
    (HEAD + "workers: {w: {python: {match: minor}}}\n", "5:11", "'w' has another `match` of Python than 'ctl'"),
    (HEAD + "workers: {w: {python: {source: /}}}\n", "5:32", "'source' wants managed, system, or the absolute path"),
    (HEAD.replace("3.11.9", "{source: system}"), "2:1", "'python' lacks the key 'version'"),
    (
        HEAD + "artifacts: {mirror: crl}\n",
        "5:21",
        "the mirror 'crl' is no host of this inventory\n  -> did you mean 'ctl'?",
    ),
    (HEAD + "artifacts: {index: pypi.lab}\n", "5:20", "'index' wants a URL, or {url: ...,"),
    (
        HEAD + "artifacts: {index: 'https://me:pw@pypi.lab/'}\n",
        "5:20",
        "a user or password in a URL is not kept secret",
    ),
    (HEAD + "artifacts: {constraints: [no.txt]}\n", "5:26", "there is no file"),
    (HEAD + "glibc: 2.17\n", "5:8", "'glibc' wants a glibc version in quotes"),
    (HEAD + "become: yes\n", "5:9", "'become' wants true or false; got 'yes'"),
    (HEAD + "ssh: {port: 22:10}\n", "5:13", "'port' wants a port from 1 to 65535; got '22:10'"),
    (HEAD + "ssh: {port: 0}\n", "5:13", "'port' wants a port from 1 to 65535; got 0"),
    (HEAD + "ssh: {port: 22.0}\n", "5:13", "got 22.0"),
    (HEAD + "ssh: {jump: 'a b'}\n", "5:13", "'jump' wants [user@]host[:port]"),
    (HEAD + "ssh: nope\n", "5:6", "'ssh' wants a mapping; got 'nope'"),
    (HEAD + "packages: duckdb\n", "5:11", "'packages' wants a list; got 'duckdb'"),
    (HEAD + "packages: [3]\n", "5:12", "item 1 of 'packages' wants a requirement"),
    (HEAD + "packages: ['ray[serve]==2.0']\n", "5:11", "Ray itself is not a package"),
    (HEAD + "packages: ['x @ https://me:pw@h/x-1-py3-none-any.whl']\n", "5:11", "in a URL is not kept secret"),
    (HEAD + "packages: [a, a]\n", "5:11", "'packages' holds the same value twice"),
    (HEAD + "service: sytemd\n", "5:10", "wants one of auto, systemd, systemd-user, process, task and launchd, or {"),
    (HEAD + "service: {manager: cron}\n", "5:20", "'manager' wants one of auto, systemd, systemd-user, process, task"),
    (HEAD + "service: {}\n", "5:10", "'service' wants at least 1 key(s)"),
    (HEAD + "service: {acount: ray}\n", "5:11", "unknown key 'acount'"),
    (HEAD + "service: {account: 'a:b'}\n", "5:20", "'account' wants an account name"),
    (HEAD + "service: {password: {from_env: PW}}\n", "5:10", "'service' lacks the key 'account' that goes with"),
    (HEAD + "service: {account: ray, password: pw}\n", "5:35", "not a secret in plain text"),
    (HEAD + "service: {account: ray, password: {from_env: NOPE}}\n", "5:35", "NOPE"),
    (HEAD + "account: a\nservice: {account: b}\n", "6:10", "the account is given twice"),
    (HEAD + "root: opt/x\n", "5:7", "'root' wants an absolute path"),
    (HEAD + 'root: "C:\\ray"\n', "5:7", r"got 'C:\ray': in double quotes \ begins an escape"),
    (HEAD + 'root: "C:\\provision"\n', "5:10", "write a path of Windows in single quotes"),
    (HEAD + "vars: {a-b: 1}\n", "5:8", "the key 'a-b' is not a variable name"),
    (HEAD + "vars: {a: {from_env: X}}\n", "5:11", "variables of the playbook cannot be secrets"),
    (HEAD + "cluster: again\n", "5:1", "the key 'cluster' is given twice, first at line 1, column 1"),
    (HEAD.replace("lab", "Lab"), "1:10", "'cluster' wants a name of at most 31"),
    (HEAD.replace("lab", "a" * 32), "1:10", "'cluster' wants a name of at most 31"),
    (HEAD.replace("lab", '"lab\\n"'), "1:10", "'cluster' wants a name of at most 31"),
    # Versions.
    (HEAD.replace("3.11.9", "3.10"), "2:9", "wants an exact version such as 3.11.9, or controller; got 3.10"),
    (HEAD.replace("3.11.9", "3"), "2:9", "wants an exact version such as 3.11.9, or controller; got 3"),
    (HEAD.replace("2.60.0", "2.60"), "3:16", "wants an exact version such as 2.60.0; got 2.60"),
    (HEAD.replace("{version: 2.60.0}", "{}"), "3:1", "'ray' lacks the key 'version'"),
    (HEAD + "workers: {w: {ray: {version: 2.60.0}}}\n", "5:21", "'version' belongs to the whole cluster"),
    (HEAD + "workers: {w: {ray: {tls: true}}}\n", "5:21", "'tls' belongs to the whole cluster"),
    (HEAD + "workers: {w: {ray: {auth: none}}}\n", "5:21", "'auth' belongs to the whole cluster"),
    (HEAD.replace("2.60.0}", "2.60.0, auth: yes}"), "3:30", "'auth' wants token or none; got 'yes'"),
    (
        HEAD.replace("2.60.0}", "2.60.0, env: {RAY_AUTH_TOKEN: {from_env: A}}}"),
        "3:46",
        "RAY_AUTH_TOKEN is set for every",
    ),
    (HEAD.replace("2.60.0}", "2.60.0, env: {ray_auth_mode: k8s}}"), "3:45", "ray_auth_mode is set for every node by"),
    # Heads.
    (TOP + "head: {a: {}, b: {}}\n", "4:15", "a cluster has one head, and here are 'a' and 'b'"),
    (TOP + "head: ['a[1:4]']\n", "4:8", "here are 'a1' and 'a2' and 2 more"),
    (TOP + "head: {}\n", "4:1", "there is no head"),
    (TOP + "head:\n", "4:6", "'head' wants a mapping of host names to values, or a list of host names; got nothing"),
    # Names, ranges, addresses, groups.
    (HEAD + "workers: ['w[3:1]']\n", "5:11", "'[3:1]' ends before it begins"),
    (HEAD + "workers: {'w[1': {}}\n", "5:11", "do not pair up"),
    (HEAD + "workers: {ctl: {address: x}}\n", "5:11", "'ctl' is declared twice, first at line 4, column 8"),
    (HEAD + "workers: {w2: {}, 'w[1:3]': {}}\n", "5:19", "'w2' is declared twice, first at line 5, column 11"),
    (HEAD + "workers: {a_: {}}\n", "5:11", "'a_' cannot name a host"),
    (HEAD + f"workers: [{'a' * 64}]\n", "5:11", "cannot name a host\n  -> a host's name has at most 63"),
    (HEAD + "workers: [head]\n", "5:11", "'head' cannot name a worker"),
    (HEAD + "workers: {w: {address: 10.0.0.10}}\n", "5:11", "'w' and 'ctl' have the same address 10.0.0.10, port 22"),
    (HEAD + "workers: {a: {address: X.lab}, b: {address: x.LAB.}}\n", "5:32", "have the same address"),
    (HEAD + "workers: {'w[1:3]': {address: '10.0.1.[1:2]'}}\n", "5:31", "stands for 2 value(s) and 'w[1:3]' for 3"),
    (HEAD + "workers: {'w[1:3]': {address: 10.0.1.1}}\n", "5:31", "stands for 1 value(s) and 'w[1:3]' for 3"),
    (HEAD + "workers: {w: {address: '10.0.1.[1'}}\n", "5:24", "do not pair up"),
    (HEAD + "workers: {w: {address: 10.0.0.300}}\n", "5:24", "neither an IP address nor a DNS name"),
    (HEAD + "workers: {w: {address: a b}}\n", "5:24", "neither an IP address nor a DNS name"),
    (HEAD + "workers: {w: {address: 'a:22'}}\n", "5:24", "the port goes to ssh"),
    (HEAD + "workers: {w: {address: 'kim@a'}}\n", "5:24", "the account goes to ssh"),
    (HEAD + "workers: [12]\n", "5:11", "item 1 of 'workers' wants a text; got 12"),
    (
        HEAD + "workers: {12: {}}\n",
        "5:11",
        "'12' is neither an IP address nor a DNS name\n  -> give the host an 'address'",
    ),
    (HEAD + "workers: {w: {groups: [workers]}}\n", "5:11", "'workers' cannot name a group"),
    (HEAD + "workers: {'w[1:3]': {groups: [ctl]}}\n", "5:11", "'ctl' names both a group and a host"),
    # Files and secrets.
    (HEAD + "ssh: {key: no-such-key}\n", "5:12", "there is no file"),
    (
        HEAD + "become_password: {from_env: NOPE}\n",
        "5:18",
        "the environment variable NOPE, which should hold this secret",
    ),
    (HEAD + "become_password: {from_file: nope}\n", "5:18", "there is no file"),
    (HEAD + "become_password: {from_env: A, from_file: b}\n", "5:18", "at most 1 key(s)"),
    (HEAD + "workers: {w: {ray: {env: {T: {from_env: NOPE}}}}}\n", "5:30", "NOPE"),
    (HEAD + "workers: {w: {ray: {env: {T: {form_env: NOPE}}}}}\n", "5:31", "did you mean 'from_env'?"),
    # Ray's options.
    (HEAD + "workers: {w: {ray: {dashboard_port: 1}}}\n", "5:21", "'dashboard_port' is an option of the head only"),
    (HEAD.replace("0}", "0, node_ip: 10.1.1.1}", 1), "3:24", "'node_ip' belongs to one host"),
    (HEAD.replace("0}", "0, num_cpus: two}", 1), "3:34", "'num_cpus' wants a whole number, 0 or more; got 'two'"),
    (HEAD.replace("0}", "0, memory: 4 gigs}", 1), "3:32", "'memory' wants a size in bytes, or such as 4GiB or 500M"),
    (HEAD.replace("0}", "0, worker_ports: 9-5}", 1), "3:38", "'9-5' is not a span of ports"),
    (HEAD.replace("0}", "0, temp_dir: tmp}", 1), "3:34", "'temp_dir' wants an absolute path"),
    (HEAD.replace("0}", "0, labels: {ray.io/x: 1}}", 1), "3:33", "not beginning with provision/ or ray.io/"),
    (HEAD.replace("0}", "0, labels: {provision/x: 1}}", 1), "3:33", "not beginning with provision/ or ray.io/"),
    (HEAD.replace("0}", "0, labels: {a: 'b c'}}", 1), "3:36", "'a' wants a label value"),
    (HEAD.replace("0}", "0, resources: {CPU: 1}}", 1), "3:36", "use num_cpus"),
    (HEAD.replace("0}", "0, env: {'a b': 1}}", 1), "3:30", "the key 'a b' is not a variable name"),
]
if os.name != "nt":  # Windows believes in any account
    BAD.append((HEAD + "ssh: {key: ~nobody-at-all/key}\n", "5:12", "cannot look for '~nobody-at-all/key'"))


@pytest.mark.parametrize(("text", "where", "what"), BAD, ids=[what for _, _, what in BAD])
def test_mistakes_say_what_and_where(file: Path, text: str, where: str, what: str) -> None:
    found = mistakes(file, text)
    assert len(found) == 1, found
    assert found[0].startswith(f"{where}: ")
    assert what in found[0]


@pytest.mark.parametrize("secret", ["password: hunter2", "passphrase: [hunter2]", "password: 'hunter2 x'"])
def test_plain_secrets_are_refused_and_not_shown(file: Path, secret: str) -> None:
    (found,) = mistakes(file, HEAD + f"ssh: {{{secret}}}\n")
    assert "{from_env: NAME} or {from_file: path}, not a secret in plain text" in found
    assert "hunter2" not in found


@pytest.mark.parametrize(("content", "what"), [(b"", "empty"), (b"\xff", "not UTF-8"), (b"x" * 70_000, "too large")])
def test_bad_secret_files(file: Path, content: bytes, what: str) -> None:
    (file.parent / "pw").write_bytes(content)
    (found,) = mistakes(file, HEAD + "become_password: {from_file: pw}\n")
    assert what in found


def test_all_mistakes_come_at_once_in_the_files_order(file: Path) -> None:
    found = mistakes(file, TOP + "head: {a: {adress: 1}}\nbecome: 3\nroot: x\n")
    assert [each.split(" ")[0] for each in found] == ["4:12:", "5:9:", "6:7:"]


def test_a_mistake_in_a_range_is_told_once(file: Path) -> None:
    assert len(mistakes(file, HEAD + "workers: {'w[1:50]': {become_password: {from_env: NOPE}}}\n")) == 1
