"""Where redirects lead, what goes along and what stays behind: RFC 9110 §15.4, and what attackers put into Location."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from quart_app.outbound.client import Outgoing
from quart_app.outbound.headers import Headers
from quart_app.outbound.redirects import STATUSES, crosses, follow, location

HERE = "https://api.example/v1/x?a=1"
SAME = "https://api.example/v2/y"
OTHER = "https://files.example/z"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE")
OWN = frozenset((b"x-team", b"authorization"))
CONFIDENTIAL: Headers = [
    (b"x-team", b"blue"),
    (b"x_team", b"blue"),
    (b"authorization", b"Bearer theirs"),
    (b"cookie", b"sid=1"),
    (b"x-api-key", b"k"),
    (b"x-auth-token", b"t"),
    (b"x-session-id", b"s"),
]
PLAIN: Headers = [(b"accept", b"*/*"), (b"x-request-id", b"7"), (b"idempotency-key", b"i")]
OF_BODY: Headers = [(b"content-type", b"text/plain"), (b"content-language", b"en")]


def going(method: str = "GET", url: str = HERE, body: bytes | None = None, headers: Headers | None = None) -> Outgoing:
    return Outgoing(method, URL(url, encoded=True), headers or [], body)


def led(where: str, status: int = 302, outgoing: Outgoing | None = None, parameter: str = "") -> str | None:
    """The URL a Location leads to, None where it is not followed."""
    following = follow(outgoing or going(), status, where, OWN, parameter)
    return None if following is None else str(following.url)


def expected_method(status: int, method: str) -> str:
    if status == 303:
        return method if method == "HEAD" else "GET"
    return "GET" if status in (301, 302) and method == "POST" else method


@pytest.mark.parametrize(
    ("status", "method", "where", "body"),
    list(product(sorted(STATUSES), METHODS, (SAME, OTHER), (None, b"hello"))),
    ids=lambda it: str(it)[:22],
)
def test_method_body_and_origin_decide_what_follows(status: int, method: str, where: str, body: bytes | None) -> None:
    outgoing = going(method, HERE, body, [*PLAIN, *OF_BODY, *CONFIDENTIAL])
    following = follow(outgoing, status, where, OWN)
    changes = expected_method(status, method) != method
    if where == OTHER and body is not None and not changes:
        assert following is None
        return
    assert following is not None
    assert (str(following.url), following.method) == (where, expected_method(status, method))
    assert following.body == (None if changes else body)
    expected = [*PLAIN, *([] if changes else OF_BODY), *(CONFIDENTIAL if where == SAME else [])]
    assert following.headers == expected
    assert outgoing.headers == [*PLAIN, *OF_BODY, *CONFIDENTIAL]


def test_a_length_goes_with_its_body() -> None:
    outgoing = Outgoing("POST", URL(HERE), [], b"hello", length=5)
    kept, dropped = follow(outgoing, 307, SAME, OWN), follow(outgoing, 303, SAME, OWN)
    assert kept is not None
    assert dropped is not None
    assert (kept.length, dropped.length) == (5, None)


@pytest.mark.parametrize(
    ("before", "after", "crossing"),
    [
        ("https://a.example/", "https://a.example/x", False),
        ("https://a.example/", "https://a.example:443/", False),
        ("http://a.example:80/", "http://a.example/", False),
        ("https://a.example/", "https://a.example:8443/", True),
        ("http://a.example/", "https://a.example/", True),
        ("https://a.example/", "https://b.a.example/", True),
        ("https://a.example/", "https://a.example./", True),
        ("http://127.0.0.1/", "http://localhost/", True),
        ("http://[::1]/", "http://[::1]:8080/", True),
    ],
)
def test_scheme_host_and_port_make_an_origin(before: str, after: str, crossing: bool) -> None:
    assert crosses(URL(before, encoded=True), URL(after, encoded=True)) is crossing


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("/y", "https://api.example/y"),
        ("y?b=2", "https://api.example/v1/y?b=2"),
        ("?b=2", "https://api.example/v1/x?b=2"),
        ("../../../../y", "https://api.example/y"),
        ("", HERE),
        ("#top", HERE),
        ("/y#top", "https://api.example/y"),
        ("https:", HERE),
        ("https:///y", "https://api.example/y"),
        ("https://api.example:443/y", "https://api.example/y"),
        ("/a%2Fb%20c?d=%41", "https://api.example/a%2Fb%20c?d=%41"),
        ("/\\evil.example", "https://api.example/\\evil.example"),
        ("//files.example/z", OTHER),
        ("https://[2001:db8::1]:8443/z", "https://[2001:db8::1]:8443/z"),
    ],
)
def test_a_location_is_resolved_against_where_it_was_said(where: str, url: str) -> None:
    assert led(where) == url


@pytest.mark.parametrize(
    "where",
    [
        "http://api.example/y",
        "HTTP://api.example/y",
        "http:/y",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://api.example/",
        "ws://api.example/",
        "https://user@api.example/",
        "https://user:password@api.example/",
        "https://:password@api.example/",
        "https://api.example@evil.example/",
        "https://api.example:99999/",
        "https://api.example:x/",
        "https://[::1",
        "https://good.example\\.evil.example/",
    ],
)
def test_a_location_that_leads_nowhere_good_is_refused(where: str) -> None:
    assert led(where) is None


def test_from_http_one_may_go_to_https_but_never_back() -> None:
    outgoing = going(url="http://api.example/x")
    up = follow(outgoing, 301, "https://api.example/x", OWN)
    assert up is not None
    assert follow(up, 302, "http://api.example/x", OWN) is None


def test_a_protocol_relative_location_is_another_origin() -> None:
    outgoing = going(headers=[*PLAIN, *CONFIDENTIAL])
    following = follow(outgoing, 302, "//evil.example/x", OWN)
    assert following is not None
    assert (str(following.url), following.headers) == ("https://evil.example/x", PLAIN)


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("https://evil.example/?api_key=s%2Fcret&b=2", "https://evil.example/?b=2"),
        ("https://evil.example/?b=2&api_key=s/cret", "https://evil.example/?b=2"),
        ("https://evil.example/?api_key=s%2fcret", "https://evil.example/"),
        ("https://evil.example/?api_key=another", "https://evil.example/?api_key=another"),
        ("https://evil.example/", "https://evil.example/"),
        ("/y?api_key=s%2Fcret", "https://api.example/y?api_key=s%2Fcret"),
    ],
)
def test_the_connection_s_own_key_in_the_query_is_not_carried_to_another_origin(where: str, url: str) -> None:
    assert led(where, parameter="api_key=s%2Fcret") == url


def test_the_first_location_counts_and_its_name_is_read_in_any_case() -> None:
    assert location(((b"LOCATION", b"/a"), (b"Location", b"/b"))) == "/a"
    assert location(((b"Content-Location", b"/a"),)) is None
    assert location(()) is None


def test_what_could_break_out_of_the_request_line_is_escaped() -> None:
    found = location(((b"Location", b"/a b\r\nX-Evil: 1\tc\x00\x7f/%20\xc3\xa9"),))
    assert found == "/a%20b%0D%0AX-Evil:%201%09c%00%7F/%20%C3%A9"
    assert led(found) == f"https://api.example{found}"


@given(st.binary(max_size=80), st.sampled_from(sorted(STATUSES)))
def test_whatever_a_location_holds_the_next_request_is_one_line_to_a_host_or_none(value: bytes, status: int) -> None:
    where = location(((b"location", value),))
    assert where is not None
    following = follow(going("POST", HERE, b"x", CONFIDENTIAL), status, where, OWN)
    if following is not None:
        text = str(following.url)
        assert text.isascii()
        assert not any(character <= " " or character == "\x7f" for character in text)
        assert following.url.scheme == "https"
        assert following.url.raw_host
        if crosses(URL(HERE), following.url):
            assert following.body is None
            assert following.headers == []
