"""netsh.exe: firewall rules and the excluded port ranges; strict, everything else is refused.

Follows "Netsh AdvFirewall Firewall Commands": keyword=value after add/delete/show rule; name, dir and action are
required by add; unknown keywords and values are errors (rc 1); add never replaces: the same name twice makes two
rules; delete and show need name=."""

import re

from common import load_json, save_json

RULE_KEYS = {
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
NETSH_KOREAN = {
    "Ok.": "확인됩니다.",
    "No rules match the specified criteria.": "지정된 조건과 일치하는 규칙이 없습니다.",
    "Deleted %d rule(s).": "%d개의 규칙이 삭제되었습니다.",
}
EXCLUDED = [(5357, 5357), (49681, 49780), (50000, 50059)]


NOT_VALID = "The syntax supplied for this command is not valid. Check help for the correct syntax."
LABELS = {
    **{"Enabled": "enable", "Direction": "dir", "Profiles": "profile", "Grouping": "", "LocalIP": "localip"},
    **{"RemoteIP": "remoteip", "Protocol": "protocol", "LocalPort": "localport", "RemotePort": "remoteport"},
    "Edge traversal": "edge",
}
DEFAULTS = dict.fromkeys(("protocol", "localip", "remoteip"), "any") | {
    "enable": "yes",
    "profile": "public,private,domain",
}


class Refused(Exception):
    pass


def say(call, text):
    return NETSH_KOREAN.get(text, text) if call.korean else text


def netsh(call):
    words = [w.lower() for w in call.args]
    try:
        if words[:1] in (["int"], ["interface"]) and words[1:2] in (["ipv4"], ["ip"]):
            if words[2:4] == ["show", "excludedportrange"]:
                return excluded_ports(call, words[4:])
        verbs = {"add": add, "delete": delete, "show": show}
        if words[:2] == ["advfirewall", "firewall"] and words[3:4] == ["rule"] and words[2] in verbs:
            given = rule_of(words[2], call.args[4:])
            verbs[words[2]](call, load_json("firewall", []), given)
            return 0
        raise Refused(f"stand-in: this netsh command is not simulated: {' '.join(call.args)}")
    except Refused as error:
        call.out(f"\n{say(call, str(error))}\n\n")
        return 1


def excluded_ports(call, words):
    if words and words[0] not in ("protocol=tcp", "tcp", "protocol=udp", "udp"):
        raise Refused(NOT_VALID)
    call.out(
        "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
        + "".join("%10d  %10d      \n" % r for r in EXCLUDED)
        + "\n* - Administered port exclusions.\n\n"
    )
    return 0


def rule_of(verb, args):
    """keyword=value ... -> dict, or Refused."""
    given = {}
    for arg in args:
        key, equals, value = arg.partition("=")
        key = key.lower()
        if not equals and verb == "show" and key == "verbose":
            given["verbose"] = "yes"
            continue
        if not equals or key not in RULE_KEYS | ({"type"} if verb == "show" else set()) or key in given:
            raise Refused(f"'{arg}' is not a valid argument for this command.\n{NOT_VALID}")
        if not value or (key in VALUES and not re.fullmatch(VALUES[key], value, re.I)):
            raise Refused("A specified value is not valid.")
        if key.endswith("port") and any(not 0 <= int(n) <= 65535 for n in re.findall(r"\d+", value)):
            raise Refused("A specified port value is not valid.")
        given[key] = value
    needed = ("name", "dir", "action") if verb == "add" else ("name",)
    if not all(key in given for key in needed) or (verb == "add" and given["name"].lower() == "all"):
        raise Refused(
            "One or more essential parameters were not entered.\n"
            "Verify that the required parameters, and then enter the command again."
        )
    return given


def add(call, rules, given):
    with_ports = given.get("protocol", "any").lower() in ("tcp", "udp")
    if ("localport" in given or "remoteport" in given) and not with_ports:
        raise Refused("A port can be specified only if the protocol is TCP or UDP.")
    save_json("firewall", [*rules, {**DEFAULTS, **given}])
    call.out(say(call, "Ok.") + "\n\n")


def matching(rules, given):
    filters = {k: v.lower() for k, v in given.items() if k not in ("verbose", "type")}
    if filters.get("name") == "all":
        del filters["name"]
    found = [r for r in rules if all(str(r.get(k, "")).lower() == v for k, v in filters.items())]
    if not found:
        raise Refused("No rules match the specified criteria.")
    return found


def delete(call, rules, given):
    found = matching(rules, given)
    save_json("firewall", [r for r in rules if r not in found])
    call.out("\n" + say(call, "Deleted %d rule(s).") % len(found) + "\n" + say(call, "Ok.") + "\n\n")


def show(call, rules, given):
    more = {"Program": "program", "Service": "service"} if "verbose" in given else {}
    for rule in matching(rules, given):
        call.out(f"\n{'Rule Name:':<38}{rule['name']}\n{'-' * 70}\n")
        for label, key in {**LABELS, **more, "Action": "action"}.items():
            value = rule.get(key, "No" if key == "edge" else "Any" if key.endswith("port") else "")
            if not (key.endswith("port") and rule["protocol"].lower() not in ("tcp", "udp")):
                call.out(f"{label + ':':<38}{value.upper() if key == 'protocol' else value[:1].upper() + value[1:]}\n")
    call.out(say(call, "Ok.") + "\n\n")
