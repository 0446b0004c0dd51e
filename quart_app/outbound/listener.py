"""Where this process listens itself: a call that goes there would come back to us."""

import socket
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


class Listener:
    """The app's own address and port; bound to all addresses it is at every address of this host."""

    def __init__(self, bind: str) -> None:
        """`bind` is host:port or [host]:port; of anything else, such as a Unix socket, nothing is known."""
        host, _, port = bind.rpartition(":")
        self.port = int(port) if port.isascii() and port.isdigit() else 0
        self.addresses = addresses_of(host.strip("[]")) if self.port else frozenset()
        self.everywhere = not host or any(address.is_unspecified for address in self.addresses)

    def is_at(self, address: Address, port: int) -> bool:
        if not self.port or port != self.port:
            return False
        return is_of_this_host(address, int(time.monotonic() // 60)) if self.everywhere else address in self.addresses


def addresses_of(host: str) -> frozenset[Address]:
    try:
        return frozenset(ip_address(item[4][0]) for item in socket.getaddrinfo(host or None, None))
    except (OSError, ValueError):
        return frozenset()


@lru_cache(maxsize=1024)
def is_of_this_host(address: Address, minute: int) -> bool:
    """Whether an address is one of this host's: whether a socket can be bound to it. Asked anew each minute."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
