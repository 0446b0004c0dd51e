"""What an administrator allows of what egress denies: exact entries of the setting `egress_allow`.

    entry   = network [":" port] / "host:" name [":" port]
    network = IPv4 ["/" bits] / "[" IPv6 "]" ["/" bits]

An entry opens what it names and nothing else: a network must lie inside the one network of the table that denies it,
so that a wide one cannot switch a rule off; a port on the list of denied ones is open only where an entry names it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ENTRY = re.compile(
    r"(?:host:(?P<name>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)"
    r"|(?P<four>[0-9.]+(?:/\d{1,2})?)"
    r"|\[(?P<six>[0-9a-f:.]+)\](?P<bits>/\d{1,3})?)"
    r"(?::(?P<port>[1-9]\d{0,4}))?"
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry: a network or a name, and the port it is for, None for any that is not denied by itself."""

    network: Network | None
    name: str | None
    port: int | None

    def covers(self, address: Address, port: int) -> bool:
        return (
            self.network is not None
            and address.version == self.network.version
            and address in self.network
            and self.port in (None, port)
        )

    def within(self, other: Network) -> bool:
        return self.network is not None and inside(self.network, other)

    def names(self, name: str | None, port: int) -> bool:
        return self.name is not None and self.name == name and self.port in (None, port)


def inside(network: Network, other: Network) -> bool:
    # equal versions are equal types, which the checker cannot know
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]


def parse(entries: Iterable[str], table: Iterable[tuple[str, Network]]) -> tuple[Allowance, ...]:
    """The entries read. Raises ValueError that names the first one that is none or that opens nothing."""
    rules = tuple(table)
    return tuple(checked(entry, read(entry), rules) for entry in entries)


def read(entry: str) -> Allowance:
    found = ENTRY.fullmatch(entry)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port or 0) > 65535:
        raise ValueError(f"{entry} is no entry such as 10.0.0.5/32:8443, [fd00::]/8 or host:svc.internal:8443")
    if found["name"]:
        return Allowance(None, found["name"], port)
    try:
        return Allowance(ip_network(found["four"] or found["six"] + (found["bits"] or "")), None, port)
    except ValueError:
        raise ValueError(f"{entry} is no network: its bits beyond the prefix must be zero") from None


def checked(entry: str, allowance: Allowance, rules: tuple[tuple[str, Network], ...]) -> Allowance:
    network = allowance.network
    if network is None or any(inside(network, other) for _, other in rules):
        return allowance
    for rule, other in rules:
        if inside(other, network):
            raise ValueError(f"{entry} is wider than the rule {rule} ({other}) and would open nothing of it: name less")
    if allowance.port is None:
        raise ValueError(f"{entry} is denied by no rule; to allow a denied port there, name it")
    return allowance
