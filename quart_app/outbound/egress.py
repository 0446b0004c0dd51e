"""Which addresses may be reached, checked on the very address that is dialled.

`ipaddress.is_global` says True for multicast, NAT64 and some cloud metadata addresses, so the table is our own.
The check sits in the socket factory, behind every resolver, literal and happy-eyeballs candidate: what was
checked is what is connected, and a name that resolves anew has no window (OWASP SSRF, DNS rebinding).
"""

import socket
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address

ALWAYS_DENIED = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "link_local": ("169.254.0.0/16", "fe80::/10", "fec0::/10"),
    "metadata": ("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": (
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
    ),
    "translated": ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96"),
}
PRIVATE = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}

Rules = tuple[tuple[str, IPv4Network | IPv6Network], ...]


def rules(table: dict[str, tuple[str, ...]]) -> Rules:
    return tuple((name, ip_network(net)) for name, nets in table.items() for net in nets)


PRIVATE_RULES = rules(PRIVATE)
DENIED_RULES = rules(ALWAYS_DENIED)


class EgressDenied(OSError):
    """The address may not be reached; an OSError, so that aiohttp reports it as a failed connect."""

    def __init__(self, rule: str, address: str) -> None:
        allow = "; a connection with allow_private may" if rule in PRIVATE else ""
        super().__init__(f"egress rule {rule}: {address} may not be reached{allow}")
        self.rule = rule


@lru_cache(maxsize=4096)
def denied_by(host: str, *, allow_private: bool) -> str | None:
    """The name of the rule that forbids an address in text form, or None. A name is no address: ValueError."""
    address: Address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    rule = always_denied(address)  # first: metadata addresses lie in private networks, and no policy allows them
    if rule or allow_private:
        return rule
    return next((name for name, network in PRIVATE_RULES if address in network), None)


def always_denied(address: Address) -> str | None:
    if address == IPv6Address("::1"):
        return None
    return next((name for name, network in DENIED_RULES if address in network), None)


def socket_factory(*, allow_private: bool) -> Callable[[Any], socket.socket]:
    """For aiohttp's TCPConnector: makes a socket for an address, or raises EgressDenied before any byte."""

    def guarded_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        rule = denied_by(sockaddr[0], allow_private=allow_private)
        if rule:
            raise EgressDenied(rule, sockaddr[0])
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    return guarded_socket
