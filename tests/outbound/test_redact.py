"""What records may hold: no secret survives in a body, a header or a URL, in whatever form it comes back."""

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quart_app.outbound.redact import MARK, SHORTEST, Redactor, own_secrets

Encode = Callable[[str], bytes]

SECRETS = [
    "sk-live-51H8.x_y~z",
    "p@ss!wo rd",
    "a+b/c==",
    'qu"ote\\back',
    "pässwörd€",
    "<&'>;%25",
    "日本語の鍵",
    "🔑🔑🔑🔑",
    "\\\\\\\\",
    "1234",
]


def lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), text)


def escaped(text: str, characters: str, digits: str = "04x") -> bytes:
    """JSON with some characters as \\uXXXX, as Go, .NET and template engines write it."""
    plain = json.dumps(text)[1:-1]
    return "".join(f"\\u{ord(char):{digits}}" if char in characters else char for char in plain).encode()


FORMS: dict[str, Encode] = {
    "plain": lambda s: s.encode(),
    "Python quote": lambda s: quote(s).encode(),
    "Python quote, all": lambda s: quote(s, safe="").encode(),
    "Python quote, lower case": lambda s: lower_hex(quote(s, safe="")).encode(),
    "Python urlencode": lambda s: quote_plus(s).encode(),
    "JavaScript encodeURIComponent": lambda s: quote(s, safe="!'()*").encode(),
    "JavaScript encodeURI": lambda s: quote(s, safe="!'()*;/?:@&=+$,#").encode(),
    "WHATWG form": lambda s: quote_plus(s, safe="*").replace("~", "%7E").encode(),
    "JSON, ASCII": lambda s: json.dumps(s)[1:-1].encode(),
    "JSON, UTF-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1].encode(),
    "JSON of PHP": lambda s: json.dumps(s)[1:-1].replace("/", "\\/").encode(),
    "JSON of Go": lambda s: escaped(s, "<>&"),
    "JSON of .NET": lambda s: escaped(s, "<>&'+`", "04X"),
    "HTML": lambda s: html.escape(s).encode(),
    "HTML of Jinja": lambda s: html.escape(s).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").encode(),
    "Latin-1": lambda s: s.encode("latin-1", "ignore") if s.isprintable() and max(map(ord, s)) < 256 else s.encode(),
}
for shift in range(3):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):

        def form(secret: str, shift: int = shift, encode: Callable[[bytes], bytes] = encode) -> bytes:
            """The characters of a Base64 text that come from the secret alone."""
            data = secret.encode()
            text = encode(b"\0" * shift + data + b"\xff" * 3)
            return text[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]

        FORMS[f"{encode.__name__}, {shift} bytes in"] = form

        def quoted_form(secret: str, form: Callable[[str], bytes] = form) -> bytes:
            return quote_plus(form(secret)).encode()

        FORMS[f"{encode.__name__}, {shift} bytes in, percent-encoded"] = quoted_form


def holds(data: bytes, secret: str) -> list[str]:
    """The names of the forms in which a secret stands in some bytes."""
    return [name for name, encode in FORMS.items() if len(encode(secret)) >= SHORTEST and encode(secret) in data]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_taken_out_in_every_form(name: str, secret: str) -> None:
    found = FORMS[name](secret)
    content = b'{"first": "' + found + b'", "again": "' + found + b'"}'
    clean = Redactor([secret]).content(content)
    assert clean == b'{"first": "' + MARK.encode() + b'", "again": "' + MARK.encode() + b'"}'


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("shift", range(3))
def test_a_secret_inside_a_longer_base64_text_is_taken_out(encode: Callable[[bytes], bytes], shift: int) -> None:
    secret = "sk-live-51H8xyz"
    text = encode(b"u" * shift + secret.encode() + b" and more")
    clean = Redactor([secret]).content(text)
    assert MARK.encode() in clean
    assert not holds(clean, secret)
    kept = b"".join(part + b"=" * (-len(part) % 4) for part in clean.split(MARK.encode()))
    assert secret[3:-3].encode() not in base64.urlsafe_b64decode(kept)


def test_the_pair_of_basic_is_taken_out_inside_its_header() -> None:
    pair = base64.b64encode(b"user:swordfish").decode()
    clean = Redactor([pair, "user:swordfish", "swordfish"]).headers([(b"X-Echo", f"Basic {pair}".encode())])
    assert clean == [("X-Echo", f"Basic {MARK}")]


secrets = st.text(
    st.one_of(
        st.characters(min_codepoint=33, max_codepoint=126),
        st.sampled_from(" !'()*~;/?:@&=+$,#%\\\"<>-_."),
        st.characters(min_codepoint=0xA1, max_codepoint=0x1F9FF, exclude_categories=["Cs"]),
    ),
    min_size=SHORTEST,
    max_size=24,
)


def has_its_own_marks(secret: str) -> bool:
    """Whether a piece of the mark, put in for the secret, could read as the secret."""
    return any(encode(secret) in MARK.encode() for encode in FORMS.values()) or secret[0] in MARK or secret[-1] in MARK


@given(secrets, st.sampled_from(sorted(FORMS)), st.binary(max_size=8), st.binary(max_size=8))
def test_no_secret_survives_in_a_body_a_header_or_a_url(secret: str, name: str, before: bytes, after: bytes) -> None:
    assume(not has_its_own_marks(secret))
    redactor, found = Redactor([secret]), FORMS[name](secret)
    if len(found) < SHORTEST:
        return
    assert not holds(redactor.content(before + b"\0" + found + b"\0" + after), secret)
    ((_, value),) = redactor.headers([(b"x-echo", b"\0" + found + b"\0")])
    assert not holds(value.encode("latin-1"), secret)
    if found.isascii() and not set(found) & set(b"&;#?"):
        assert not holds(redactor.url(f"http://h/p?q={found.decode()}&z=1").encode(), secret)


@given(st.lists(secrets, min_size=1, max_size=4, unique=True), st.binary(max_size=40))
def test_what_holds_no_secret_is_the_same_object(known: list[str], data: bytes) -> None:
    redactor = Redactor(known)
    clean = redactor.content(data)
    if clean is not data:
        assert MARK.encode() in clean


def test_secrets_that_hold_one_another_leave_nothing() -> None:
    redactor = Redactor(["abcd", "abcdefgh", "user:abcdefgh"])
    assert redactor.content(b"user:abcdefgh abcdefgh abcd") == b" ".join([MARK.encode()] * 3)


def test_very_short_secrets_are_not_looked_for_by_value() -> None:
    assert Redactor(["abc", ""]).content(b"abc") == b"abc"


def test_a_secret_of_backslashes_takes_no_longer_than_another() -> None:
    redactor = Redactor(["\\" * 60 + "!"])
    assert redactor.content(b"\\" * 20_000) == b"\\" * 20_000


@pytest.mark.parametrize("length", range(SHORTEST, 12))
def test_a_secret_cut_off_at_the_end_of_a_copy_is_taken_out(length: int) -> None:
    secret = "swordfish-99"
    redactor = Redactor([secret, "another"])
    begun = b"text " + secret[:length].encode()
    assert redactor.content(begun, cut=True) == b"text " + MARK.encode()
    assert redactor.content(begun) is begun
    assert redactor.content(begun + b" ", cut=True) == begun + b" "


def test_a_secret_cut_off_after_a_repeated_beginning_is_taken_out() -> None:
    assert Redactor(["aaaab"]).content(b"xaaaaa", cut=True) == b"xa" + MARK.encode()
    encoded = base64.b64encode(b"\0swordfish")[2:8]
    assert Redactor(["swordfish"]).content(b"== " + encoded, cut=True) == b"== " + MARK.encode()


NAMES = [
    b"Authorization",
    b"proxy-authorization",
    b"Cookie",
    b"Set-Cookie",
    b"x-api-key",
    b"X_API_KEY",
    b"apikey",
    b"api-key",
    b"X-Amz-Security-Token",
    b"x-csrf-token",
    b"Client-Secret",
    b"X-Password",
    b"X-Hub-Signature-256",
    b"x-auth",
    b"X-Session-Id",
    b"client_assertion",
    b"SAMLResponse",
    b"code_verifier",
]


@pytest.mark.parametrize("name", NAMES)
def test_headers_and_parameters_with_telling_names_are_never_recorded(name: bytes) -> None:
    redactor = Redactor(())
    assert redactor.headers([(name, b"whatever")]) == [(name.decode(), MARK)]
    assert redactor.url(f"http://h/p?a=1&{name.decode()}=whatever&b=2") == f"http://h/p?a=1&{name.decode()}={MARK}&b=2"


@pytest.mark.parametrize("name", ["page_token", "nextToken", "sync_token", "continuation_token", "prev_token"])
def test_parameters_that_name_a_place_in_a_list_are_kept(name: str) -> None:
    assert Redactor(()).url(f"http://h/?{name}=abc") == f"http://h/?{name}=abc"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p", "http://h/p"),
        ("http://h/p?", "http://h/p?"),
        ("http://h/p?x=1", "http://h/p?x=1"),
        ("http://h/p?token=", "http://h/p?token="),
        ("http://h/p?token", "http://h/p?token"),
        ("http://h/p?token=a=b==&x=2", f"http://h/p?token={MARK}&x=2"),
        ("http://h/p?x=1;token=abc;y=2", f"http://h/p?x=1;token={MARK};y=2"),
        ("http://h/p?token=a&token=b", f"http://h/p?token={MARK}&token={MARK}"),
        ("http://h/token=abc?x=1", "http://h/token=abc?x=1"),
        ("http://h/swordfish/?q=swordfish", f"http://h/{MARK}/?q={MARK}"),
    ],
)
def test_urls_keep_all_but_secrets(url: str, shown: str) -> None:
    assert Redactor(["swordfish"]).url(url) == shown


def test_header_values_are_read_as_latin_1_and_names_kept_as_they_are() -> None:
    assert Redactor(()).headers([(b"X-Name", b"caf\xe9"), (b"\xff", b"")]) == [("X-Name", "café"), ("\xff", "")]


def test_a_form_with_several_secrets_is_clean() -> None:
    body = urlencode({"grant_type": "refresh_token", "refresh_token": "r+1/2=", "client_secret": "s&t u"}).encode()
    assert not any(holds(Redactor(["r+1/2=", "s&t u"]).content(body), secret) for secret in ("r+1/2=", "s&t u"))


OWN = [
    ([(b"x-api-key", b"their-own-key")], "http://x/", ("their-own-key", "their-own-key")),
    ([(b"x-auth-token", b"Token their-own")], "http://x/", ("Token their-own", "their-own")),
    ([(b"accept", b"application/json"), (b"x-session", b"short")], "http://x/", ()),
    ([], "http://x/?api_key=a%2Fb%3Dc%2B%2B%2B&page_token=0123456789", ("a/b=c+++",)),
    ([], "http://x/?token_type=bearer&q=0123456789", ()),
]


@pytest.mark.parametrize(("headers", "url", "expected"), OWN)
def test_what_a_caller_sends_under_telling_names_is_a_secret_too(
    headers: list[tuple[bytes, bytes]], url: str, expected: tuple[str, ...]
) -> None:
    assert own_secrets(headers, url) == expected


def test_further_secrets_are_taken_out_with_the_known_ones() -> None:
    known = Redactor(["known-secret"])
    assert known.also(()) is known
    both = known.also(("their-own-key",))
    assert both is known.also(("their-own-key",))
    assert both.text("known-secret, their-own-key") == f"{MARK}, {MARK}"
    assert known.text("their-own-key") == "their-own-key"
