"""Which addresses may be reached, checked on the very address that is dialled.

`ipaddress.is_global` says True for multicast, NAT64 and some cloud metadata addresses, so the table is our own.
The check sits in the socket factory, behind every resolver, literal and happy-eyeballs candidate: what was
checked is what is connected, and a name that resolves anew has no window (OWASP SSRF, DNS rebinding).
"""

import socket
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from quart_app.errors import SettingsError
from quart_app.outbound.allowances import Address, Network, parse
from quart_app.outbound.listener import Listener

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
METADATA_NAMES = frozenset(
    (
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.amazonaws.com",
        "metadata.azure.com",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
        "rancher-metadata",
    )
)
"""Where clouds hand credentials to whoever asks from inside; denied by name, whatever they resolve to."""
DENIED_PORTS = frozenset(
    (
        *(20, 21, 22, 23, 25, 53, 69, 110, 111, 119, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 514, 515, 548),
        *(554, 587, 636, 873, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 3306, 3389, 5060),
        *(5061, 5432, 5672, 6000, 6379, 6380, 6667, 6697, 9042, 11211, 27017),
    )
)
"""Those of WHATWG Fetch's bad ports that matter here, and databases, queues, desktops and the Docker socket."""

Rules = tuple[tuple[str, Network], ...]


def rules(table: dict[str, tuple[str, ...]]) -> Rules:
    return tuple((name, ip_network(net)) for name, nets in table.items() for net in nets)


PRIVATE_RULES = rules(PRIVATE)
DENIED_RULES = rules(ALWAYS_DENIED)
LOOPBACK_6 = IPv6Address("::1")

dialling: ContextVar[str | None] = ContextVar("dialling", default=None)
"""The host, as its URL has it, that a connection is being made to: a socket is asked for by address alone."""


class EgressDenied(OSError):
    """The address may not be reached; an OSError, so that aiohttp reports it as a failed connect."""

    def __init__(self, rule: str, host: str, port: int, *, name: str | None = None) -> None:
        """`host` is what was to be dialled, `name` what it was found under."""
        self.rule, self.host, self.port = rule, host, port
        where = f"{host} port {port}" if port else host
        under = f", found under the name {name}," if name and name != host else ""
        super().__init__(f"egress rule {rule}: {where}{under} may not be reached; {advice(rule, host, port)}")


def advice(rule: str, host: str, port: int) -> str:
    """How whoever may can allow it."""
    entry = f"an administrator may add {entry_for(host, port)} to the setting egress_allow"
    return f"set allow_private on the connection, or {entry}" if rule in PRIVATE else entry


def entry_for(host: str, port: int) -> str:
    """The entry of `egress_allow` for just this."""
    try:
        address = plain(host)
    except ValueError:
        network = f"host:{host}"
    else:
        network = f"[{address}]/128" if address.version == 6 else f"{address}/32"
    return f"{network}:{port}" if port else network


def plain(host: str) -> Address:
    """An address in text form, without zone, and the one inside where IPv4 is mapped. A name is none: ValueError."""
    address: Address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


class Egress:
    """What may be reached: the table, less the allowances of the setting, and never the app's own listener."""

    def __init__(self, allow: Iterable[str] = (), *, bind: str = "") -> None:
        """`bind` is where this process listens, if it does. Raises SettingsError for an entry that is none."""
        try:
            self._allowances = parse(allow, (*DENIED_RULES, *PRIVATE_RULES))
        except ValueError as error:
            raise SettingsError(f"egress_allow: {error}") from None
        self._listener = Listener(bind)

    def rule(self, host: str, port: int, *, allow_private: bool, name: str | None = None) -> str | None:
        """The rule that forbids an address, found under `name`, and port; or None. A name is no address: ValueError.

        Metadata addresses lie in private networks, and every network that an address is in must be allowed.
        """
        address = plain(host)
        named = self._port_is_named(address, port, name)
        if self._listener.is_at(address, port) and not named:
            return "own_listener"
        for rule, network in matching(address, allow_private=allow_private):
            if not self._allows(address, port, rule, network, name):
                return rule
        return "port" if port in DENIED_PORTS and not named else None

    def target_rule(self, host: str, port: int, *, allow_private: bool) -> str | None:
        """The rule that forbids the host of a URL as it stands there; what a name resolves to shows when dialled."""
        host = host.strip("[]").rstrip(".").lower()
        try:
            return self.rule(host, port, allow_private=allow_private, name=host)
        except ValueError:
            return self._name_rule(host, port, allow_private=allow_private)

    def _name_rule(self, name: str, port: int, *, allow_private: bool) -> str | None:
        if name in METADATA_NAMES and not any(allowance.names(name, port) for allowance in self._allowances):
            return "metadata"
        if name == "localhost" or name.endswith(".localhost"):
            return self.rule("127.0.0.1", port, allow_private=allow_private, name=name)
        if port in DENIED_PORTS and not any(allowance.port == port for allowance in self._allowances):
            return "port"
        return None

    def _allows(self, address: Address, port: int, rule: str, network: Network, name: str | None) -> bool:
        """By an entry inside this very network; an entry for a name opens private addresses and no others."""
        return any(
            (allowance.covers(address, port) and allowance.within(network))
            or (rule in PRIVATE and allowance.names(name, port))
            for allowance in self._allowances
        )

    def _port_is_named(self, address: Address, port: int, name: str | None) -> bool:
        return any(
            allowance.port == port and (allowance.covers(address, port) or allowance.names(name, port))
            for allowance in self._allowances
        )


def matching(address: Address, *, allow_private: bool) -> Iterator[tuple[str, Network]]:
    """Every rule that an address falls under, with the network it is in."""
    if address != LOOPBACK_6:
        yield from ((rule, network) for rule, network in DENIED_RULES if address in network)
    if not allow_private:
        yield from ((rule, network) for rule, network in PRIVATE_RULES if address in network)


@dataclass(frozen=True)
class Leave:
    """An egress policy as one connection has it: checks what is dialled, and makes the sockets for it."""

    egress: Egress
    allow_private: bool

    def check_target(self, host: str, port: int) -> None:
        """The host of a URL, before anything is resolved, also where a proxy will do that. Raises EgressDenied."""
        rule = self.egress.target_rule(host, port, allow_private=self.allow_private)
        if rule:
            raise EgressDenied(rule, host, port)

    def check(self, address: str, port: int, *, name: str | None) -> None:
        """An address that `name` resolved to. Raises EgressDenied."""
        rule = self.egress.rule(address, port, allow_private=self.allow_private, name=name)
        if rule:
            raise EgressDenied(rule, address, port, name=name)

    def socket(self, info: Any) -> socket.socket:
        """For aiohttp's TCPConnector: a socket for an address of the host in `dialling`. Raises EgressDenied."""
        family, kind, protocol, _, sockaddr = info
        self.check(sockaddr[0], sockaddr[1], name=dialling.get())
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
