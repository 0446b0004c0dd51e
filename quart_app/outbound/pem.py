"""PEM texts (RFC 7468) as people paste them: certificates and private keys that really are such, and fit."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

LONGEST = 60_000
"""Characters; `tls.piped` hands a text to OpenSSL in one piece."""


def certificates(text: str) -> list[x509.Certificate]:
    """The certificates in a text, at least one. Raises ValueError with the reason."""
    if "PRIVATE KEY" in text:
        raise ValueError("has a private key in it, which has a field of its own")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError("is no certificate in PEM, which starts with -----BEGIN CERTIFICATE-----") from None
    if not text.isascii():
        raise ValueError("has characters beside the certificates that are not ASCII")
    return found


def private_key(text: str) -> bytes:
    """The public half, as DER, of a private key without a passphrase. Raises ValueError with the reason."""
    return loaded(text).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def loaded(text: str) -> PrivateKeyTypes:
    """A private key without a passphrase, in PKCS#8 or the older forms. Raises ValueError with the reason."""
    try:
        return load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise ValueError("has a passphrase; give the key without one: it is sealed here") from None
    except (ValueError, UnsupportedAlgorithm):
        if "ENCRYPTED" in text:
            raise ValueError("has a passphrase; give the key without one: it is sealed here") from None
        raise ValueError("is no private key in PEM, which starts with -----BEGIN PRIVATE KEY-----") from None


def fits(key: str, certificate: str) -> bool:
    """Whether a private key belongs to the first certificate of a text; both are good PEM."""
    leaf = certificates(certificate)[0].public_key()
    return leaf.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == private_key(key)
