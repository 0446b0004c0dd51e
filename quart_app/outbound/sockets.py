"""What a transport does not offer: has the other side left, has it taken all that was written; to reset."""

import fcntl
import select
import socket
import struct
import termios
from typing import Any

LEFT = getattr(select, "POLLRDHUP", 0x2000)
NO_LINGER = struct.pack("ii", 1, 0)


def has_left(transport: Any) -> bool:
    """Whether the other side has closed, also where what it sent before that is still unread."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), LEFT)
    return bool(poll.poll(0))


def has_unsent(transport: Any) -> bool:
    """Whether the other side's system has not yet taken all that was written (tcp(7), SIOCOUTQ)."""
    sock = transport.get_extra_info("socket")
    if transport.get_write_buffer_size() or sock is None or sock.fileno() < 0:
        return bool(transport.get_write_buffer_size())
    try:
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return False
    return any(waiting)


def cut(transport: Any) -> None:
    """Resets the connection (RFC 9293 §3.10.5): at once, whatever is unsent, and never mistaken for an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


def keep_alive(transport: Any) -> None:
    """Has the system ask whether the other side is still there (tcp(7)), which ends the connection after a minute."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
