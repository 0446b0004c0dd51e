"""Bodies of several parts, read back by another's parser."""

from email.parser import BytesParser
from email.policy import HTTP

import aiohttp
import pytest

from quart_app.outbound.multipart import Part, encode, new_boundary


async def read_back(body: bytes, boundary: str) -> list[tuple[str | None, str | None, str | None, bytes]]:
    stream = aiohttp.StreamReader(Protocol(), 2**20)  # type: ignore[arg-type]
    stream.feed_data(body)
    stream.feed_eof()
    reader = aiohttp.MultipartReader({"Content-Type": f"multipart/form-data; boundary={boundary}"}, stream)
    found = []
    while (part := await reader.next()) is not None:
        assert isinstance(part, aiohttp.BodyPartReader)
        found.append((part.name, part.filename, part.headers.get("Content-Type"), bytes(await part.read())))
    return found


class Protocol:
    """What a stream asks of its connection."""

    def pause_reading(self) -> None:
        return

    def resume_reading(self, **_: bool) -> None:
        return


async def test_parts_are_read_back_as_they_were_given() -> None:
    boundary = new_boundary()
    image = bytes(range(256)) * 300 + b"\r\n--" + b"\r\n"
    parts = [Part("name", "Übung".encode()), Part("empty", b""), Part("file", image, "a.png", "image/png")]
    found = await read_back(encode(parts, boundary), boundary)
    assert found == [
        ("name", None, None, "Übung".encode()),
        ("empty", None, None, b""),
        ("file", "a.png", "image/png", image),
    ]


def test_a_body_without_parts_is_only_its_end() -> None:
    assert encode([], "b") == b"--b--\r\n"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ('a"b', "a%22b"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
        ("\r\n\r\n--b--", "%0D%0A%0D%0A--b--"),
        ("Übung.png", "Übung.png"),
        ("a\\b%22", "a\\b%22"),
    ],
)
def test_no_name_breaks_out_of_its_header(name: str, written: str) -> None:
    """As browsers escape them: https://html.spec.whatwg.org/#multipart-form-data."""
    body = encode([Part(name, b"x", name, "text/plain")], "b")
    line = f'Content-Disposition: form-data; name="{written}"; filename="{written}"'
    assert body == f"--b\r\n{line}\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body)
    (part,) = message.iter_parts()
    assert [key for key, _ in part.items()] == ["Content-Disposition", "Content-Type"]


def test_boundaries_are_never_the_same_and_can_stand_in_a_header_as_they_are() -> None:
    made = {new_boundary() for _ in range(1000)}
    assert len(made) == 1000
    assert all(
        len(boundary) <= 70 and set(boundary) <= set("-abcdefghijklmnopqrstuvwxyz0123456789") for boundary in made
    )
