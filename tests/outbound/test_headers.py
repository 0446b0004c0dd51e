"""Which headers go on to the upstream and which come back, by SECURITY.md §3.5 and §3.6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from quart_app.outbound.headers import forwarded, header_name, header_value, named_by_connection, normal, returned

NOTHING: frozenset[bytes] = frozenset()

STOPPED = [
    b"connection",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"proxy-authorization",
    b"proxy-connection",
    b"proxy-anything",
    b"host",
    b"content-length",
    b"cookie",
    b"authorization",
    b"origin",
    b"referer",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-forwarded-anything",
    b"x-real-ip",
    b"sec-fetch-site",
    b"sec-ch-ua",
    b"remote-addr",
    b"expect",
    b"x-requested-by",
    b"x-switchboard-key",
    b"x-switchboard-call",
]

PASSED = [
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"content-type",
    b"content-encoding",
    b"if-none-match",
    b"if-modified-since",
    b"range",
    b"cache-control",
    b"idempotency-key",
    b"traceparent",
    b"x-request-id",
    b"user-agent",
    b"via",
    b"x-api-key",
    b"x-trace",
]

NOT_BACK = [
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"upgrade",
    b"trailer",
    b"te",
    b"proxy-authenticate",
    b"set-cookie",
    b"set-cookie2",
    b"alt-svc",
    b"clear-site-data",
    b"strict-transport-security",
    b"public-key-pins",
    b"access-control-allow-origin",
    b"access-control-allow-credentials",
    b"content-security-policy",
    b"content-security-policy-report-only",
    b"x-frame-options",
    b"service-worker-allowed",
    b"sourcemap",
    b"x-sourcemap",
    b"refresh",
    b"nel",
    b"report-to",
    b"reporting-endpoints",
    b"permissions-policy",
    b"cross-origin-opener-policy",
    b"cross-origin-resource-policy",
    b"cross-origin-embedder-policy",
    b"origin-agent-cluster",
    b"timing-allow-origin",
    b"server-timing",
    b"x-switchboard-source",
]

BACK = [
    b"content-type",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"etag",
    b"last-modified",
    b"retry-after",
    b"ratelimit-remaining",
    b"x-request-id",
    b"vary",
    b"allow",
]

NOT_BACK_TO_BROWSERS = [b"www-authenticate", b"authentication-info", b"link", b"cache-control", b"location"]


def spellings(name: bytes) -> list[bytes]:
    return [name, name.upper(), name.title(), name.replace(b"-", b"_"), name.title().replace(b"-", b"_")]


@pytest.mark.parametrize("name", STOPPED)
def test_a_request_header_that_stops_here_stops_in_every_spelling(name: bytes) -> None:
    for spelled in spellings(name):
        assert forwarded([(spelled, b"x")], NOTHING) == [], spelled


@pytest.mark.parametrize("name", PASSED)
def test_a_request_header_that_goes_on_goes_on_as_it_is(name: bytes) -> None:
    assert forwarded([(name, b"a"), (name, b"b")], NOTHING) == [(name, b"a"), (name, b"b")]


@pytest.mark.parametrize("spelled", spellings(b"x-api-key"))
def test_a_caller_cannot_set_what_the_connection_sets_in_any_spelling(spelled: bytes) -> None:
    injected = frozenset((normal(b"X-Api-Key"),))
    assert forwarded([(b"accept", b"*/*"), (spelled, b"theirs")], injected) == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("connection", "dropped"),
    [
        ([b"X-Api-Key"], {b"x-api-key"}),
        ([b"close, X-Api-Key , x_trace"], {b"x-api-key", b"x-trace", b"x_trace"}),
        ([b"keep-alive", b"X-Trace"], {b"x-trace", b"x_trace"}),
        ([b"close"], set()),
        ([b"Keep-Alive"], set()),
        ([b", ,"], set()),
    ],
)
def test_what_connection_names_stops_in_both_directions(connection: list[bytes], dropped: set[bytes]) -> None:
    others = [(name, b"1") for name in (b"x-api-key", b"x-trace", b"x_trace", b"accept")]
    given_ = [(b"connection", value) for value in connection] + others
    expected = [item for item in others if item[0] not in dropped]
    assert forwarded(given_, NOTHING) == expected
    answered = [(name.title(), value) for name, value in given_]
    assert returned(answered) == expected


def test_connection_that_names_nothing_names_nothing() -> None:
    assert named_by_connection([(b"connection", b"close"), (b"accept", b"x")]) == NOTHING
    assert named_by_connection([(b"Connection", b"close, Foo_Bar")]) == {b"close", b"foo-bar"}


@pytest.mark.parametrize("name", NOT_BACK)
@pytest.mark.parametrize("browser", [False, True])
def test_an_answer_header_that_stops_here_stops_in_any_case(name: bytes, browser: bool) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert returned([(spelled, b"x")], browser=browser) == [], spelled


@pytest.mark.parametrize("name", BACK)
@pytest.mark.parametrize("browser", [False, True])
def test_an_answer_header_that_comes_back_comes_back_in_lower_case(name: bytes, browser: bool) -> None:
    assert returned([(name.title(), b"a"), (name, b"\xffb")], browser=browser) == [(name, b"a"), (name, b"\xffb")]


@pytest.mark.parametrize("name", NOT_BACK_TO_BROWSERS)
def test_what_would_make_a_browser_act_comes_back_to_programs_only(name: bytes) -> None:
    assert returned([(name.title(), b"x")]) == [(name, b"x")]
    assert returned([(name.title(), b"x")], browser=True) == []


names = st.one_of(
    st.sampled_from([*STOPPED, *PASSED, *NOT_BACK, *BACK]),
    st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}", fullmatch=True),
).flatmap(lambda name: st.sampled_from(spellings(name)))
pairs = st.lists(st.tuples(names, st.binary(max_size=8)), max_size=12)


@given(pairs, st.frozensets(names.map(normal), max_size=4))
def test_forwarding_keeps_order_and_changes_no_header(
    headers: list[tuple[bytes, bytes]], injected: frozenset[bytes]
) -> None:
    kept = forwarded(headers, injected)
    rest = iter(headers)
    assert all(item in rest for item in kept)
    assert not {normal(name) for name, _ in kept} & injected
    assert forwarded(kept, injected) == kept


@given(pairs)
def test_returning_keeps_order_and_a_browser_gets_no_more_than_a_program(headers: list[tuple[bytes, bytes]]) -> None:
    kept = returned(headers)
    rest = iter([(name.lower(), value) for name, value in headers])
    assert all(item in rest for item in kept)
    again = iter(kept)
    assert all(item in again for item in returned(headers, browser=True))


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\n", "X\n", "Ä", "(x)", "x" * 200])
def test_a_name_that_cannot_be_sent_is_refused(name: str) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        header_name(name)
    assert raised.value.type == "invalid_header_name"


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\n", "a\x00", "a\x7f", "a\x1b[0m", "ä", "x" * 100_000])
def test_a_value_that_cannot_be_sent_is_refused(value: str) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        header_value(value)
    assert raised.value.type == "invalid_header_value"


@pytest.mark.parametrize(("name", "value"), [("X-Trace_1.~", "a\tb !~"), ("x" * 128, "")])
def test_a_header_that_can_be_sent_is_taken(name: str, value: str) -> None:
    assert (header_name(name), header_value(value)) == (name, value)
