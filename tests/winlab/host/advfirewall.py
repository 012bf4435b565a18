"""netsh.exe of a stand-in host: firewall rules, kept where Windows keeps them, and excluded port ranges.

Follows "Netsh AdvFirewall Firewall Commands": keyword=value after add, delete and show rule; name, dir and action are
required by add; unknown keywords and values are errors (rc 1); add never replaces: the same name twice makes two rules;
delete and show need name=. ``-f FILE`` runs a script: all its lines, whatever becomes of one, and rc 1 if one failed
(read in the machine's code page: a byte order mark spoils the first line).

The rules are values of a registry key in the form of [MS-GPFAS] 2.2.2.19, which is that of netsh's rules on Windows too
(``v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=80|LPort2_10=90-99|RA4=10.0.0.0/255.0.0.0|App=...|Name=...|``).
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import uuid
from typing import Any

KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules"
KEYWORDS = {
    "name",
    "dir",
    "action",
    "program",
    "service",
    "description",
    "enable",
    "profile",
    "localip",
    "remoteip",
    "localport",
    "remoteport",
    "protocol",
    "interfacetype",
    "rmtcomputergrp",
    "rmtusrgrp",
    "edge",
    "security",
}
PORTS = r"(\d{1,5}(-\d{1,5})?)(,\d{1,5}(-\d{1,5})?)*|any|rpc|rpc-epmap|iphttps|ipht"
VALUES = {
    "dir": "in|out",
    "action": "allow|block|bypass",
    "enable": "yes|no",
    "localport": PORTS,
    "remoteport": PORTS.replace("|ipht", ""),
    "profile": r"(public|private|domain|any)(,(public|private|domain))*",
    "protocol": r"\d{1,3}|icmpv4(:.*)?|icmpv6(:.*)?|tcp|udp|any",
    "interfacetype": "wireless|lan|ras|any",
    "edge": "yes|deferapp|deferuser|no",
    "security": "authenticate|authenc|authdynenc|notrequired",
}
PROTOCOLS = {"tcp": "6", "udp": "17", "icmpv4": "1", "icmpv6": "58"}
FILTERS = {"dir": "Dir", "program": "App", "protocol": "Protocol", "service": "Svc"}
"""By what delete and show can be limited, and the field it is compared with."""
EXCLUDED = [(5357, 5357), (49681, 49780), (50000, 50059)]
KOREAN = {
    "Ok.": "확인됩니다.",
    "No rules match the specified criteria.": "지정된 조건과 일치하는 규칙이 없습니다.",
    "Deleted %d rule(s).": "%d개의 규칙이 삭제되었습니다.",
}
SYNTAX = "The syntax supplied for this command is not valid. Check help for the correct syntax."
MISSING = (
    "One or more essential parameters were not entered.\n"
    "Verify that the required parameters, and then enter the command again."
)


class Refused(Exception):
    """A command that netsh does not take, with what it says."""


class Netsh:
    """Runs commands on rules.

    Args:
        rules: the registry's values, by name; changed in place.
        korean: what language it speaks.
    """

    def __init__(self, rules: dict[str, str], korean: bool = False) -> None:
        self.rules = rules
        self.korean = korean

    def say(self, text: str) -> str:
        return KOREAN.get(text, text) if self.korean else text

    def script(self, text: str) -> tuple[int, str]:
        """Runs the lines of a script; returns rc and output."""
        code = 0
        said: list[str] = []
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                one, output = self.run(split(line))
                code, said = max(code, one), [*said, output]
        return code, "".join(said)

    def run(self, words: list[str]) -> tuple[int, str]:
        """Runs one command; returns rc and output."""
        try:
            return 0, self.command(words)
        except Refused as refused:
            return 1, "\n%s\n\n" % self.say(str(refused))

    def command(self, words: list[str]) -> str:
        low = [word.lower() for word in words]
        if low[:2] in (["int", "ipv4"], ["interface", "ipv4"], ["int", "ip"], ["interface", "ip"]):
            return self.interface(low[2:])
        if low[:2] != ["advfirewall", "firewall"] or low[3:4] != ["rule"] or low[2] not in ("add", "delete", "show"):
            raise Refused("stand-in: not simulated (The following command was not found: %s.)" % " ".join(words))
        given = arguments(words[4:], verbose=low[2] == "show")
        return {"add": self.add, "delete": self.delete, "show": self.show}[low[2]](given)

    def interface(self, low: list[str]) -> str:
        if low[:2] != ["show", "excludedportrange"] or low[2:] not in (
            [],
            ["protocol=tcp"],
            ["tcp"],
            ["protocol=udp"],
            ["udp"],
        ):
            raise Refused(SYNTAX)
        rows = "".join("%10d  %10d      \n" % span for span in EXCLUDED)
        head = "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
        return head + rows + "\n* - Administered port exclusions.\n\n"

    def add(self, given: dict[str, str]) -> str:
        if given["name"].lower() == "all" or "dir" not in given or "action" not in given:
            raise Refused(MISSING)
        protocol = given.get("protocol", "any").lower()
        if ("localport" in given or "remoteport" in given) and protocol not in ("tcp", "udp"):
            raise Refused("A port can be specified only if the protocol is TCP or UDP.")
        self.rules["{%s}" % str(uuid.uuid4()).upper()] = to_registry(given)
        return "%s\n\n" % self.say("Ok.")

    def delete(self, given: dict[str, str]) -> str:
        hit = self.matching(given)
        for key in hit:
            del self.rules[key]
        return "\n%s\n%s\n\n" % (self.say("Deleted %d rule(s).") % len(hit), self.say("Ok."))

    def matching(self, given: dict[str, str]) -> list[str]:
        hit = [key for key, text in self.rules.items() if matches(fields(text), given)]
        if not hit:
            raise Refused("No rules match the specified criteria.")
        return hit

    def show(self, given: dict[str, str]) -> str:
        told: list[str] = []
        for key in self.matching(given):
            rule = fields(self.rules[key])
            told.append("\n%-38s%s\n%s\n" % ("Rule Name:", first(rule, "Name"), "-" * 70))
            told += ["%-38s%s\n" % (label + ":", value) for label, value in shown(rule, "verbose" in given)]
        return "".join(told) + self.say("Ok.") + "\n\n"


def arguments(words: list[str], verbose: bool) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if verbose and not equals and key == "verbose":
            given["verbose"] = "yes"
            continue
        if not equals or key not in KEYWORDS or key in given:
            raise Refused("'%s' is not a valid argument for this command.\n%s" % (word, SYNTAX))
        if not value or (key in VALUES and not re.fullmatch(VALUES[key], value, re.I)):
            raise Refused("A specified value is not valid.")
        if key.endswith("port") and any(int(number) > 65535 for number in re.findall(r"\d+", value)):
            raise Refused("A specified port value is not valid.")
        if key in ("localip", "remoteip"):
            ip_fields(key, value)
        given[key] = value
    if "name" not in given:
        raise Refused(MISSING)
    return given


def split(line: str) -> list[str]:
    """Splits a line of a script: blanks part words, but not between quotes, which go."""
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*")+', line)]


def fields(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split("|")[1:]:
        key, equals, value = part.partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def first(rule: dict[str, list[str]], name: str) -> str:
    return rule.get(name, [""])[0]


def matches(rule: dict[str, list[str]], given: dict[str, str]) -> bool:
    name = given["name"].lower()
    if name != "all" and first(rule, "Name").lower() != name:
        return False
    for key, field in FILTERS.items():
        if key in given:
            value = given[key].lower()
            if first(rule, field).lower() != PROTOCOLS.get(value, value):
                return False
    for key in ("remoteip", "localip"):
        if key in given:
            names = [each for each, _ in ip_fields(key, given[key])] or ["RA4", "RA6"]
            now = sorted(value for each in set(names) for value in rule.get(each, []))
            if now != sorted(value for _, value in ip_fields(key, given[key])):
                return False
    return True


def to_registry(given: dict[str, str]) -> str:
    """Returns the rule as Windows keeps it, the fields in its order."""
    low = {key: value.lower() for key, value in given.items()}
    parts = [
        "v2.31",
        "Action=" + low["action"].capitalize(),
        "Active=" + ("FALSE" if low.get("enable") == "no" else "TRUE"),
    ]
    parts.append("Dir=" + low["dir"].capitalize())
    protocol = low.get("protocol", "any")
    if protocol != "any":
        parts.append("Protocol=" + PROTOCOLS.get(protocol.partition(":")[0], protocol))
    if low.get("profile", "any") != "any":
        parts += ["Profile=" + each.capitalize() for each in low["profile"].split(",")]
    for key, name in (("localport", "LPort"), ("remoteport", "RPort")):
        if low.get(key, "any") != "any":
            parts += [("%s2_10=%s" if "-" in each else "%s=%s") % (name, each) for each in low[key].split(",")]
    for key in ("localip", "remoteip"):
        parts += ["%s=%s" % pair for pair in ip_fields(key, given.get(key, "any"))]
    for key, name in (("program", "App"), ("service", "Svc"), ("name", "Name"), ("description", "Desc")):
        if key in given:
            parts.append("%s=%s" % (name, given[key]))
    return "|".join(parts) + "|"


def ip_fields(key: str, value: str) -> list[tuple[str, str]]:
    """Returns the fields of a list of addresses; networks of IPv4 get a mask in place of their length."""
    if value.lower() == "any":
        return []
    side = "LA" if key == "localip" else "RA"
    found: list[tuple[str, str]] = []
    for each in value.split(","):
        if each.lower() in ("localsubnet", "dns", "dhcp", "wins", "defaultgateway"):
            found += [(side + "4", each), (side + "6", each)]
            continue
        try:
            if "/" in each:
                network = ipaddress.ip_network(each, strict=False)
                shown_as = str(network.netmask) if network.version == 4 else str(network.prefixlen)
                found.append(("%s%d" % (side, network.version), "%s/%s" % (network.network_address, shown_as)))
                continue
            ends: list[Any] = [ipaddress.ip_address(end) for end in each.split("-")]
        except ValueError:
            raise Refused("A specified value is not valid.") from None
        if len(ends) > 2 or ends[0].version != ends[-1].version or ends[0] > ends[-1]:
            raise Refused("A specified value is not valid.")
        found.append(("%s%d" % (side, ends[0].version), "-".join(str(end) for end in ends)))
    return found


def shown(rule: dict[str, list[str]], verbose: bool) -> list[tuple[str, str]]:
    """Returns what show rule prints of a rule: labels and values."""
    protocol = {number: name.upper() for name, number in PROTOCOLS.items()}.get(first(rule, "Protocol"), "Any")

    def joined(*names: str) -> str:
        return ",".join(value for name in names for value in rule.get(name, [])) or "Any"

    rows = [
        ("Enabled", "No" if first(rule, "Active") == "FALSE" else "Yes"),
        ("Direction", first(rule, "Dir")),
        ("Profiles", ",".join(rule.get("Profile", ["Domain", "Private", "Public"]))),
        ("Grouping", first(rule, "EmbedCtxt")),
        ("LocalIP", joined("LA4", "LA6")),
        ("RemoteIP", joined("RA4", "RA6")),
        ("Protocol", protocol),
    ]
    if protocol in ("TCP", "UDP"):
        rows += [("LocalPort", joined("LPort", "LPort2_10")), ("RemotePort", joined("RPort", "RPort2_10"))]
    rows.append(("Edge traversal", "No"))
    if verbose:
        rows += [("Program", first(rule, "App")), ("Service", first(rule, "Svc"))]
    return [*rows, ("Action", first(rule, "Action"))]


# --- the program --------------------------------------------------------------------------------
def main(call: Any) -> int:
    common: Any = importlib.import_module("common")
    rules = load(call)
    before, netsh = dict(rules), Netsh(rules, call.korean)
    if [word.lower() for word in call.args[:1]] == ["-f"] and len(call.args) == 2:
        path = common.unix_path(call.args[1], call.cwd)
        if path is None or not os.path.isfile(path):
            call.out("The system cannot find the file specified.\n\n")
            return 1
        with open(path, "rb") as file:
            code, said = netsh.script(file.read().decode(call.encoding, "replace"))
    else:
        code, said = netsh.run(call.args)
    if rules != before:
        save(call, before, rules)
    call.out(said)
    return code


PASSING = r"C:\firewall-rules.reg"
"""A file that exists while this talks to the registry."""


def load(call: Any) -> dict[str, str]:
    """Returns the key's values; text only, as Windows has there."""
    call.run('reg export "%s" "%s" /y' % (KEY, PASSING), silent=True)
    path = linux_path()
    if not os.path.isfile(path):
        return {}
    with open(path, "rb") as file:
        text = file.read().decode("utf-16")
    os.unlink(path)
    pairs = re.findall(r'^"((?:[^"\\]|\\.)*)"="((?:[^"\\]|\\.)*)"\r?$', text, re.M)
    return {unescape(name): unescape(value) for name, value in pairs}


def save(call: Any, before: dict[str, str], rules: dict[str, str]) -> None:
    lines = ["Windows Registry Editor Version 5.00", "", "[%s]" % KEY]
    lines += ['"%s"=-' % escape(name) for name in before if name not in rules]
    lines += ['"%s"="%s"' % (escape(name), escape(rules[name])) for name in rules if rules[name] != before.get(name)]
    with open(linux_path(), "wb") as file:
        file.write("\r\n".join([*lines, ""]).encode("utf-16"))
    call.run('reg import "%s"' % PASSING, silent=True)
    os.unlink(linux_path())


def linux_path() -> str:
    common: Any = importlib.import_module("common")
    return str(common.DRIVE_C) + PASSING[2:].replace("\\", "/")


def escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
