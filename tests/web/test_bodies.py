"""JSON in, strictly: each way in which a body is not JSON has its code, and what is JSON comes through whole."""

from typing import Any

import pytest
from quart import Quart

from quart_app.errors import Invalid
from quart_app.web.bodies import DEEPEST, MOST_KEYS, answer, parse_json
from tests.web.conftest import Asker, problem_in

REFUSED: list[tuple[bytes, str]] = [
    (b'{"a":', "invalid_json"),
    (b"", "invalid_json"),
    (b" ", "invalid_json"),
    (b"{} {}", "invalid_json"),
    (b"{'a': 1}", "invalid_json"),
    (b'{"a": 1,}', "invalid_json"),
    (b"[01]", "invalid_json"),
    (b"[.5]", "invalid_json"),
    (b"[+1]", "invalid_json"),
    (b"// comment\n1", "invalid_json"),
    (b'"\t"', "invalid_json"),
    (rb'"\x41"', "invalid_json"),
    (b"tru", "invalid_json"),
    *((b"[" * n + b"]" * n, "json_too_deep") for n in (DEEPEST + 1, 2000, 100_000)),
    (b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), "json_too_deep"),
    (b"[" * DEEPEST + b"{}" + b"]" * DEEPEST, "json_too_deep"),
    (b"9" * 401, "number_out_of_range"),
    (b"-" + b"9" * 5000, "number_out_of_range"),
    (b"[NaN]", "invalid_number"),
    (b"[-Infinity]", "invalid_number"),
    (b"1e999", "invalid_number"),
    (b"-1e309", "invalid_number"),
    (b'{"a": 1, "a": 1}', "duplicate_key"),
    (b'[{"b": {"a": 1, "\\u0061": 1}}]', "duplicate_key"),
    (b'"\xff"', "invalid_encoding"),
    (b'"\xc0\xae"', "invalid_encoding"),
    (b'"\xed\xa0\x80"', "invalid_encoding"),
    (b"\xef\xbb\xbf{}", "invalid_encoding"),
    *(
        ('{"a": "b"}'.encode(coding), "invalid_encoding")
        for coding in ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32")
    ),
    (rb'"\ud800"', "invalid_unicode"),
    (rb'{"\udc00": 1}', "invalid_unicode"),
    (rb'[["a\u0000b"]]', "nul_not_allowed"),
    (rb'{"a\u0000": 1}', "nul_not_allowed"),
    (b"{" + b",".join(b'"%d":1' % n for n in range(MOST_KEYS + 1)) + b"}", "too_many_keys"),
]


@pytest.mark.parametrize(("data", "code"), REFUSED, ids=lambda value: repr(value[:24]))
def test_what_is_not_json_is_refused_with_its_code(data: bytes, code: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse_json(data)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert len(raised.value.detail) < 200


TAKEN: list[tuple[bytes, Any]] = [
    (b"null", None),
    (b"[]", []),
    (b' \r\n\t{"a": [1, -0.5, 1e10, true, "\\u00e9"]} ', {"a": [1, -0.5, 1e10, True, "é"]}),
    (b"1" * 400, int("1" * 400)),
    (b"18446744073709551616", 2**64),
    ('"\\ud83d\\ude00 😀"'.encode(), "😀 😀"),
    (b"1e-400", 0.0),
    (b'{"": {"": ""}}', {"": {"": ""}}),
]


@pytest.mark.parametrize(("data", "expected"), TAKEN, ids=lambda value: repr(value)[:24])
def test_what_is_json_comes_through_whole(data: bytes, expected: Any) -> None:
    assert parse_json(data) == expected


def test_the_deepest_that_is_taken_is_64_levels() -> None:
    parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    parse_json(b"[" * DEEPEST + b"1" + b"]" * DEEPEST)


def test_malformed_json_says_where() -> None:
    with pytest.raises(Invalid, match="line 2 column 3"):
        parse_json(b'{\n  oops: "kilroy"}')


def test_an_error_never_repeats_the_body() -> None:
    for data in (b'{"kilroy": kilroy}', b'{"kilroy": 1, "kilroy": 2}', b'"kilroy\xff"', rb'"kilroy\u0000"'):
        with pytest.raises(Invalid) as raised:
            parse_json(data)
        assert "kilroy" not in raised.value.detail


def test_exact_numbers_are_not_rounded_on_the_way_out() -> None:
    async_free = answer({"n": 2**70, "x": 0.1})
    assert async_free.status_code == 200
    assert async_free.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("media", "status", "code"),
    [
        (None, 415, "unsupported_media_type"),
        ("text/plain", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("multipart/form-data; boundary=x", 415, "unsupported_media_type"),
        ("application/jsonp", 415, "unsupported_media_type"),
        ("application/json", 422, "invalid_input"),
        ("Application/JSON; charset=utf-8", 422, "invalid_input"),
    ],
)
async def test_only_json_is_read(program: Asker, media: str | None, status: int, code: str) -> None:
    answer_ = await program.post("/api/calls", data=b"{}", headers={"Content-Type": media})
    await problem_in(answer_, status, code)


async def test_a_body_at_the_limit_is_read_and_one_over_it_is_not(app: Quart, program: Asker) -> None:
    limit = app.config["MAX_CONTENT_LENGTH"]
    json = {"Content-Type": "application/json"}
    await problem_in(await program.post("/api/calls", data=b" " * limit, headers=json), 400, "invalid_json")
    await problem_in(await program.post("/api/calls", data=b" " * (limit + 1), headers=json), 413, "body_too_large")


@pytest.fixture
def database_url() -> str:
    """SQLite only: a body is read before any database is asked."""
    return ""
