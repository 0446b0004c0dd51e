"""PEM as people paste it: what is taken, and the reason for what is not."""

import pytest
from cryptography.hazmat.primitives import serialization

from quart_app.outbound import pem
from tests.outbound.certificates import PEM, issued

ONE = issued("one.example")
OTHER = issued("other.example")


def locked() -> str:
    sealed = serialization.BestAvailableEncryption(b"swordfish")
    made: bytes = ONE.signer.private_bytes(PEM, serialization.PrivateFormat.PKCS8, sealed)
    return made.decode()


def test_one_certificate_or_several_with_text_between_are_read() -> None:
    assert len(pem.certificates(ONE.certificate)) == 1
    assert len(pem.certificates(f"# ours\n{ONE.certificate}\n# theirs\n{OTHER.certificate}")) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no certificate in PEM"),
        ("hello", "no certificate in PEM"),
        (ONE.certificate.replace("M", "!", 5), "no certificate in PEM"),
        (ONE.certificate[:200], "no certificate in PEM"),
        (ONE.key, "private key in it"),
        (ONE.certificate + ONE.key, "private key in it"),
        (ONE.certificate + "é", "not ASCII"),
    ],
    ids=range(7),
)
def test_what_is_no_certificate_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pem.certificates(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no private key in PEM"),
        (ONE.certificate, "no private key in PEM"),
        (ONE.key[:100], "no private key in PEM"),
        (locked(), "has a passphrase"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n", "has a passphrase"),
    ],
    ids=range(5),
)
def test_what_is_no_open_private_key_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pem.private_key(text)


def test_a_key_fits_the_first_certificate_of_its_chain_and_no_other() -> None:
    assert pem.fits(ONE.key, ONE.certificate + OTHER.certificate)
    assert not pem.fits(ONE.key, OTHER.certificate + ONE.certificate)
