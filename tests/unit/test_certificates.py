"""The cluster's authority and its nodes' certificates: what they say, how long, and that a TLS stack believes them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioner.inventory.model import Host, RayOptions
from provisioner.ray import certificates
from provisioner.ray.certificates import BadAuthority, Issued, Pair, check_authority, is_due, issue, make_authority

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
NAMES = ["10.0.0.7", "127.0.0.1", "localhost", "w1", "fd00::7"]


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("lab", NOW)


def loaded(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def test_an_authority_signs_nodes_and_nothing_deeper(authority: Pair) -> None:
    found = loaded(authority)
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (basic.value.ca, basic.value.path_length, basic.critical) == (True, 0, True)
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)
    assert found.issuer == found.subject
    assert found.not_valid_before_utc == NOW - timedelta(hours=1)
    assert found.not_valid_after_utc == NOW + timedelta(days=3650)
    found.verify_directly_issued_by(found)
    check_authority(authority)


def test_a_node_serves_and_calls_under_its_names(authority: Pair) -> None:
    issued = issue(authority, "w1", [*NAMES, "10.0.0.7"], NOW)
    found = loaded(issued.pair)
    found.verify_directly_issued_by(loaded(authority))
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)} == {"10.0.0.7", "127.0.0.1", "fd00::7"}
    assert set(alternatives.get_values_for_type(x509.DNSName)) == {"localhost", "w1"}
    uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert issued.names == tuple(sorted(set(NAMES)))
    assert issued.authority == authority.fingerprint
    assert (issued.since, issued.until) == certificates.validity(issued.pair.certificate)
    assert issued.since == (NOW - timedelta(hours=1)).timestamp()
    assert issued.until == (NOW + timedelta(days=365)).timestamp()


def test_each_has_a_key_and_a_number_of_its_own(authority: Pair) -> None:
    one, other = (issue(authority, "w1", NAMES, NOW).pair for _ in range(2))
    assert one.key != other.key
    assert one.fingerprint != other.fingerprint
    assert loaded(one).serial_number != loaded(other).serial_number


def test_no_certificate_outlives_its_authority(authority: Pair) -> None:
    late = NOW + timedelta(days=3600)
    assert issue(authority, "w1", NAMES, late).until == (NOW + timedelta(days=3650)).timestamp()


@pytest.mark.parametrize(
    ("left", "due"),
    [(365, False), (123, False), (122, False), (121, True), (1, True), (0, True), (-3, True)],
)
def test_what_has_less_than_a_third_left_is_due(left: int, due: bool) -> None:
    since, until = 0, 365 * 86400
    assert is_due(since, until, until - left * 86400) is due


@pytest.mark.parametrize("name", ["x" * 200, "w1.lab.example", "w-1"])
def test_a_long_name_of_a_host_fits(authority: Pair, name: str) -> None:
    found = loaded(issue(authority, name, ["10.0.0.1"], NOW).pair)
    assert found.subject.rfc4514_string() == "CN=" + f"ray node {name}"[:64]


def test_a_key_shows_nowhere(authority: Pair) -> None:
    issued = issue(authority, "w1", NAMES, NOW)
    for told in (repr(authority), str(issued), repr(issued)):
        assert "PRIVATE KEY" not in told
        assert issued.pair.key.splitlines()[1] not in told


@pytest.mark.parametrize(
    ("name", "address", "node_ip", "wanted"),
    [
        ("w1", "10.0.0.11", "10.0.0.11", ["10.0.0.11", "w1"]),
        ("w1", "10.0.0.11", "192.168.0.4", ["10.0.0.11", "192.168.0.4", "w1"]),
        ("w1.lab", "w1.lab", "10.0.0.11", ["10.0.0.11", "w1.lab"]),
        ("w1", "[fd00::7]", "fd00:0::7", ["fd00::7", "w1"]),
        ("w_1", "10.0.0.11", "10.0.0.11", ["10.0.0.11"]),
        ("서울", "10.0.0.11", "10.0.0.11", ["10.0.0.11"]),
        ("-w", "a" * 64, "10.0.0.11", ["10.0.0.11"]),
    ],
)
def test_the_names_of_a_node_are_the_inventorys(name: str, address: str, node_ip: str, wanted: list[str]) -> None:
    host = Host(name, "worker", address, "3.11.9", (), RayOptions({"node_ip": node_ip}))
    found = certificates.node_names(host)
    assert found == sorted([*wanted, "127.0.0.1", "::1", "localhost"])


def test_the_authority_signs_whatever_name_it_may(authority: Pair) -> None:
    host = Host("서울", "worker", "10.0.0.11", "3.11.9", (), RayOptions())
    assert issue(authority, host.name, certificates.node_names(host), NOW).names == tuple(certificates.node_names(host))


def _not_signing(authority: Pair) -> Pair:
    return issue(authority, "w1", NAMES, NOW).pair


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda good: replace(good, key=make_authority("lab", NOW).key), "its key is not that of its certificate"),
        (lambda good: replace(good, key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "read"),
        (lambda good: replace(good, key=""), "it can't be read"),
        (lambda good: replace(good, certificate="nothing"), "its certificate can't be read"),
        (lambda good: replace(good, certificate="한국어"), "its certificate can't be read"),
        (_not_signing, "its certificate may not sign others"),
    ],
)
def test_what_is_no_authority_is_refused_without_showing_it(authority: Pair, spoil: object, why: str) -> None:
    bad = spoil(authority)  # type: ignore[operator]
    for use in (check_authority, lambda pair: issue(pair, "w1", NAMES, NOW)):
        with pytest.raises(BadAuthority) as caught:
            use(bad)
        assert why in str(caught.value)
        assert "AAAA" not in str(caught.value)


def _context(side: int, authority: Pair, mine: Issued, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.load_verify_locations(cadata=authority.certificate)
    path = folder / f"{mine.pair.fingerprint}.pem"
    path.write_text(mine.pair.certificate + mine.pair.key)
    context.load_cert_chain(path)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let both talk until each has believed the other."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(back, there, server_hostname=name)
    called = server.wrap_bio(there, back, server_side=True)
    done = set()
    for _ in range(6):
        for each in (calling, called):
            try:
                each.do_handshake()
                done.add(each)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2


@pytest.mark.parametrize(
    ("called", "other_authority", "believed"),
    [
        ("10.0.0.7", False, True),
        ("localhost", False, True),
        ("10.0.0.8", False, False),
        ("10.0.0.7", True, False),
    ],
)
def test_a_tls_stack_believes_it(tmp_path: Path, called: str, other_authority: bool, believed: bool) -> None:
    now = datetime.now(timezone.utc)
    authority, stranger = make_authority("lab", now), make_authority("lab", now)
    server = issue(authority, "w1", NAMES, now)
    client = issue(stranger if other_authority else authority, "w2", ["10.0.0.9"], now)
    sides = (
        _context(ssl.PROTOCOL_TLS_CLIENT, authority, client, tmp_path),
        _context(ssl.PROTOCOL_TLS_SERVER, authority, server, tmp_path),
    )
    if believed:
        _shake_hands(*sides, called)
        return
    with pytest.raises(ssl.SSLError):
        _shake_hands(*sides, called)
