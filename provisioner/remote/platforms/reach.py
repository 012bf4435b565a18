"""Who may reach which ports, in forms that can be compared: spans of ports, and places (spans of addresses)."""

from __future__ import annotations

from provisioner.remote.failure import Failure
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Tuple

    from provisioner.remote.resource import Difference

    Span = Tuple[int, int]
    Place = Tuple[int, int, int]


class LeftAlone(Failure):
    """Something on the host, which the message names, keeps us from opening a firewall: that is said, and all else is
    done."""


def merge_ports(spans: Iterable[Span]) -> List[Span]:
    """Return spans in order, those that touch made one."""
    merged: List[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def merge_addresses(texts: Iterable[str]) -> List[Place]:
    """Return addresses, ranges (``A-B``) and networks (``A/24``, ``A/255.255.255.0``) as (IP version, first, last),
    in order, those that touch made one."""
    merged: List[Place] = []
    for version, first, last in sorted(_place(text) for text in texts):
        if merged and merged[-1][0] == version and first <= merged[-1][2] + 1:
            merged[-1] = (version, merged[-1][1], max(last, merged[-1][2]))
        else:
            merged.append((version, first, last))
    return merged


def _place(text: str) -> Place:
    import ipaddress

    try:
        if "/" in text:
            network = ipaddress.ip_network(text, strict=False)
            return network.version, int(network.network_address), int(network.broadcast_address)
        first, _, last = text.partition("-")
        start = ipaddress.ip_address(first.partition("%")[0])
        return start.version, int(start), int(ipaddress.ip_address((last or first).partition("%")[0]))
    except ValueError:
        return 0, 0, 0


def show_ports(spans: Iterable[Span]) -> str:
    """Return ports as netsh takes them and people read them: ``6379,10002-19999``."""
    return ",".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in spans)


def show_addresses(places: Iterable[Place]) -> str:
    """Return addresses as netsh takes them: ``10.0.0.1-10.0.0.9,fd00::5``; any if a rule is for all."""
    return ",".join(_show(place) for place in places)


def _show(place: Place) -> str:
    import ipaddress

    version, first, last = place
    kind: Any = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}.get(version)
    if kind is None:
        return "any"
    return str(kind(first)) if first == last else "%s-%s" % (kind(first), kind(last))


def overlap(spans: Iterable[Span], others: Iterable[Span]) -> List[Span]:
    """Return which ports are in both."""
    theirs = list(others)
    common = [(max(a, c), min(b, d)) for a, b in spans for c, d in theirs]
    return merge_ports((first, last) for first, last in common if first <= last)


def meet(places: Iterable[Place], others: Iterable[Place]) -> bool:
    """Tell whether some address is in both."""
    theirs = list(others)
    return any(a[0] == b[0] and a[1] <= b[2] and b[1] <= a[2] for a in places for b in theirs)


def demand_places(texts: Iterable[str]) -> List[Place]:
    """Return what ``merge_addresses`` does.

    Raises:
        Failure: not all of them are addresses.
    """
    texts = list(texts)
    places = merge_addresses(texts)
    if (0, 0, 0) in places:
        raise Failure("not all of these are addresses: %s" % ", ".join(texts), "mend the inventory")
    return places


def networks(place: Place) -> List[str]:
    """Return the fewest networks, and addresses, that are exactly a place: ``10.0.0.0/30``, ``10.0.0.4``."""
    import ipaddress

    version, first, last = place
    kind: Any = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}[version]
    found = ipaddress.summarize_address_range(kind(first), kind(last))
    return [str(each.network_address if each.num_addresses == 1 else each) for each in found]


def singly(texts: Iterable[str], version: int) -> List[str]:
    """Return addresses as they are, ranges as networks, of one IP version, none of which is within another."""
    import ipaddress

    written = [name for place in map(demand_places, ([text] for text in texts)) for name in networks(place[0])]
    found: List[Any] = [ipaddress.ip_network(name) for name in dict.fromkeys(written)]
    wide = [each for each in found if each.version == version and each.num_addresses > 1]
    wide = [each for each in wide if not any(each != other and each.subnet_of(other) for other in wide)]
    narrow = [each for each in found if each.version == version and each.num_addresses == 1]
    narrow = [each for each in narrow if not any(each.subnet_of(other) for other in wide)]
    return sorted([str(each) for each in wide] + [str(each.network_address) for each in narrow])


def facets(whose: str, now: Tuple[List[Place], List[Span]], then: Tuple[List[Place], List[Span]]) -> List[Difference]:
    """Return in what a firewall's rules for the cluster differ from those declared, with both values.

    Args:
        whose: names the firewall.
        now: who may connect, and to which ports.
        then: the same, as declared.
    """
    rows = [
        ("%s: who may connect" % whose, show_addresses(now[0]), show_addresses(then[0])),
        ("%s: ports" % whose, show_ports(now[1]), show_ports(then[1])),
    ]
    changed = [row for row in rows if row[1] != row[2]] or [
        ("rules of %s" % whose, "edited or incomplete", "as declared")
    ]
    return [difference("change", *row) for row in changed]


def added(whose: str, then: Tuple[List[Place], List[Span]]) -> Difference:
    """Return that there are no rules for the cluster yet."""
    after = "TCP %s from %s" % (show_ports(then[1]), show_addresses(then[0]))
    return difference("add", "rules of %s" % whose, after=after)


def letting_in(whose: str) -> Difference:
    """Return that there are rules for the cluster, where there should be none."""
    return difference("remove", "rules of %s" % whose, before="let the cluster's hosts in")


def each_of(variable: str, values: List[str], command: str) -> str:
    """Return what is typed in a shell to have a command, which names a variable, run for each of some values."""
    if len(values) == 1:
        return command.replace("$" + variable, values[0])
    # a shell puts nothing for a variable within single quotes
    return "for %s in %s; do %s; done" % (variable, " ".join(values), command.replace("'", '"'))


def cross(places: List[Place], others: List[Place]) -> List[Place]:
    """Return which addresses are in both."""
    found = [(a[0], max(a[1], b[1]), min(a[2], b[2])) for a in places for b in others if a[0] == b[0]]
    return sorted(each for each in found if each[1] <= each[2])


def lacking(places: List[Place], others: List[Place]) -> List[Place]:
    """Return which addresses are in the first alone."""
    for version, first, last in others:
        parts = []
        for place in places:
            if place[0] != version or place[2] < first or last < place[1]:
                parts.append(place)
                continue
            parts += [(version, place[1], first - 1)] * (place[1] < first)
            parts += [(version, last + 1, place[2])] * (last < place[2])
        places = parts
    return places
