"""Where a control plane runs: beside the tests, or in a network of its own that nodes share with it."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
_VALID_FOR = timedelta(days=2)


@dataclass(frozen=True)
class Place:
    """address: what the API server is called by those who run there; bind: where it listens.

    command: how a program is started there. reach: `host:port` here for a port of 127.0.0.1 there.
    """

    address: str
    bind: str
    command: Callable[[Sequence[str]], list[str]]
    reach: Callable[[int], str]
    api_server_flags: Sequence[str] = ()
    controller_flags: Sequence[str] = ()


HERE = Place(LOOPBACK, LOOPBACK, list, lambda port: f"{LOOPBACK}:{port}")


def write_certificate(folder: Path, addresses: Sequence[str], names: Sequence[str]) -> None:
    """`apiserver.crt` and `apiserver.key`, signed by itself, good for these addresses and names."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    known_as = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([*known_as, *map(x509.DNSName, names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "apiserver.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_key(folder / "apiserver.key", key)


def write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    """As PEM, for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
