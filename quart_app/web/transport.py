"""The caller's socket, which ASGI does not show: to see that a caller has gone while nobody reads, and to cut it off.

While an upstream takes no more of an upload, the server stops reading from the caller's socket and so does not see
that it was closed; and a caller that stops reading keeps its connection until all that was written is taken.
"""

import select
import socket
import struct
from typing import Any

LAYERS = 8
LEFT = getattr(select, "POLLRDHUP", 0x2000)
NO_LINGER = struct.pack("ii", 1, 0)


def transport_of(send: Any) -> Any:
    """The transport under an ASGI `send` of Hypercorn, None under any other.

    Such a `send` is a bound method, and each object on the way down keeps the `send` of the next.
    """
    for _ in range(LAYERS):
        owner = getattr(send, "__self__", None)
        writer = getattr(owner, "writer", None)
        if writer is not None:
            return writer.transport
        send = getattr(owner, "send", None)
    return None


def has_left(transport: Any) -> bool:
    """Whether the other side has closed, told without reading what it sent before that."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), LEFT)
    return bool(poll.poll(0))


def cut(transport: Any) -> None:
    """Resets the connection: what is not delivered yet is dropped, and the other side cannot take it for an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()
