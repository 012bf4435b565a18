"""The cluster's own certificate authority, and the certificates by which its nodes know each other.

Everything is made in memory and returned; nothing here writes a file. What Ray demands was tried with 2.60.0 (gRPC with
BoringSSL): both sides of a connection show a certificate, so one is server's and client's at once; a client compares
the address it called with the subject alternative names (an IP address with an entry for that address, "localhost" with
a DNS name; the common name counts for nothing); keys on P-256 are taken, and cost less at each connection than RSA.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from provisioner.inventory.model import Host
from provisioner.ray.start import node_ip

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_LIFE = timedelta(days=3650)
NODE_LIFE = timedelta(days=365)
SKEW = timedelta(hours=1)
"""How much a host's clock may be behind ours: certificates are valid from that much before they were made."""
LONGEST_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""
LOCAL = ("127.0.0.1", "::1", "localhost")
"""What a node's own processes call each other by."""
DNS_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both as PEM. The key is a secret: it shows nowhere."""

    certificate: str
    key: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the certificate in PEM: tells one from another."""
        return fingerprint(self.certificate)


@dataclass(frozen=True)
class Issued:
    """A node's certificate and key, and what is to be known of it without reading it.

    Args:
        pair: certificate and key.
        since, until: when its validity begins and ends, in seconds since the epoch.
        names: its addresses and names, sorted.
        authority: fingerprint of the authority's certificate that signed it.
    """

    pair: Pair
    since: int
    until: int
    names: tuple[str, ...]
    authority: str


class BadAuthority(ValueError):
    """What should be a certificate authority is none that can sign; the text says why, and shows nothing of it."""


def fingerprint(certificate: str) -> str:
    """Return what tells one certificate from another: 16 hexadecimal digits."""
    return hashlib.sha256(certificate.encode("ascii", "replace")).hexdigest()[:16]


def make_authority(cluster: str, now: datetime) -> Pair:
    """Return a new authority for a cluster, which may sign nodes' certificates and nothing else.

    Args:
        cluster: the cluster's name.
        now: the time, with its time zone.
    """
    from cryptography import x509

    key = _new_key()
    public = key.public_key()
    name = _name(f"provision {cluster} {now.astimezone(timezone.utc):%Y-%m-%d}")
    certificate = (
        _builder(name, name, public, now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, _digest())
    )
    return _pair(certificate, key)


def issue(authority: Pair, host: str, names: Iterable[str], now: datetime) -> Issued:
    """Return a certificate for a node, with a new key.

    It ends with its authority at the latest.

    Args:
        authority: who signs.
        host: the node's name, for whoever looks at the certificate.
        names: addresses and DNS names under which others, and its own processes, call it.
        now: the time, with its time zone.

    Raises:
        BadAuthority: the authority can't sign.
    """
    from cryptography import x509

    issuer, issuer_key = _load(authority)
    key = _new_key()
    until = min(now + NODE_LIFE, issuer.not_valid_after_utc)
    wanted = tuple(sorted(set(names)))
    certificate = (
        _builder(_name(f"ray node {host}"), issuer.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_both_sides()), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in wanted]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_signed_by(issuer), critical=False)
        .sign(issuer_key, _digest())
    )
    since = int(certificate.not_valid_before_utc.timestamp())
    end = int(certificate.not_valid_after_utc.timestamp())
    return Issued(_pair(certificate, key), since, end, wanted, authority.fingerprint)


def node_names(host: Host) -> list[str]:
    """Return the addresses and names in a node's certificate, sorted, as the inventory declares them.

    Ray's nodes call each other by ``node_ip``; drivers may use the address or the name of the inventory. A host's own
    word counts for nothing here, or one node could have itself certified as another.
    """
    given = (node_ip(host), host.address.strip("[]"), host.name, *LOCAL)
    return sorted({str(ip) if (ip := _ip(name)) else name for name in given if _ip(name) or _is_dns(name)})


def validity(certificate: str) -> tuple[int, int]:
    """Return when a certificate's validity begins and ends, in seconds since the epoch; BadAuthority if it is none."""
    loaded = _load_certificate(certificate)
    return int(loaded.not_valid_before_utc.timestamp()), int(loaded.not_valid_after_utc.timestamp())


def is_due(since: int, until: int, now: float) -> bool:
    """Tell whether something with that validity should be renewed: less than a third of it is left."""
    return until - now < (until - since) / 3


def check_authority(authority: Pair) -> None:
    """Raise BadAuthority unless the key is the certificate's, and the certificate one that may sign others."""
    _load(authority)


def _load(authority: Pair) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = _load_certificate(authority.certificate)
    try:
        key = load_pem_private_key(authority.key.encode("ascii"), password=None)
        may_sign = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception as error:  # the text of whatever it is may show what was read
        raise BadAuthority(f"it can't be read ({type(error).__name__})") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise BadAuthority("its key is not that of its certificate")
    if not may_sign:
        raise BadAuthority("its certificate may not sign others")
    return certificate, key


def _load_certificate(text: str) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(text.encode("ascii"))
    except ValueError:
        raise BadAuthority("its certificate can't be read") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: Any, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(until)
    )


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _digest() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(common: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:LONGEST_NAME])])


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _both_sides() -> list[x509.ObjectIdentifier]:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def _signed_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _alternative(name: str) -> x509.GeneralName:
    from cryptography import x509

    ip = _ip(name)
    return x509.IPAddress(ip) if ip else x509.DNSName(name)


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_dns(name: str) -> bool:
    return len(name) <= 253 and DNS_NAME.fullmatch(name) is not None


def _pair(certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> Pair:
    from cryptography.hazmat.primitives import serialization

    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"), plain.decode("ascii"))
