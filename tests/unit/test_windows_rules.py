"""Firewall rules as text: what the registry of Windows machines holds, read; what netsh is told, written."""

from __future__ import annotations

import pytest

from provisioner.remote.platforms import reach
from provisioner.remote.platforms.windows import firewall, rules

RULE = (
    "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=6379|LPort2_10=10002-19999|RA4=10.0.0.1-10.0.0.3|"
    r"RA4=10.1.0.0/255.255.255.0|App=%SystemDrive%\provision\lab\python\3.11.9\python.exe|Name=provision lab 0a1b2c3d|"
    "Desc=x|"
)


def test_a_rule_of_ours() -> None:
    fields = rules.parse(RULE)
    assert rules.one(fields, "Name") == "provision lab 0a1b2c3d"
    assert rules.ports(fields) == [(6379, 6379), (10002, 19999)]
    assert reach.show_addresses(rules.addresses(fields)) == "10.0.0.1-10.0.0.3,10.1.0.0-10.1.0.255"


def test_programs_are_the_same_in_any_case_and_with_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SystemDrive", "C:")
    assert rules.program(rules.parse(RULE)) == rules.same_path("C:/PROVISION/lab/python/3.11.9/Python.exe")


@pytest.mark.parametrize("data", ["", "Action=Allow|", "v2|x|", 5, None, b"v2.31|Action=Allow|"])
def test_what_is_no_rule(data: object) -> None:
    assert rules.parse(data) == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("LPort=80|LPort=443|LPort=81|", "80-81,443"),
        ("LPort2_10=1-66|LPort2_10=60-70|LPort=71|", "1-71"),
        ("LPort=RPC|", "-1"),
        ("", "0-65535"),
    ],
)
def test_ports(text: str, shown: str) -> None:
    assert reach.show_ports(rules.ports(rules.parse("v2.31|" + text))) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("RA4=10.0.0.2|RA4=10.0.0.1|RA4=10.0.0.9|", "10.0.0.1-10.0.0.2,10.0.0.9"),
        ("RA4=10.0.0.0/24|RA4=10.0.1.0/255.255.255.0|", "10.0.0.0-10.0.1.255"),
        ("RA6=fd00::5|RA6=fd00::6-fd00::9|RA4=10.0.0.1|", "10.0.0.1,fd00::5-fd00::9"),
        ("RA6=fe80::1%12|", "fe80::1"),
        ("RA4=255.255.255.255|RA6=::|", "255.255.255.255,::"),
        ("RA4=LocalSubnet|RA6=LocalSubnet|", "any"),
        ("", "any"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert reach.show_addresses(rules.addresses(rules.parse("v2.31|" + text))) == shown


def test_many_addresses_are_several_rules() -> None:
    places = reach.merge_addresses(f"10.0.{number}.{2 * number % 250}" for number in range(200))
    made = rules.Rule.all_of(r"C:\p.exe", [(6379, 6379)], places)
    assert [place for rule in made for place in rule.places] == places
    assert len(made) == 11
    assert rules.Rule.all_of(r"C:\p.exe", [(6379, 6379)], []) == []


@pytest.mark.parametrize("path", [r"C:\p\ray.exe", "C:\\" + "p" * 255, r"C:\Users\홍길동\python.exe", ""])
@pytest.mark.parametrize("ports", [[(6379, 6379)], [(port, port) for port in range(10002, 12000, 2)]])
@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], [f"fd00:1111:2222:3333:4444:5555:6666:{n:x}" for n in range(1, 99, 2)]]
)
def test_lines_are_short_and_ascii(path: str, ports: list[reach.Span], addresses: list[str]) -> None:
    """Together they let in exactly what was to be let in."""
    places = reach.merge_addresses(addresses)
    made = rules.Rule.all_of(path, ports, places)
    lines = [rules.add_line(f"provision {'c' * 31} 0a1b2c3d", firewall.DESCRIPTION, rule) for rule in made]
    assert all(line.isascii() and len(line) <= rules.LONGEST_LINE for line in lines)
    assert {rule.path for rule in made} == {path if path.isascii() else ""}
    let_in = [(span, place) for rule in made for span in rule.spans for place in rule.places]
    assert sorted(let_in) == sorted((span, place) for span in ports for place in places)


BASE = r"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|App=C:\p.exe|"


@pytest.mark.parametrize(
    ("text", "lets_in"),
    [
        (BASE, True),
        (BASE + "Profile=Domain|Profile=Private|Profile=Public|", True),
        (BASE + "Profile=Private|", False),
        (BASE.replace("TRUE", "FALSE"), False),
        (BASE.replace("Allow", "Block"), False),
        (BASE.replace("Dir=In", "Dir=Out"), False),
        (BASE.replace("Protocol=6", "Protocol=17"), False),
    ],
)
def test_which_rules_let_in(text: str, lets_in: bool) -> None:
    assert (rules.identity(rules.parse(text)) is not None) is lets_in


QUERY = (
    r"v2.33|Action=Block|Active=TRUE|Dir=In|Protocol=6|Profile=Public|App=C:\provision\lab\python\python.exe|"
    "Name=Python|Desc=Python|Defer=User|"
)


@pytest.mark.parametrize(
    ("text", "shuts"),
    [
        (QUERY, True),
        (QUERY.replace("Protocol=6|", ""), True),
        (QUERY.replace("Protocol=6", "Protocol=17"), False),
        (QUERY.replace("Block", "Allow"), False),
        (QUERY.replace("TRUE", "FALSE"), False),
        (QUERY.replace("Dir=In", "Dir=Out"), False),
        ("v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|Name=all programs|", False),
    ],
)
def test_which_rules_shut_a_program(text: str, shuts: bool) -> None:
    assert rules.blocks(rules.parse(text)) is shuts


PORTS = "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort2_10=6380-6385|Name=our block|"


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        (PORTS, "6380"),
        (PORTS.replace("6385", "7000"), "6380,6400-6500"),
        (PORTS.replace("LPort2_10=6380-6385|", ""), "6379-6380,6400-6500"),
        (PORTS.replace("Protocol=6|", ""), "6380"),
        (PORTS + "RA4=10.0.0.0/255.255.255.0|", "6380"),
        (PORTS + "RA4=10.0.0.9|", ""),
        (PORTS + "RA4=LocalSubnet|", "6380"),
        (PORTS + r"App=C:\Python311\python.exe|", ""),
        (PORTS + "Svc=sshd|", ""),
        (PORTS.replace("6380-6385", "RPC"), ""),
        (PORTS.replace("6380-6385", "445"), ""),
        (PORTS.replace("Protocol=6", "Protocol=17"), ""),
        (PORTS.replace("Block", "Allow"), ""),
        (PORTS.replace("TRUE", "FALSE"), ""),
        (PORTS.replace("Dir=In", "Dir=Out"), ""),
    ],
)
def test_which_rules_shut_ports(text: str, ports: str) -> None:
    places = reach.merge_addresses(["10.0.0.2", "fd00::2"])
    assert reach.show_ports(rules.shuts(rules.parse(text), [(6379, 6380), (6400, 6500)], places)) == ports


def test_lines_for_netsh() -> None:
    rule = rules.Rule(r"C:\p\ray.exe", [(6379, 6379), (7000, 7005)], reach.merge_addresses(["10.0.0.1", "10.0.0.2"]))
    assert rules.add_line("provision lab 1", "Ray", rule) == (
        'advfirewall firewall add rule name="provision lab 1" description="Ray" dir=in action=allow enable=yes '
        r'profile=any protocol=TCP program="C:\p\ray.exe" localport=6379,7000-7005 remoteip=10.0.0.1-10.0.0.2'
    )
    assert rules.delete_line("x y") == 'advfirewall firewall delete rule name="x y" dir=in'


@pytest.mark.parametrize(
    ("name", "told"), [("Python", "Python"), ("python.exe (3)", "python.exe (3)"), ("파이썬", "all"), ('a "b"', "all")]
)
def test_names_that_a_script_cannot_hold(name: str, told: str) -> None:
    line = rules.delete_line(name, r"C:\p.exe")
    assert line == rf'advfirewall firewall delete rule name="{told}" dir=in program="C:\p.exe"'
    assert line.isascii()
