"""URLs: a base is read strictly, a path and query are added byte for byte and never leave it."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from quart_app.errors import Invalid
from quart_app.outbound.urls import Base, join, led_to, parse_base

BASE = parse_base("https://api.example.com/v1")

BASES = [
    ("https://api.example.com", "https://api.example.com"),
    ("https://api.example.com/", "https://api.example.com"),
    ("https://api.example.com/v1/", "https://api.example.com/v1"),
    ("HTTPS://API.Example.COM/V1", "https://api.example.com/V1"),
    ("https://api.example.com:443/v1", "https://api.example.com/v1"),
    ("http://api.example.com:80", "http://api.example.com"),
    ("http://api.example.com:443", "http://api.example.com:443"),
    ("https://api.example.com:8443/a%20b", "https://api.example.com:8443/a%20b"),
    ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ("http://[::1]:5000/x", "http://[::1]:5000/x"),
    ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
    ("http://my_service", "http://my_service"),
    ("http://xn--exmple-cua.com", "http://xn--exmple-cua.com"),
    ("http://127.0.0.1.nip.io", "http://127.0.0.1.nip.io"),
]

NOT_BASES = [
    # row 39 of the list of bad inputs
    ("file:///etc/passwd", "must start with"),
    ("gopher://example.com", "must start with"),
    ("ftp://example.com", "must start with"),
    ("unix:/run/x.sock", "must start with"),
    ("javascript:alert(1)", "must start with"),
    ("example.com/v1", "must start with"),
    ("//example.com", "must start with"),
    ("", "must start with"),
    ("http:///x", "no host"),
    ("http:/example.com", "no host"),
    ("http:example.com", "no host"),
    ("http://:80", "no host"),
    ("http://user:pass@example.com", "user or password"),
    ("http://user@example.com", "user or password"),
    ("http://@example.com", "user or password"),
    ("http://example.com#", "no fragment"),
    ("http://example.com/#x", "no fragment"),
    ("http://example.com?", "no query"),
    ("http://example.com/?x=1", "no query"),
    ("http://example.com:0", "port 0"),
    ("http://example.com:99999", "port"),
    ("http://example.com:-1", "port"),
    ("http://example.com:8o", "port"),
    ("http://example.com:٣", "port"),
    ("http://example.com.", "must not end its host with a dot"),
    ("http://localhost.", "must not end its host with a dot"),
    ("http://exämple.com", "xn--"),
    ("http://gооgle.com", "xn--"),
    ("http://" + "a" * 300, "not a host name"),
    ("http://" + "a" * 64 + ".com", "not a host name"),
    ("http://" + ".".join(["abcdefgh"] * 29), "not a host name"),
    ("http://a..b", "not a host name"),
    ("http://-a.com", "not a host name"),
    ("http://a-.com", "not a host name"),
    ("http://a*b.com", "not a host name"),
    ("http://%31%32%37.0.0.1", "not a host name"),
    ("http://[fe80::1%eth0]/", "zone"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[::1]evil:80/", "not a host name"),
    ("http://[::1", "brackets"),
    ("http://[127.0.0.1]", "brackets"),
    ("http://[v1.x]", "brackets"),
    ("http://exa mple.com", "space"),
    ("http://example.com/\n", "control character"),
    ("http://example.com/\x00", "control character"),
    ("http://example.com\t", "control character"),
    ("http://example.com\\@evil.com", "backslash"),
    # row 40: other spellings of an IPv4 address
    ("http://2130706433", "four decimal numbers"),
    ("http://0177.0.0.1", "four decimal numbers"),
    ("http://0x7f.1", "four decimal numbers"),
    ("http://0x7f000001", "four decimal numbers"),
    ("http://127.1", "four decimal numbers"),
    ("http://127.0.0.0x1", "four decimal numbers"),
    ("http://0", "four decimal numbers"),
    ("http://999.1.1.1", "four decimal numbers"),
    ("http://1.2.3.4.5", "four decimal numbers"),
    ("http://①②⑦.0.0.1", "xn--"),
    ("http://127。0。0。1", "xn--"),
    # paths that an upstream would read as another place
    ("http://example.com/a/../b", "dot segments"),
    ("http://example.com/a/.", "dot segments"),
    ("http://example.com/a/%2e%2e/b", "dot segments"),
    ("http://example.com//a", "empty segments"),
    ("http://example.com/a<b", "escaped"),
    ("http://example.com/ä", "escaped"),
]


@pytest.mark.parametrize(("given_", "shown"), BASES)
def test_a_base_url_is_taken(given_: str, shown: str) -> None:
    assert str(parse_base(given_)) == shown


@pytest.mark.parametrize(("given_", "reason"), NOT_BASES)
def test_what_is_no_base_url_is_refused_with_the_reason(given_: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_base(given_)


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "[::]", "0.0.0.0"])
def test_addresses_that_are_denied_when_dialled_are_still_addresses(host: str) -> None:
    assert parse_base(f"http://{host}").host.strip("[]") in ("::ffff:7f00:1", "::ffff:127.0.0.1", "::", "0.0.0.0")


JOINED = [
    ("", "", "/v1"),
    ("/", "", "/v1/"),
    ("items", "", "/v1/items"),
    ("/items", "x=1&x=2&&y", "/v1/items?x=1&x=2&&y"),
    ("", "x=1", "/v1?x=1"),
    ("/a//b///", "", "/v1/a//b///"),
    # F21 and row 29: what looks like another origin stays a path
    ("//evil.com/x", "", "/v1//evil.com/x"),
    ("/http://evil.com", "", "/v1/http://evil.com"),
    ("@evil.com/x", "", "/v1/@evil.com/x"),
    (":80@evil.com", "", "/v1/:80@evil.com"),
    (".evil.com", "", "/v1/.evil.com"),
    # row 27 and 28: double-encoded dots and encoded slashes are data
    ("/%252e%252e/x", "", "/v1/%252e%252e/x"),
    ("/group%2Fproject", "", "/v1/group%2Fproject"),
    ("/a%2fb%5Cc", "", "/v1/a%2fb%5Cc"),
    ("/a.b/..c/d../...", "", "/v1/a.b/..c/d../..."),
    # rows 32 and 33: neither read nor written anew
    ("/%ff/%c0%ae%c0%ae/%E4", "%ff=%C0%ae", "/v1/%ff/%c0%ae%c0%ae/%E4?%ff=%C0%ae"),
    ("/%0d%0aSet-Cookie:%20x", "%0d%0a", "/v1/%0d%0aSet-Cookie:%20x?%0d%0a"),
    ("/%00", "%00", "/v1/%00?%00"),
    ("/a+b%20c~d!$&'()*,;=:@[]|^", "", "/v1/a+b%20c~d!$&'()*,;=:@[]|^"),
    ("/x", "q=a+b%20c/?{}|^`\\[]", "/v1/x?q=a+b%20c/?{}|^`\\[]"),
    ("/%41%7e", "%41=%7E", "/v1/%41%7e?%41=%7E"),
]


@pytest.mark.parametrize(("path", "query", "target"), JOINED)
def test_path_and_query_are_joined_byte_for_byte(path: str, query: str, target: str) -> None:
    url = join(BASE, path, query)
    assert str(url) == f"https://api.example.com{target}"
    assert url.raw_path_qs == target
    assert (url.scheme, url.raw_host, url.port) == ("https", "api.example.com", 443)


DOTS = [".", "..", "%2e", "%2E%2e", ".%2e", "%2E."]
REFUSED = (
    [(f"/{dots}", "dot_segment") for dots in DOTS]
    + [(f"/a/{dots}/b", "dot_segment") for dots in DOTS]
    + [(f"/a/{dots};x=1/b", "dot_segment") for dots in DOTS]
    + [(f"/a%2f{dots}%2Fb", "dot_segment") for dots in DOTS]
    + [(f"/{dots}%5cb", "dot_segment") for dots in DOTS]
    + [
        ("..", "dot_segment"),
        ("/..;/admin", "dot_segment"),
        ("http://evil.com", "absolute_url_not_allowed"),
        ("https://api.example.com/v1/items", "absolute_url_not_allowed"),
        ("/a#b", "invalid_path"),
        ("/a?b", "invalid_path"),
        ("/a b", "invalid_path"),
        ('/"', "invalid_path"),
        ("/<x>", "invalid_path"),
        ("/a\\b", "invalid_path"),
        ("\\\\evil.com", "invalid_path"),
        ("/%zz", "invalid_path"),
        ("/%", "invalid_path"),
        ("/%4", "invalid_path"),
        ("/ä", "invalid_path"),
        ("/\xff", "invalid_path"),
        ("/{id}", "invalid_path"),
        ("/a\r\nX: y", "invalid_path"),
        ("/a\n", "invalid_path"),
        ("/a\x00", "invalid_path"),
        ("/a\x7f", "invalid_path"),
    ]
)


@pytest.mark.parametrize(("path", "code"), REFUSED)
def test_a_path_that_could_mean_another_place_is_refused(path: str, code: str) -> None:
    with pytest.raises(Invalid) as raised:
        join(BASE, path)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert len(path) < 4 or path not in raised.value.detail


@pytest.mark.parametrize("query", ["a#b", "a b", '"', "<", "%", "%zz", "a\r\nb", "ä", "a\x00", "a\n"])
def test_a_query_that_must_be_escaped_is_refused(query: str) -> None:
    with pytest.raises(Invalid) as raised:
        join(BASE, "/x", query)
    assert raised.value.code == "invalid_path"


DANGEROUS = (
    "%2e",
    "%2E",
    "%2f",
    "%5c",
    "%25",
    "%00",
    "%0d%0a",
    "//",
    "..",
    "http://",
    "evil.com",
    *"/.\\@:?#;%a[] \n\tä",
)
HOSTILE = st.lists(st.sampled_from(DANGEROUS), max_size=12).map("".join)
ANY_BASE = st.sampled_from(
    ["https://api.example.com", "https://api.example.com/v1", "http://127.0.0.1:8080/a/b", "http://[::1]:81/x"]
).map(parse_base)


def resolved(path: str) -> list[str]:
    """The segments that the most willing upstream sees: everything decoded, both slashes, dots followed."""
    for code, character in (("%2f", "/"), ("%5c", "\\"), ("%2e", ".")):
        path = re.sub(code, lambda _, character=character: character, path, flags=re.IGNORECASE)  # type: ignore[misc]
    done: list[str] = []
    for segment in re.split(r"[/\\]", path)[1:]:
        segment = segment.partition(";")[0]
        if segment == "..":
            done = done[:-1]
        elif segment not in (".", ""):
            done.append(segment)
    return done


@given(ANY_BASE, st.one_of(HOSTILE, st.text(max_size=20)), st.one_of(HOSTILE, st.text(max_size=20)))
@example(BASE, "//evil.com/x", "")
@example(BASE, "/..%2f..%2fadmin", "")
def test_a_joined_url_never_leaves_its_base_and_goes_on_byte_for_byte(base: Base, path: str, query: str) -> None:
    try:
        url = join(base, path, query)
    except Invalid:
        return
    given_path = path if path.startswith("/") or not path else "/" + path
    sent = (base.path + given_path or "/") + (f"?{query}" if query else "")
    assert url.raw_path_qs == sent
    read = urlsplit(str(url))
    assert f"{read.scheme}://{read.netloc}" == base.origin
    assert (url.raw_host, url.explicit_port) == (base.host.strip("[]"), urlsplit(base.origin).port)
    root = base.path.split("/")[1:]
    assert resolved(url.raw_path)[: len(root)] == root


@given(st.text(alphabet="abcXYZ019-._~!$&'()*+,;=:@/%2f", max_size=30))
def test_what_is_taken_once_is_taken_again_and_stays_the_same(path: str) -> None:
    try:
        url = join(BASE, path)
    except Invalid:
        return
    assert join(BASE, url.raw_path.removeprefix(BASE.path)) == url


# --- where an answer leads ---------------------------------------------------------------------------------------

API = parse_base("https://api.example.com/v1")
ASKED = URL("https://api.example.com/v1/items/1?key=secret", encoded=True)


@pytest.mark.parametrize(
    ("location", "below"),
    [
        ("https://api.example.com/v1/items/2", "/items/2"),
        ("https://api.example.com:443/v1/items/2", "/items/2"),
        ("HTTPS://API.example.com/v1/items/2", "/items/2"),
        ("//api.example.com/v1/items/2", "/items/2"),
        ("/v1/items/2?a=%2F#b", "/items/2?a=%2F#b"),
        ("2", "/items/2"),
        ("../orders", "/orders"),
        ("?page=2", "/items/1?page=2"),
        ("", "/items/1"),
        ("/v1", ""),
        ("/v1/", "/"),
        ("/v1//evil.example", "//evil.example"),
    ],
)
def test_a_location_below_the_base_url_is_told_as_a_path_below_it(location: str, below: str) -> None:
    assert led_to(API, ASKED, location)[1] == below


@pytest.mark.parametrize(
    "location",
    [
        "https://api.example.com/v2/items",
        "https://api.example.com/v1items",
        "/other",
        "../../admin",
        "http://api.example.com/v1/items",
        "https://api.example.com:8443/v1/items",
        "https://api.example.com.evil.example/v1/items",
        "https://user@api.example.com/v1/items",
        "https://evil.example/v1/items",
        "//evil.example/v1",
        "javascript:alert(1)",
        "https://api.example.com/v1/%2e%2e/admin",
        "https://api.example.com/v1/..%2fadmin",
        "https://api.example.com/v1/a b",
        "https://[bad",
        "https://api.example.com:x/v1",
    ],
)
def test_any_other_location_is_foreign(location: str) -> None:
    whole, below = led_to(API, ASKED, location)
    assert below is None
    assert "key=secret" not in whole


def test_a_foreign_location_is_told_whole() -> None:
    assert led_to(API, ASKED, "/other?a")[0] == "https://api.example.com/other?a"
    assert led_to(API, ASKED, "//evil.example/v1")[0] == "https://evil.example/v1"
