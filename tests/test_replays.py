"""A recorded call as a form again: what is put back, what is left out, what is refused."""

import base64
from typing import Any

import pytest

from quart_app.errors import AppError
from quart_app.models import Call
from quart_app.outbound.target import Target
from quart_app.replays import has_marks, own_url, recorded_form
from tests.outbound.targets import scheme, target

BASE = "http://127.0.0.1:9/v1"
LIVE = {"value": "new/key 1", "client_secret": "swordfish"}
TOLD = "[redacted:value:0123456789ab]"


def row(**more: Any) -> Call:
    parts: dict[str, Any] = {"method": "POST", "url": f"{BASE}/items?x=1", "request_headers": [], "request_exact": True}
    parts |= {"request_truncated": False, "request_media_type": "application/json"}
    return Call(**parts | more)


def to(**auth: Any) -> Target:
    return target(BASE, scheme(**auth)) if auth else target(BASE)


def body_of(form: dict[str, Any]) -> bytes:
    return base64.b64decode(form["base64"])


def test_what_has_no_mark_is_sent_as_it_was() -> None:
    call, there = row(request_headers=[["x-a", "1"], ["x-b", ""], ["idempotency-key", "k"]]), to()
    form = recorded_form(call, b'{"a": "[redacted:value]"}', there, {}, {})
    assert form["path"] == "/items?x=1"
    assert form["headers"] == [("x-a", "1"), ("x-b", "")]
    assert body_of(form) == b'{"a": "[redacted:value]"}'  # an exact body has no marks, whatever it looks like
    assert not has_marks(call, b"[redacted:value]", there)
    assert "base64" not in recorded_form(call, None, there, {}, {"text": "x"})


def test_live_secrets_stand_where_the_marks_were() -> None:
    call = row(
        url=f"{BASE}/items/{TOLD}?q=[redacted:value.escaped]", request_exact=False, request_headers=[["x-a", TOLD]]
    )
    assert has_marks(call, None, to())
    form = recorded_form(call, f'{{"a": "{TOLD}"}}'.encode(), to(), LIVE, {})
    assert form["path"] == "/items/new/key%201?q=new%2Fkey%201"
    assert form["headers"] == [("x-a", "new/key 1")]
    assert body_of(form) == b'{"a": "new/key 1"}'


@pytest.mark.parametrize(
    ("media_type", "body", "restored"),
    [
        ("application/problem+json", b'["[redacted:value]"]', b'["new/key 1"]'),
        ("application/x-www-form-urlencoded", b"a=[redacted:value.escaped]", b"a=new%2Fkey%201"),
        ("text/plain", b"\xff[redacted:value]", b"\xffnew/key 1"),
        (None, b"[redacted:value]", b"new/key 1"),
    ],
)
def test_a_body_is_restored_as_its_media_type_wants_it(media_type: str | None, body: bytes, restored: bytes) -> None:
    call = row(request_exact=False, request_media_type=media_type)
    assert body_of(recorded_form(call, body, to(), LIVE, {})) == restored


@pytest.mark.parametrize(
    "told", ["[redacted]", "[redacted:caller:0123456789ab]", "[redacted:literal]", "[redacted:named]"]
)
def test_what_cannot_be_put_back_is_left_out_or_refused(told: str) -> None:
    form = recorded_form(row(request_headers=[["x-a", told]]), None, to(), LIVE, {})
    assert form["headers"] == []
    with pytest.raises(AppError) as raised:
        recorded_form(row(url=f"{BASE}/{told}"), None, to(), LIVE, {})
    assert raised.value.code == "path_not_kept"
    with pytest.raises(AppError) as raised:
        recorded_form(row(request_exact=False), told.encode(), to(), LIVE, {})
    assert raised.value.code == "body_not_kept"
    changed = recorded_form(row(url=f"{BASE}/x?q={told}"), None, to(), LIVE, {"query": [["a", "b"]]})
    assert changed["path"] == "/x"


def test_a_body_that_was_cut_is_refused() -> None:
    with pytest.raises(AppError, match="whole"):
        recorded_form(row(request_exact=False, request_truncated=True), b"x", to(), LIVE, {})


@pytest.mark.parametrize("told", ["[redacted]", TOLD])
@pytest.mark.parametrize(("url", "own"), [("/x?k&=1&a=2", "/x?k&=1&a=2"), ("/x", "/x")])
def test_the_connections_own_parameter_and_headers_are_put_in_anew(told: str, url: str, own: str) -> None:
    there = to(scheme="api_key", **{"in": "query"}, name="k", value="swordfish")
    call = row(url=f"{BASE}{url}{'&' if '?' in url else '?'}k={told}")
    assert own_url(call, there) == BASE + own
    assert not has_marks(call, None, there)
    header = to(scheme="api_key", name="X-Key", value="swordfish")
    call = row(request_headers=[["X_Key", told], ["x-b", "1"]])
    assert recorded_form(call, None, header, LIVE, {})["headers"] == [("x-b", "1")]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v2/items", "http://127.0.0.1:9/v10"])
def test_another_base_url_needs_a_path(url: str) -> None:
    with pytest.raises(AppError, match="base URL"):
        recorded_form(row(url=url), None, to(), LIVE, {})
    assert recorded_form(row(url=url), None, to(), LIVE, {"path": "/y"})["path"] == "/y"
