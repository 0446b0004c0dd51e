"""Which addresses may be reached: the table, every form an address can take, and the socket that enforces it."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import SettingsError
from quart_app.outbound.egress import (
    ALWAYS_DENIED,
    DENIED_PORTS,
    METADATA_NAMES,
    PRIVATE,
    Egress,
    EgressDenied,
    Leave,
    dialling,
)

NEVER = [
    ("0.0.0.0/8", "unspecified"),
    ("::/128", "unspecified"),
    ("169.254.0.0/16", "link_local"),
    ("fe80::/10", "link_local"),
    ("fec0::/10", "link_local"),
    ("169.254.169.254/32", "link_local"),
    ("169.254.170.2/32", "link_local"),
    ("fd00:ec2::254/128", "metadata"),
    ("100.100.100.200/32", "metadata"),
    ("168.63.129.16/32", "metadata"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved"),
    ("198.18.0.0/15", "reserved"),
    ("198.51.100.0/24", "reserved"),
    ("203.0.113.0/24", "reserved"),
    ("2001:db8::/32", "reserved"),
    ("240.0.0.0/4", "reserved"),
    ("255.255.255.255/32", "reserved"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("64:ff9b::/96", "translated"),
    ("64:ff9b:1::/48", "translated"),
    ("2002::/16", "translated"),
    ("2001::/32", "translated"),
    ("::ffff:0:0:0/96", "translated"),
]
"""SECURITY.md §3.2: denied whatever a connection says."""

WITH_LEAVE = [
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.64.0.0/10", "private"),
    ("fc00::/7", "private"),
    ("127.0.0.0/8", "loopback"),
    ("::1/128", "loopback"),
]
"""Denied unless the connection says `allow_private`."""

WRAPPINGS = [
    ("::ffff:{}", None),
    ("::{}", "translated"),
    ("::ffff:0:{}", "translated"),
    ("64:ff9b::{}", "translated"),
    ("64:ff9b:1::{}", "translated"),
]
"""IPv4 inside IPv6 as text, and the rule that denies all of it; None where the address inside decides."""

INSIDE = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8", "0.0.0.0"]


TABLE = Egress()


def denied_by(host: str, *, allow_private: bool) -> str | None:
    return TABLE.rule(host, 443, allow_private=allow_private)


def ends(network: str) -> list[str]:
    net = ip_network(network)
    return sorted({str(net[0]), str(net[net.num_addresses // 2]), str(net[-1])})


@pytest.mark.parametrize(("network", "rule"), NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_what_is_always_denied_is_denied_from_its_first_address_to_its_last(
    network: str, rule: str, allow_private: bool
) -> None:
    for address in ends(network):
        assert denied_by(address, allow_private=allow_private) == rule, address


@pytest.mark.parametrize(("network", "rule"), WITH_LEAVE)
def test_private_and_loopback_addresses_need_leave(network: str, rule: str) -> None:
    for address in ends(network):
        assert denied_by(address, allow_private=False) == rule, address
        assert denied_by(address, allow_private=True) is None, address


def test_every_network_of_the_table_is_tested() -> None:
    held = {net for nets in (*ALWAYS_DENIED.values(), *PRIVATE.values()) for net in nets}
    tested = {net for net, _ in (*NEVER, *WITH_LEAVE)}
    assert held - tested == {"192.88.99.0/24", "100::/64", "2001:2::/48", "3fff::/20", "5f00::/16", "::/96"}


@pytest.mark.parametrize("address", ["192.88.99.1", "100::1", "2001:2::1", "3fff::1", "5f00::1"])
def test_special_purpose_networks_are_denied(address: str) -> None:
    assert denied_by(address, allow_private=True) == "reserved"


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2001:1::1",
        "2003::1",
        "fbff::1",
    ],
)
def test_public_addresses_are_reached_up_to_the_edge_of_the_table(address: str) -> None:
    assert denied_by(address, allow_private=False) is None


@pytest.mark.parametrize(("form", "rule"), WRAPPINGS)
@pytest.mark.parametrize("inside", INSIDE)
def test_an_address_inside_an_address_is_judged_by_the_inside_or_denied(
    form: str, rule: str | None, inside: str
) -> None:
    for allow_private in (False, True):
        expected = rule or denied_by(inside, allow_private=allow_private)
        if form == "::{}" and inside == "0.0.0.0":
            expected = "unspecified"
        assert denied_by(form.format(inside), allow_private=allow_private) == expected


@given(st.integers(0, 2**32 - 1))
def test_no_address_inside_6to4_or_teredo_is_reached(number: int) -> None:
    sixtofour = IPv6Address((0x2002 << 112) | (number << 80))
    teredo_server = IPv6Address((0x2001 << 112) | (number << 64))
    teredo_client = IPv6Address((0x2001 << 112) | (number ^ 0xFFFFFFFF))
    for address in (sixtofour, teredo_server, teredo_client):
        assert denied_by(str(address), allow_private=True) == "translated"


@given(st.integers(0, 2**32 - 1))
def test_a_mapped_address_is_judged_as_the_address_it_maps(number: int) -> None:
    plain, mapped = str(IPv4Address(number)), str(IPv6Address((0xFFFF << 32) | number))
    for allow_private in (False, True):
        assert denied_by(mapped, allow_private=allow_private) == denied_by(plain, allow_private=allow_private)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_leave_for_private_addresses_never_denies_more_and_opens_nothing_else(
    address: IPv4Address | IPv6Address,
) -> None:
    strict, lenient = (denied_by(str(address), allow_private=allow) for allow in (False, True))
    assert lenient is None or lenient == strict
    if strict != lenient:
        assert strict in PRIVATE


def test_a_zone_does_not_hide_an_address() -> None:
    assert denied_by("fe80::1%eth0", allow_private=True) == "link_local"
    assert denied_by("::1%lo", allow_private=False) == "loopback"


@pytest.mark.parametrize("name", ["localhost", "example.com", "2130706433", "0177.0.0.1", "127.1", "0x7f.1", ""])
def test_a_name_is_no_address(name: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        denied_by(name, allow_private=True)


def info(host: str, port: int = 80) -> Any:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


@pytest.mark.parametrize(
    ("host", "rule"),
    [("127.0.0.1", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"), ("10.0.0.5", "private")],
)
def test_no_socket_is_made_for_a_denied_address_and_the_text_says_how_to_allow_it(host: str, rule: str) -> None:
    with pytest.raises(EgressDenied, match=rule) as raised:
        Leave(TABLE, allow_private=False).socket(info(host))
    assert raised.value.rule == rule
    assert "set allow_private on the connection" in str(raised.value)
    with Leave(TABLE, allow_private=True).socket(info(host)) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "entry"),
    [
        ("169.254.169.254", "169.254.169.254/32:80"),
        ("100.100.100.200", "100.100.100.200/32:80"),
        ("fd00:ec2::254", "[fd00:ec2::254]/128:80"),
    ],
)
def test_where_the_connection_cannot_allow_it_the_text_names_the_entry_that_would(host: str, entry: str) -> None:
    with pytest.raises(EgressDenied) as raised:
        Leave(TABLE, allow_private=True).socket(info(host))
    assert isinstance(raised.value, OSError)
    assert "allow_private" not in str(raised.value)
    assert f"add {entry} to the setting egress_allow" in str(raised.value)
    Leave(Egress([entry]), allow_private=True).socket(info(host)).close()


# --- names and ports ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(METADATA_NAMES), "Metadata.Google.Internal", "metadata.google.internal."])
def test_metadata_services_are_denied_by_name(name: str) -> None:
    assert TABLE.target_rule(name, 80, allow_private=True) == "metadata"


@pytest.mark.parametrize("name", ["metadata.example.com", "example.com", "instance-data.example.com"])
def test_other_names_are_judged_by_what_they_resolve_to(name: str) -> None:
    assert TABLE.target_rule(name, 80, allow_private=False) is None


@pytest.mark.parametrize("port", [22, 25, 53, 2375, 3306, 5432, 6379, 11211, 27017])
def test_ports_of_other_services_are_denied_whatever_the_address(port: int) -> None:
    assert port in DENIED_PORTS
    for host in ("8.8.8.8", "2606:4700:4700::1111", "127.0.0.1", "example.com", "localhost"):
        assert TABLE.target_rule(host, port, allow_private=True) == "port"


@pytest.mark.parametrize("port", [80, 443, 3000, 5000, 8000, 8080, 8443, 9200])
def test_ports_of_http_are_open(port: int) -> None:
    assert TABLE.target_rule("example.com", port, allow_private=False) is None


# --- the setting egress_allow ------------------------------------------------------------------------------------


def rule(entries: list[str], host: str, port: int = 443, *, name: str | None = None, leave: bool = False) -> str | None:
    return Egress(entries).rule(host, port, allow_private=leave, name=name)


def test_an_entry_opens_what_it_names_and_nothing_beside_it() -> None:
    entries = ["10.0.0.5/32:8443", "10.20.0.0/16", "[fd00:1::]/32:443"]
    assert rule(entries, "10.0.0.5", 8443) is None
    assert rule(entries, "10.0.0.5", 8444) == "private"
    assert rule(entries, "10.0.0.6", 8443) == "private"
    assert rule(entries, "10.20.255.255", 1234) is None
    assert rule(entries, "10.20.0.1", 6379) == "port", "an entry without a port opens no denied one"
    assert rule(entries, "fd00:1::9", 443) is None
    assert rule(entries, "fd00:2::9", 443) == "private"
    assert rule(entries, "::ffff:10.20.0.1", 443) is None, "judged as the address it maps"


def test_an_entry_for_a_network_does_not_open_the_metadata_address_inside_it() -> None:
    assert rule(["[fd00::]/8"], "fd00:ec2::254") == "metadata"
    assert rule(["100.64.0.0/10"], "100.100.100.200") == "metadata"
    assert rule(["100.100.100.200/32"], "100.100.100.200") is None, "it lies in both networks that deny it"


def test_an_entry_for_a_name_opens_private_addresses_under_that_name_only() -> None:
    entries = ["host:svc.internal:8443"]
    assert rule(entries, "10.0.0.5", 8443, name="svc.internal") is None
    assert rule(entries, "127.0.0.1", 8443, name="svc.internal") is None
    assert rule(entries, "10.0.0.5", 8443, name="other.internal") == "private"
    assert rule(entries, "10.0.0.5", 8443) == "private"
    assert rule(entries, "10.0.0.5", 443, name="svc.internal") == "private"
    assert rule(entries, "169.254.169.254", 8443, name="svc.internal") == "link_local"


def test_a_denied_port_is_open_where_an_entry_names_it() -> None:
    assert rule(["8.8.8.8/32:22"], "8.8.8.8", 22) is None
    assert rule(["8.8.8.8/32:22"], "8.8.4.4", 22) == "port"
    assert rule(["host:db.example.com:6379"], "8.8.8.8", 6379, name="db.example.com") is None
    assert Egress(["host:db.example.com:6379"]).target_rule("db.example.com", 6379, allow_private=False) is None
    assert Egress(["10.0.0.5/32:6379"]).target_rule("cache.internal", 6379, allow_private=False) is None


def test_a_metadata_name_needs_its_name_and_its_address_allowed() -> None:
    named = ["host:metadata.google.internal:80"]
    assert Egress(named).target_rule("metadata.google.internal", 80, allow_private=True) is None
    assert rule(named, "169.254.169.254", 80, name="metadata.google.internal") == "link_local"
    assert rule([*named, "169.254.169.254/32:80"], "169.254.169.254", 80, name="metadata.google.internal") is None


@given(st.ip_addresses(), st.sampled_from([22, 80, 443, 6379, 8443]), st.booleans())
def test_entries_open_only_what_they_cover(address: IPv4Address | IPv6Address, port: int, leave: bool) -> None:
    entries = ["10.0.0.5/32:8443", "169.254.169.254/32:80", "[fd00::]/8:443", "host:svc.internal:8443"]
    with_entries = rule(entries, str(address), port, leave=leave)
    without = rule([], str(address), port, leave=leave)
    opened = (port == 8443 and str(address) == "10.0.0.5") or (port == 80 and str(address) == "169.254.169.254")
    opened = opened or (port == 443 and address.version == 6 and address in ip_network("fd00::/8"))
    assert with_entries == without or (opened and with_entries is None)


def test_a_bad_entry_is_a_settings_error_that_names_it() -> None:
    with pytest.raises(SettingsError, match=r"egress_allow: 10\.0\.0\.5/8 "):
        Egress(["10.0.0.0/16", "10.0.0.5/8"])


# --- the app's own listener --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["127.0.0.1:8000", "localhost:8000", "0.0.0.0:8000", "[::]:8000"])
def test_the_own_listener_is_denied_whatever_a_connection_says(bind: str) -> None:
    own = Egress(bind=bind)
    assert own.rule("127.0.0.1", 8000, allow_private=True) == "own_listener"
    assert own.target_rule("localhost", 8000, allow_private=True) == "own_listener"
    assert own.rule("127.0.0.1", 8001, allow_private=True) is None
    assert Egress(["127.0.0.0/8"], bind=bind).rule("127.0.0.1", 8000, allow_private=True) == "own_listener"
    assert Egress(["127.0.0.1/32:8000"], bind=bind).rule("127.0.0.1", 8000, allow_private=True) is None


def test_bound_to_all_addresses_every_address_of_this_host_is_its_own() -> None:
    everywhere = Egress(bind="0.0.0.0:8000")
    assert everywhere.rule("127.8.9.10", 8000, allow_private=True) == "own_listener"
    assert everywhere.rule("8.8.8.8", 8000, allow_private=False) is None
    assert Egress(bind="127.0.0.1:8000").rule("127.8.9.10", 8000, allow_private=True) is None


def test_the_name_an_address_was_found_under_is_told_and_goes_with_the_dial() -> None:
    leave = Leave(Egress(["host:svc.internal"]), allow_private=False)
    with pytest.raises(EgressDenied, match=r"found under the name other\.internal"):
        leave.check("10.0.0.5", 443, name="other.internal")
    dialled = dialling.set("svc.internal")
    leave.socket(info("10.0.0.5")).close()
    dialling.reset(dialled)
    with pytest.raises(EgressDenied):
        leave.socket(info("10.0.0.5"))
