"""The caller's side of a WebSocket as ASGI tells it, by Hypercorn's own objects where those say more."""

import asyncio
from typing import Any

import pytest
from hypercorn.protocol.ws_stream import Handshake
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from quart_app.outbound.websocket import MOST_MESSAGE_BYTES, Close
from quart_app.web.caller import CallerGone
from quart_app.web.frames import Asking, Frames, Listener, MessageTooLarge, Plain
from tests.sockets import frame

KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
ASKED = [KEY, (b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-version", b"13")]


class Server:
    """What an ASGI server says and hears."""

    def __init__(self, *messages: Any) -> None:
        self.said: list[Any] = []
        self.messages = list(messages)

    async def receive(self) -> Any:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.said.append(message)


def text(content: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": content, "bytes": None}


def gone(code: int | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "websocket.disconnect"} | ({} if code is None else {"code": code}) | more


async def test_an_answer_before_it_opens_is_said_in_the_words_of_the_extension() -> None:
    server = Server({"type": "websocket.connect"}, gone(1006))
    plain = Plain({"extensions": {"websocket.http.response": {}}}, server.receive, server.send)
    assert await plain.hear() == {"type": "http.request", "body": b"", "more_body": False}
    assert await plain.hear() == {"type": "http.disconnect"}
    await plain.say({"type": "http.response.start", "status": 401, "headers": []})
    await plain.say({"type": "http.response.body", "body": b"no"})
    assert [message["type"] for message in server.said] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert server.said[0]["status"] == 401


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {}}])
async def test_without_the_extension_a_refusal_is_a_close(scope: dict[str, Any]) -> None:
    server = Server()
    plain = Plain(scope, server.receive, server.send)
    await plain.say({"type": "http.response.start", "status": 401, "headers": []})
    await plain.say({"type": "http.response.body", "body": b"no"})
    assert server.said == [{"type": "websocket.close", "code": 1008}]


async def test_a_handshake_has_no_body_whatever_it_says() -> None:
    server = Server()
    headers = [*ASKED, (b"content-length", b"5"), (b"sec-websocket-extensions", b"permessage-deflate; x")]
    asking = Asking({"headers": headers, "subprotocols": ["a", "b"]}, server.receive, server.send)
    assert (asking.body_length(), asking.uploads, asking.scope["method"]) == (0, False, "GET")
    assert (asking.protocols, asking.compressed) == (("a", "b"), True)


async def test_messages_and_the_end_are_those_that_the_server_tells() -> None:
    server = Server({"type": "websocket.connect"}, text("a"), text(""), gone(4000, reason="bye"))
    frames = Frames(server.receive, server.send)
    assert [await frames.receive() for _ in range(3)] == ["a", "", Close(4000, "bye")]
    await frames.close(1000)
    assert server.said == []


@pytest.mark.parametrize(("told", "code"), [(gone(), 1005), (gone(1005), 1005), (gone(1000, reason=None), 1000)])
async def test_an_end_without_a_code_has_that_of_none(told: dict[str, Any], code: int) -> None:
    assert await Frames(Server(told).receive, Server().send).receive() == Close(code)


async def test_an_end_without_a_closing_frame_is_a_caller_that_is_gone() -> None:
    with pytest.raises(CallerGone):
        await Frames(Server(gone(1006)).receive, Server().send).receive()


async def test_messages_are_sent_as_what_they_are_and_a_close_with_a_code_that_can_be_said() -> None:
    server = Server(text("late"), gone(1000))
    frames = Frames(server.receive, server.send)
    await frames.accept([(b"a", b"b")], "chat")
    await frames.send("a")
    await frames.send(b"b")
    assert not frames.stands_still(0)
    await frames.close(1005, "ü" * 100)
    assert server.said == [
        {"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"a", b"b")]},
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.send", "bytes": b"b"},
        {"type": "websocket.close", "code": 1000, "reason": "ü" * 61},
    ]


async def test_a_caller_that_takes_nothing_stands_still() -> None:
    async def never(message: Any) -> None:
        await asyncio.Event().wait()

    frames = Frames(Server().receive, never)
    sending = asyncio.create_task(frames.send("a"))
    await asyncio.sleep(0.02)
    assert frames.stands_still(0.01)
    assert not frames.stands_still(10)
    assert not frames.has_left()
    sending.cancel()


# On Hypercorn


class Stream:
    """The part of the server's object that is listened on; `send` is what it gives an app."""

    def __init__(self, *messages: Any, extensions: bytes = b"") -> None:
        asked = [*ASKED, *([(b"sec-websocket-extensions", extensions)] if extensions else [])]
        self.handshake = Handshake(asked, "1.1")
        self.server = Server(*messages)

    async def send(self, message: Any) -> None:
        await self.server.send(message)


def heard(stream: Stream, *sent: bytes) -> tuple[Listener, list[Any], list[tuple[bytes, bytes]]]:
    listener = Listener(stream)
    _, headers, connection = stream.handshake.accept(None, [])
    for piece in sent:
        connection.receive_data(piece)
    return listener, list(connection.events()), headers


def test_each_piece_passes_by_itself_and_it_is_noted_which_is_the_last() -> None:
    sent = (frame(2, b"one", last=False), frame(0, b"two", last=False), frame(9, b"p"), frame(0, b""), frame(1, b"x"))
    listener, events, _ = heard(Stream(), *sent)
    assert events == [
        BytesMessage(data=bytearray(b"one"), frame_finished=True, message_finished=True),
        BytesMessage(data=bytearray(b"two"), frame_finished=True, message_finished=True),
        Ping(payload=b"p"),
        BytesMessage(data=bytearray(b""), frame_finished=True, message_finished=True),
        TextMessage(data="x", frame_finished=True, message_finished=True),
    ]
    assert list(listener.ends) == [False, False, True, True]
    assert listener.closed is None


@pytest.mark.parametrize(
    ("payload", "closed"),
    [(b"", Close(1005)), (b"\x0f\xa0", Close(4000)), (b"\x0f\xa0why", Close(4000, "why"))],
)
def test_the_closing_code_is_heard(payload: bytes, closed: Close) -> None:
    listener, events, _ = heard(Stream(), frame(8, payload))
    assert isinstance(events[0], CloseConnection)
    assert listener.closed == closed


def test_compression_is_not_agreed_on_with_a_caller() -> None:
    _, _, headers = heard(Stream(extensions=b"permessage-deflate"))
    assert b"sec-websocket-extensions" not in dict(headers)


async def test_pieces_are_put_together_and_one_without_an_end_is_stopped() -> None:
    half = MOST_MESSAGE_BYTES // 2
    pieces = [{"type": "websocket.receive", "bytes": b"x" * size, "text": None} for size in (3, 4, half, half, 1)]
    stream = Stream(*pieces)
    frames = Frames(stream.server.receive, stream.send)
    assert frames._listener is not None
    frames._listener.ends.extend([False, True, False, False, False])
    assert await frames.receive() == b"x" * 7
    with pytest.raises(MessageTooLarge):
        await frames.receive()
