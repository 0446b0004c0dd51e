"""What records may hold: no secret survives in a body, a header or a URL, in whatever form it comes back."""

import base64
import html
import itertools
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quart_app.outbound.redaction.marks import MARKED
from quart_app.outbound.redaction.redactor import Redactor, own_secrets
from quart_app.outbound.redaction.spellings import SHORTEST
from tests.watch import Watch

Encode = Callable[[str], bytes]
MARK = "[redacted]"


def knowing(*secrets: str) -> Redactor:
    return Redactor(("value", secret) for secret in secrets)


def bare(clean: bytes) -> bytes:
    """The marks without what they tell."""
    return MARKED.sub(MARK, clean.decode("latin-1")).encode("latin-1")


def bare_text(clean: str) -> str:
    return MARKED.sub(MARK, clean)


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
    clean = bare(knowing(secret).content(content))
    assert clean == b'{"first": "' + MARK.encode() + b'", "again": "' + MARK.encode() + b'"}'


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("shift", range(3))
def test_a_secret_inside_a_longer_base64_text_is_taken_out(encode: Callable[[bytes], bytes], shift: int) -> None:
    secret = "sk-live-51H8xyz"
    text = encode(b"u" * shift + secret.encode() + b" and more")
    clean = bare(knowing(secret).content(text))
    assert MARK.encode() in clean
    assert not holds(clean, secret)
    kept = b"".join(part + b"=" * (-len(part) % 4) for part in clean.split(MARK.encode()))
    assert secret[3:-3].encode() not in base64.urlsafe_b64decode(kept)


def test_the_pair_of_basic_is_taken_out_inside_its_header() -> None:
    pair = base64.b64encode(b"user:swordfish").decode()
    redactor = Redactor([("pair", "user:swordfish"), ("password", "swordfish")])
    assert redactor.headers([(b"X-Echo", f"Basic {pair}".encode())]) == [("X-Echo", "Basic [redacted:pair.base64]")]


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
    mark = "[redacted:value.base64.escaped]"
    return any(encode(secret) in mark.encode() for encode in FORMS.values()) or secret[0] in mark or secret[-1] in mark


@given(secrets, st.sampled_from(sorted(FORMS)), st.binary(max_size=8), st.binary(max_size=8))
def test_no_secret_survives_in_a_body_a_header_or_a_url(secret: str, name: str, before: bytes, after: bytes) -> None:
    assume(not has_its_own_marks(secret))
    redactor, found = knowing(secret), FORMS[name](secret)
    if len(found) < SHORTEST:
        return
    assert not holds(redactor.content(before + b"\0" + found + b"\0" + after), secret)
    ((_, value),) = redactor.headers([(b"x-echo", b"\0" + found + b"\0")])
    assert not holds(value.encode("latin-1"), secret)
    if found.isascii() and not set(found) & set(b"&;#?"):
        assert not holds(redactor.url(f"http://h/p?q={found.decode()}&z=1").encode(), secret)


@given(st.lists(secrets, min_size=1, max_size=4, unique=True), st.binary(max_size=40))
def test_what_holds_no_secret_is_the_same_object(known: list[str], data: bytes) -> None:
    redactor = knowing(*known)
    clean = redactor.content(data)
    if clean is not data:
        assert MARK.encode() in bare(clean)


def test_secrets_that_hold_one_another_leave_nothing() -> None:
    redactor = knowing("abcd", "abcdefgh", "user:abcdefgh")
    assert bare(redactor.content(b"user:abcdefgh abcdefgh abcd")) == b" ".join([MARK.encode()] * 3)


def test_very_short_secrets_are_not_looked_for_by_value() -> None:
    assert knowing("abc", "").content(b"abc") == b"abc"


def test_a_secret_of_backslashes_takes_no_longer_than_another() -> None:
    redactor = knowing("\\" * 60 + "!")
    assert redactor.content(b"\\" * 20_000) == b"\\" * 20_000


@pytest.mark.parametrize("length", range(SHORTEST, 12))
def test_a_secret_cut_off_at_the_end_of_a_copy_is_taken_out(length: int) -> None:
    secret = "swordfish-99"
    redactor = knowing(secret, "another")
    begun = b"text " + secret[:length].encode()
    assert bare(redactor.content(begun, cut=True)) == b"text " + MARK.encode()
    clean = begun if length < len(secret) else b"text " + MARK.encode()
    assert bare(redactor.content(begun)) == clean
    assert bare(redactor.content(begun + b" ", cut=True)) == clean + b" "


def test_a_secret_cut_off_after_a_repeated_beginning_is_taken_out() -> None:
    assert bare(knowing("aaaab").content(b"xaaaaa", cut=True)) == b"xa" + MARK.encode()
    encoded = base64.b64encode(b"\0swordfish")[2:8]
    assert bare(knowing("swordfish").content(b"== " + encoded, cut=True)) == b"== " + MARK.encode()


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
    redactor = Redactor()
    assert redactor.headers([(name, b"whatever")]) == [(name.decode(), "[redacted:caller]")]
    assert redactor.headers([(name, b"whatever")], "named") == [(name.decode(), "[redacted:named]")]
    url = f"http://h/p?a=1&{name.decode()}="
    assert redactor.url(f"{url}whatever&b=2") == f"{url}[redacted:caller]&b=2"


@pytest.mark.parametrize("name", ["page_token", "nextToken", "sync_token", "continuation_token", "prev_token"])
def test_parameters_that_name_a_place_in_a_list_are_kept(name: str) -> None:
    assert Redactor().url(f"http://h/?{name}=abc") == f"http://h/?{name}=abc"


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
    assert bare_text(knowing("swordfish").url(url)) == shown


def test_header_values_are_read_as_latin_1_and_names_kept_as_they_are() -> None:
    assert Redactor().headers([(b"X-Name", b"caf\xe9"), (b"\xff", b"")]) == [("X-Name", "café"), ("\xff", "")]


def test_a_form_with_several_secrets_is_clean() -> None:
    body = urlencode({"grant_type": "refresh_token", "refresh_token": "r+1/2=", "client_secret": "s&t u"}).encode()
    assert not any(holds(knowing("r+1/2=", "s&t u").content(body), secret) for secret in ("r+1/2=", "s&t u"))


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
    known = knowing("known-secret")
    assert known.also(()) is known
    both = known.also(("their-own-key",))
    assert both is known.also(("their-own-key",))
    assert both.text("known-secret, their-own-key") == "[redacted:value], [redacted:caller]"
    assert known.text("their-own-key") == "their-own-key"


def fingerprint(secret: str) -> str:
    return f"{sum(secret.encode()):012x}"


def test_a_mark_tells_the_role_the_spelling_and_the_fingerprint() -> None:
    secret = "a/b c!swordfish"
    redactor = Redactor([("client_secret", secret)], fingerprint)
    told = f"client_secret:{fingerprint(secret)}]"
    assert redactor.text(secret) == f"[redacted:{told}"
    for spelled in (quote(secret, safe=""), quote_plus(secret), escaped(secret, "/!").decode()):
        assert redactor.text(spelled) == f"[redacted:{told.replace('secret:', 'secret.escaped:')}"
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + secret.encode() + b"yz").decode()
        assert f"[redacted:{told.replace('secret:', 'secret.base64:')}" in redactor.text(text)


def test_a_secret_of_several_roles_is_marked_with_the_first() -> None:
    redactor = Redactor([("access_token", "swordfish"), ("refresh_token", "swordfish")])
    assert redactor.text("swordfish") == "[redacted:access_token]"


def test_a_base64_text_of_nothing_but_the_secret_is_taken_out_with_its_padding() -> None:
    for secret in ("swordfis", "swordfish", "swordfish1"):
        assert knowing(secret).content(base64.b64encode(secret.encode())) == b"[redacted:value.base64]"


def test_a_header_that_says_a_known_secret_back_is_marked_as_that() -> None:
    redactor = Redactor([("access_token", "swordfish")], fingerprint)
    told = f"[redacted:access_token:{fingerprint('swordfish')}]"
    for value, shown in (("swordfish", told), ("Bearer swordfish", f"Bearer {told}")):
        assert redactor.headers([(b"X-Token", value.encode())]) == [("X-Token", shown)]
    value = "x=swordfish; y=other"
    shown = f"[redacted:caller:{fingerprint(value)}]"
    assert redactor.headers([(b"Cookie", value.encode())]) == [("Cookie", shown)]
    assert redactor.url("http://h/?token=swordfish") == f"http://h/?token={told}"


def test_text_that_looks_like_a_mark_is_none() -> None:
    for redactor in (Redactor(), knowing("swordfish")):
        assert redactor.content(b"[redacted:token:0123456789ab]") == b"[redacted:literal]:token:0123456789ab]"
        assert redactor.text("[redacted]") == "[redacted:literal]]"
        assert redactor.content(b"[redact:x]") == b"[redact:x]"
    assert knowing("[redacted] is mine").text("[redacted] is mine") == "[redacted:value]"


JSON_FIELDS = [
    (b'{"access_token": "abc", "x": 1}', b'{"access_token": "[redacted:named]", "x": 1}'),
    (
        b'{"accessToken":"abc","PASSWORD" : "p\\"q"}',
        b'{"accessToken":"[redacted:named]","PASSWORD" : "[redacted:named]"}',
    ),
    (
        b'{"client_assertion":"a","code_verifier":"b"}',
        b'{"client_assertion":"[redacted:named]","code_verifier":"[redacted:named]"}',
    ),
    (b'{"SAMLResponse":"PHNhbWw+","api-key":"k"}', b'{"SAMLResponse":"[redacted:named]","api-key":"[redacted:named]"}'),
    (b'{"token": "Bearer swordfish"}', b'{"token": "Bearer [redacted:value]"}'),
    (b'{"token": "x swordfish"}', b'{"token": "x [redacted:value]"}'),
    (b'{"token": "x y swordfish"}', b'{"token": "[redacted:named]"}'),
]
SAME = [
    b'{"token_type": "Bearer", "max_tokens": "5", "next_page_token": "abc", "cursorToken":"abc"}',
    b'{"secret": 5, "password": null, "token": {"x": "y"}, "key": "x", "password_url": "x", "token": ""}',
]


@pytest.mark.parametrize("padding", [0, 2000])
def test_fields_of_json_with_telling_names_are_taken_out(padding: int) -> None:
    redactor, more = knowing("swordfish"), b" " * padding
    for body, clean in JSON_FIELDS:
        assert redactor.content(body + more, media_type="application/json") == clean + more
        assert bare(redactor.content(body + more)) == body.replace(b"swordfish", MARK.encode()) + more
    for body in SAME:
        padded = body + more
        assert redactor.content(padded, media_type="application/problem+json") is padded


def test_fields_of_a_form_with_telling_names_are_taken_out() -> None:
    form = "application/x-www-form-urlencoded"
    redactor = Redactor([("value", "swordfish")], fingerprint)
    body = (
        b"user[password]=a+b%21&grant_type=x&refresh_token=rt&next_token=z&token=swordfish&user%5Bsecret%5D=s&password="
    )
    named = [f"[redacted:named:{fingerprint(value)}]" for value in ("a b!", "rt", "s")]
    shown = f"user[password]={named[0]}&grant_type=x&refresh_token={named[1]}&next_token=z"
    shown += f"&token=[redacted:value:{fingerprint('swordfish')}]&user%5Bsecret%5D={named[2]}&password="
    assert redactor.content(body, media_type=form).decode() == shown
    plain = b"a=1&b=2"
    assert redactor.content(plain, media_type=form) is plain


@st.composite
def content(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Secrets, and bytes in which they stand in any spelling amid others."""
    known = draw(st.lists(secrets, min_size=1, max_size=3, unique=True))
    spelled = st.builds(
        lambda secret, name: FORMS[name](secret), st.sampled_from(known), st.sampled_from(sorted(FORMS))
    )
    field = st.sampled_from([b'"token": "ab\\"c"', b'{"page_token":"x"}', b'"Secret" :  "', b"[redacted:x]", b'"'])
    parts = draw(st.lists(st.one_of(spelled, field, st.binary(max_size=60)), max_size=8))
    return known, b"".join(parts)


def pieces(data: bytes, borders: list[int]) -> list[bytes]:
    places = [0, *sorted(border % (len(data) + 1) for border in borders), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(
    content(), st.lists(st.integers(0, 10_000), max_size=12), st.booleans(), st.sampled_from([None, "application/json"])
)
def test_in_pieces_the_outcome_is_the_same(
    given: tuple[list[str], bytes], borders: list[int], cut: bool, media_type: str | None
) -> None:
    known, data = given
    redactor = knowing(*known)
    stream = redactor.stream(media_type)
    clean = b"".join([*map(stream.feed, pieces(data, borders)), stream.end(cut=cut)])
    whole = redactor.content(data, cut=cut, media_type=media_type)
    assert clean == whole
    assert stream.changed == (whole is not data)


@given(secrets, st.sampled_from(sorted(FORMS)), st.integers(0, 400), st.integers(1, 40))
def test_no_secret_survives_a_border(secret: str, name: str, before: int, size: int) -> None:
    assume(not has_its_own_marks(secret))
    found = FORMS[name](secret)
    if len(found) < SHORTEST:
        return
    data = b"\0" * before + found + b"\0" * 400
    stream = knowing(secret).stream()
    clean = b"".join([*(stream.feed(data[at : at + size]) for at in range(0, len(data), size)), stream.end()])
    assert not holds(clean, secret)


@pytest.mark.parametrize("name", FORMS)
def test_a_secret_cut_off_in_any_spelling_is_taken_out(name: str) -> None:
    secret = "sk+51/H8é=x%yz"
    found = FORMS[name](secret)
    for length in range(len(found) // 2, len(found) + 1):
        clean = bare(knowing(secret).content(b"text " + found[:length], cut=True))
        assert clean == b"text " + MARK.encode(), found[:length]


async def test_large_content_is_made_clean_while_others_have_their_turn() -> None:
    secret = "sk-live-51H8aZxy+/abc"
    part = b'{"id": 17, "name": "somebody", "note": "nothing to see here, really"},' * 900
    data = b"".join([part, secret.encode(), part, quote(secret, safe="").encode()] * 150)
    redactor = knowing(secret)
    async with Watch() as watch:
        clean = await redactor.clean(data, media_type="application/json")
    assert watch.worst < 0.05
    assert clean == redactor.content(data)
    same = part * 100
    assert await redactor.clean(same, cut=True) is same
