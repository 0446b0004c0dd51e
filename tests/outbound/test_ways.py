"""Ways out as they are given: which TLS and which proxy a connection may have, and which connections share sockets."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from quart_app.outbound.ways import SHARED, Proxy, Tls, way_of, without_certificate
from tests.outbound.certificates import PEM, issued

PAIR = issued("client.example")
OTHER = issued("other.example")


def faults(form: Any, **given: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as raised:
        form.model_validate(given)
    return {str(entry["loc"][0]): entry["msg"] for entry in raised.value.errors()}


def test_a_certificate_and_its_key_are_taken() -> None:
    tls = Tls(certificate=PAIR.certificate, key=PAIR.key, ca=OTHER.certificate)
    assert (tls.verify, tls.key) == (True, PAIR.key)


def test_a_certificate_and_a_key_come_together() -> None:
    assert "needs its private key" in faults(Tls, certificate=PAIR.certificate)["key"]
    assert "needs the certificate" in faults(Tls, key=PAIR.key)["key"]
    assert "does not belong" in faults(Tls, certificate=PAIR.certificate, key=OTHER.key)["key"]


def test_each_fault_of_tls_stands_at_its_field() -> None:
    found = faults(Tls, verify="no", ca="x", certificate="y", key="z")
    assert found.keys() == {"verify", "ca", "certificate", "key"}
    assert not [text for text in found.values() if text == "x"]


def test_a_key_that_openssl_would_not_show_is_refused_now_and_not_at_the_first_call() -> None:
    short = rsa.generate_private_key(65537, 1024)
    key = short.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    certificate = issued("short.example", key=short).certificate
    assert "cannot be used" in faults(Tls, certificate=certificate, key=key)["key"]


@pytest.mark.parametrize(
    "url",
    ["http://proxy.example", "http://proxy.example:3128", "https://proxy.example:3129/", "http://[2001:db8::1]:3128"],
)
def test_a_proxy_is_a_scheme_a_host_and_a_port(url: str) -> None:
    assert Proxy(url=url).url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("socks5://proxy.example", "http"),
        ("proxy.example:3128", "http"),
        ("http://user:secret@proxy.example", "user or password"),
        ("http://proxy.example/path", "without a path"),
        ("http://proxy.example?x", "query"),
        ("http://proxy.example:0", "port 0"),
        ("http://", "no host"),
    ],
)
def test_what_is_no_proxy_is_refused_with_the_reason(url: str, reason: str) -> None:
    found = faults(Proxy, url=url)["url"]
    assert reason in found
    assert "secret" not in found


def test_user_name_and_password_come_together() -> None:
    assert Proxy(url="http://proxy.example", username="me", password="secret").password == "secret"
    assert "both or neither" in faults(Proxy, url="http://proxy.example", username="me")["password"]
    assert "both or neither" in faults(Proxy, url="http://proxy.example", password="secret")["password"]


def test_connections_without_anything_of_their_own_share_the_way_of_their_policy() -> None:
    for leave in (False, True):
        assert way_of("1", allow_private=leave, tls=Tls(), proxy=None) is SHARED[leave]


def test_whatever_is_other_makes_another_pool_and_what_is_equal_the_same() -> None:
    proxy = Proxy(url="http://proxy.example")
    ways = [
        way_of("1", allow_private=False, tls=Tls(verify=False), proxy=None),
        way_of("1", allow_private=True, tls=Tls(verify=False), proxy=None),
        way_of("2", allow_private=False, tls=Tls(verify=False), proxy=None),
        way_of("1", allow_private=False, tls=Tls(ca=PAIR.certificate), proxy=None),
        way_of("1", allow_private=False, tls=Tls(), proxy=proxy),
        way_of("1", allow_private=False, tls=Tls(), proxy=Proxy(url=proxy.url, username="a", password="b")),
        way_of("1", allow_private=False, tls=Tls(), proxy=Proxy(url=proxy.url, username="a", password="c")),
        way_of("1", allow_private=False, tls=Tls(certificate=PAIR.certificate, key=PAIR.key), proxy=None),
    ]
    assert len({way.pool for way in ways}) == len(ways)
    assert way_of("1", allow_private=False, tls=Tls(verify=False), proxy=None).pool == ways[0].pool
    assert "PRIVATE" not in repr(ways)


def test_the_way_without_the_certificate_is_one_of_its_own_and_keeps_the_rest() -> None:
    whole = way_of("1", allow_private=True, tls=Tls(ca=OTHER.certificate, certificate=PAIR.certificate, key=PAIR.key),
                   proxy=Proxy(url="http://proxy.example"))  # fmt: skip
    bare = without_certificate(whole)
    assert (bare.tls.certificate, bare.tls.key) == (None, None)
    assert (bare.tls.ca, bare.proxy, bare.allow_private) == (OTHER.certificate, whole.proxy, True)
    assert bare.owner != whole.owner
    assert without_certificate(SHARED[True]) is SHARED[True]
