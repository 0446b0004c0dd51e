"""TLS certificates for servers and callers of the tests, made on the spot."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM texts; `issuer` is who signs further ones."""

    certificate: str
    key: str
    signer: Any
    name: x509.Name

    def file(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.pem"
        path.write_text(self.key + self.certificate)
        return path


def issued(host: str, by: Pair | None = None, *, valid_days: int = 1, key: Any = None) -> Pair:
    """A certificate for a name or an address, signed `by` another or by itself; with negative days it has expired."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"switchboard test {host}")])
    try:
        subject: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(by.name if by else name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by.signer if by else key, hashes.SHA256())
    )
    unsealed = serialization.NoEncryption()
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, unsealed).decode()
    return Pair(made.public_bytes(PEM).decode(), private, key, name)


def self_signed(folder: Path, host: str, *, valid_days: int = 1) -> Path:
    """The same in one PEM file, with its key."""
    return issued(host, valid_days=valid_days).file(folder, host)


def server_context(certificate: Path, *, wants_from: str | None = None) -> ssl.SSLContext:
    """A server's; `wants_from` is the authority, as PEM, whose certificates callers must show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if wants_from:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=wants_from)
    return context
