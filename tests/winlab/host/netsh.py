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


def netsh(call):
    def say(text):
        return NETSH_KOREAN.get(text, text) if call.korean else text

    def refuse(text):
        call.out(f"\n{say(text)}\n\n")
        return 1

    words = [w.lower() for w in call.args]
    if words[:2] in (["int", "ipv4"], ["interface", "ipv4"], ["int", "ip"], ["interface", "ip"]) and words[2:4] == [
        "show",
        "excludedportrange",
    ]:
        if words[4:] and words[4] not in ("protocol=tcp", "tcp", "protocol=udp", "udp"):
            return refuse("The syntax supplied for this command is not valid. Check help for the correct syntax.")
        call.out(
            "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
            + "".join("%10d  %10d      \n" % r for r in EXCLUDED)
            + "\n* - Administered port exclusions.\n\n"
        )
        return 0
    if (
        words[:2] != ["advfirewall", "firewall"]
        or len(words) < 4
        or words[3] != "rule"
        or words[2] not in ("add", "delete", "show", "set")
    ):
        return refuse(
            "stand-in: this netsh command is not simulated (The following command was not found: %s.)"
            % " ".join(call.args)
        )
    verb, rules, given = words[2], load_json("firewall", []), {}
    if verb == "set":
        return refuse("stand-in: netsh advfirewall firewall set rule is not simulated")
    for arg in call.args[4:]:
        key, equals, value = arg.partition("=")
        key = key.lower()
        if not equals and verb == "show" and key == "verbose":
            given["verbose"] = "yes"
            continue
        if not equals or key not in RULE_KEYS | ({"type"} if verb == "show" else set()) or key in given:
            return refuse(
                f"'{arg}' is not a valid argument for this command.\nThe syntax supplied for this command is not "
                f"valid. Check help for the correct syntax."
            )
        if not value or (key in VALUES and not re.fullmatch(VALUES[key], value, re.I)):
            return refuse("A specified value is not valid.")
        if key.endswith("port") and any(not 0 <= int(n) <= 65535 for n in re.findall(r"\d+", value)):
            return refuse("A specified port value is not valid.")
        given[key] = value
    if "name" not in given or (
        verb == "add" and (given["name"].lower() == "all" or "dir" not in given or "action" not in given)
    ):
        return refuse(
            "One or more essential parameters were not entered.\nVerify that the required parameters, and then "
            "enter the command again."
        )
    if verb == "add":
        if ("localport" in given or "remoteport" in given) and given.get("protocol", "any").lower() not in (
            "tcp",
            "udp",
        ):
            return refuse("A port can be specified only if the protocol is TCP or UDP.")
        save_json(
            "firewall",
            [
                *rules,
                {
                    "enable": "yes",
                    "profile": "public,private,domain",
                    "protocol": "any",
                    "localip": "any",
                    "remoteip": "any",
                    **given,
                },
            ],
        )
        call.out("\n".join([say("Ok."), "", ""]))
        return 0
    filters = {k: v.lower() for k, v in given.items() if k not in ("verbose", "type")}
    if filters.get("name") == "all":
        del filters["name"]
    hit = [r for r in rules if all(str(r.get(k, "")).lower() == v for k, v in filters.items())]
    if not hit:
        return refuse("No rules match the specified criteria.")
    if verb == "delete":
        save_json("firewall", [r for r in rules if r not in hit])
        call.out("\n" + say("Deleted %d rule(s).") % len(hit) + "\n" + say("Ok.") + "\n\n")
        return 0
    labels = [
        ("Enabled", "enable"),
        ("Direction", "dir"),
        ("Profiles", "profile"),
        ("Grouping", ""),
        ("LocalIP", "localip"),
        ("RemoteIP", "remoteip"),
        ("Protocol", "protocol"),
        ("LocalPort", "localport"),
        ("RemotePort", "remoteport"),
        ("Edge traversal", "edge"),
    ]
    if "verbose" in given:
        labels += [("Program", "program"), ("Service", "service")]
    for rule in hit:
        call.out(f"\n{'Rule Name:':<38}{rule['name']}\n{'-' * 70}\n")
        for label, key in [*labels, ("Action", "action")]:
            value = rule.get(key, "No" if key == "edge" else "Any" if key.endswith("port") else "")
            if not (key.endswith("port") and rule["protocol"].lower() not in ("tcp", "udp")):
                call.out(f"{label + ':':<38}{value.upper() if key == 'protocol' else value[:1].upper() + value[1:]}\n")
    call.out(say("Ok.") + "\n\n")
    return 0
