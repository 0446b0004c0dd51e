"""What is filled in to have a call sent, and the body that comes of it."""

import base64
from typing import Any

import pytest

from quart_app.errors import Invalid
from quart_app.forms import validate
from quart_app.forms.calls import CallChange, CallForm


def form(**more: Any) -> CallForm:
    made: CallForm = validate(CallForm, {"connection": "orders", **more})
    return made


def refusal(**more: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        form(**more)
    return caught.value


def pointers(**more: Any) -> list[str]:
    return [fault["pointer"] for fault in refusal(**more).errors]


@pytest.mark.parametrize(
    ("body", "content", "media_type"),
    [
        ({"json": None}, b"null", "application/json"),
        ({"json": {"a": [1]}}, b'{"a":[1]}', "application/json"),
        ({"text": ""}, b"", "text/plain; charset=utf-8"),
        ({"form": {"a b": "ü&", "c": 1}}, b"a+b=%C3%BC%26&c=1", "application/x-www-form-urlencoded"),
        ({"base64": "AP8="}, b"\x00\xff", "application/octet-stream"),
    ],
)
def test_a_body_has_a_media_type_of_its_own(body: dict[str, Any], content: bytes, media_type: str) -> None:
    assert form(**body).content() == (content, media_type)


def test_no_body_is_none() -> None:
    assert form().content() is None
    assert form().bodies() == []


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"text": "x"}, None),
        ({"text": "x", "media_type": "text/csv"}, "text/csv"),
        ({"text": "x", "filename": "a"}, "text/plain; charset=utf-8"),
        ({"base64": "eA=="}, "application/octet-stream"),
        ({"base64": "eA==", "filename": "a.png", "media_type": 'image/png; a="b \\" c"'}, 'image/png; a="b \\" c"'),
    ],
)
def test_a_part_has_the_media_type_given_or_that_of_its_kind(part: dict[str, Any], line: str | None) -> None:
    content, media_type = form(multipart=[{"name": "p", **part}]).content() or (b"", "")
    kind, _, boundary = media_type.partition("; boundary=")
    assert kind == "multipart/form-data"
    assert content.startswith(f"--{boundary}\r\n".encode())
    assert content.endswith(f"\r\n\r\nx\r\n--{boundary}--\r\n".encode())
    assert (f"\r\nContent-Type: {line}\r\n".encode() in content) if line else b"Content-Type" not in content


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"name": "a"}, ""),
        ({"name": "a", "text": "", "base64": ""}, ""),
        ({"text": ""}, "/name"),
        ({"name": "", "text": ""}, "/name"),
        ({"name": "n" * 1001, "text": ""}, "/name"),
        ({"name": "a", "text": 5}, "/text"),
        ({"name": "a", "base64": "*"}, "/base64"),
        ({"name": "a", "text": "", "filename": 5}, "/filename"),
        ({"name": "a", "text": "", "media_type": "image"}, "/media_type"),
        ({"name": "a", "text": "", "media_type": ""}, "/media_type"),
        ({"name": "a", "text": "", "media_type": "a/b\r\nX-Evil: 1"}, "/media_type"),
        ({"name": "a", "text": "", "media_type": "a/b\n"}, "/media_type"),
        ({"name": "a", "text": "", "media_type": "a/b; c"}, "/media_type"),
        ({"name": "a", "text": "", "type": "a/b"}, "/type"),
        ("text", ""),
    ],
)
def test_a_fault_of_a_part_is_at_its_place(part: Any, pointer: str) -> None:
    assert pointers(multipart=[{"name": "good", "text": ""}, part]) == [f"/multipart/1{pointer}"]


def test_parts_are_a_list_with_a_most() -> None:
    part = {"name": "a", "text": ""}
    assert pointers(multipart={"a": "b"}) == ["/multipart"]
    assert pointers(multipart=[part] * 1001) == ["/multipart"]
    assert form(multipart=[]).content() is not None


@pytest.mark.parametrize(
    "bodies", [{"json": None, "text": ""}, {"multipart": [], "base64": ""}, {"form": {}, "text": ""}]
)
def test_a_call_has_one_body(bodies: dict[str, Any]) -> None:
    assert "give one body" in refusal(**bodies).errors[0]["detail"]


def test_pairs_are_objects_or_lists_of_texts_and_numbers() -> None:
    assert form(query={"a": 1}, headers=[["X-A", "b"], ["X-A", "c"]]).headers == [("X-A", "b"), ("X-A", "c")]
    assert pointers(query={"a": True}) == ["/query/0/1"]
    assert pointers(headers={"X A": "b"}) == ["/headers/0"]


def test_connect_is_refused_and_methods_are_upper_case() -> None:
    assert form(method="get").method == "GET"
    assert pointers(method="connect") == ["/method"]


def test_a_change_need_not_name_a_connection() -> None:
    change: CallChange = validate(CallChange, {"base64": base64.b64encode(b"x").decode()})
    assert change.bodies() == ["base64"]
