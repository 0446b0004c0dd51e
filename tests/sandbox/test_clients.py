"""Where a client may send a browser back to."""

import pytest

from quart_app.sandbox import Client


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://client.example/back",
        "https://client.example/back?x=1&",
        "https://client.example/back?x=1/../y",
        "http://127.0.0.1:9000/back",
    ],
)
def test_a_registered_redirect_uri_is_compared_exactly(uri: str) -> None:
    client = Client(client_id="a", client_secret="s", redirect_uris=("https://client.example/back?x=1",))
    assert client.may_redirect_to("https://client.example/back?x=1")
    assert not client.may_redirect_to(uri)


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("http://127.0.0.1:1/x", True),
        ("http://127.0.0.1:65535/oauth/callback/demo", True),
        ("http://[::1]:8000/", True),
        ("http://localhost:8000/cb?x=1", True),
        ("https://127.0.0.1/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1@evil.example/", False),
        ("http://user@127.0.0.1/", False),
        ("http://127.0.0.1:99999/", False),
        ("http://127.0.0.1:8000/#part", False),
        ("http://127.0.0.1:8000\\@evil.example/", False),
        ("http://127.0.0.1:8000/\r\nX: y", False),
        ("http://①27.0.0.1/", False),
        ("javascript:alert(1)", False),
    ],
)
def test_loopback_redirects_take_any_port_of_this_machine_and_nothing_else(uri: str, allowed: bool) -> None:
    client = Client(client_id="a", client_secret="s", loopback_redirects=True)
    assert client.may_redirect_to(uri) is allowed
