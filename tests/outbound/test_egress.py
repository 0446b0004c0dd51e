"""Which addresses may be reached: the table, every form an address can take, and the socket that enforces it."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.egress import ALWAYS_DENIED, PRIVATE, EgressDenied, denied_by, socket_factory

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


def info(host: str) -> Any:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 80)


@pytest.mark.parametrize(
    ("host", "rule"),
    [("127.0.0.1", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"), ("10.0.0.5", "private")],
)
def test_no_socket_is_made_for_a_denied_address_and_the_text_says_how_to_allow_it(host: str, rule: str) -> None:
    with pytest.raises(EgressDenied, match=rule) as raised:
        socket_factory(allow_private=False)(info(host))
    assert raised.value.rule == rule
    assert "allow_private" in str(raised.value)
    with socket_factory(allow_private=True)(info(host)) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "::"])
def test_no_advice_is_given_where_no_policy_helps(host: str) -> None:
    with pytest.raises(EgressDenied) as raised:
        socket_factory(allow_private=True)(info(host))
    assert "allow_private" not in str(raised.value)
    assert isinstance(raised.value, OSError)
