"""Entries of the setting `egress_allow`: what they mean, and which are refused because they would mean too much."""

from ipaddress import ip_address, ip_network

import pytest

from quart_app.outbound.allowances import Allowance, parse, read
from quart_app.outbound.egress import DENIED_RULES, PRIVATE_RULES

RULES = (*DENIED_RULES, *PRIVATE_RULES)


@pytest.mark.parametrize(
    ("entry", "network", "name", "port"),
    [
        ("10.0.0.5", "10.0.0.5/32", None, None),
        ("10.0.0.5/32", "10.0.0.5/32", None, None),
        ("10.0.0.5/32:8443", "10.0.0.5/32", None, 8443),
        ("10.20.0.0/16", "10.20.0.0/16", None, None),
        ("[fd00::]/8:443", "fd00::/8", None, 443),
        ("[fd00::1]", "fd00::1/128", None, None),
        ("[::1]:9000", "::1/128", None, 9000),
        ("host:svc.internal", None, "svc.internal", None),
        ("host:svc.internal:8443", None, "svc.internal", 8443),
        ("host:a_b-c:1", None, "a_b-c", 1),
    ],
)
def test_an_entry_names_a_network_or_a_host_and_perhaps_a_port(
    entry: str, network: str | None, name: str | None, port: int | None
) -> None:
    assert read(entry) == Allowance(ip_network(network) if network else None, name, port)


NOT_ENTRIES = [
    *("", "svc.internal", "host:", "host:.x", "host:a b", "*", "10.0.0.5:0", "10.0.0.5:65536", "10.0.0.5:http"),
    *("fd00::/8", "[fd00::/8]", "10.0.0.5/33", "10.0.0.5/8", "300.0.0.1", "10.0.0", "0177.0.0.1"),
    *("http://10.0.0.5", "10.0.0.5/32:8443:1", "[fd00::1]/129", "[fe80::1%eth0]", "host:x:99999", "10.0.0.0/8,"),
]


@pytest.mark.parametrize("entry", NOT_ENTRIES)
def test_what_is_no_entry_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match="^" + (entry.replace("[", r"\[").replace("*", r"\*") or " is no entry")):
        parse([entry], RULES)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("0.0.0.0/0", "wider than the rule"),
        ("169.0.0.0/8", "wider than the rule link_local"),
        ("[::]/0", "wider than the rule"),
        ("8.8.8.8", "denied by no rule"),
        ("8.0.0.0/8", "denied by no rule"),
    ],
)
def test_an_entry_that_opens_nothing_or_would_open_too_much_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse([entry], RULES)


def test_an_entry_covers_its_network_on_its_port() -> None:
    entry = read("10.0.0.0/24:8443")
    assert entry.covers(ip_address("10.0.0.255"), 8443)
    assert not entry.covers(ip_address("10.0.0.255"), 443)
    assert not entry.covers(ip_address("10.0.1.0"), 8443)
    assert not entry.covers(ip_address("::10.0.0.1"), 8443)
    assert entry.within(ip_network("10.0.0.0/8"))
    assert not entry.within(ip_network("10.0.0.0/25"))
    assert not entry.names("svc.internal", 8443)
