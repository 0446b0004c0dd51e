"""Where the app itself listens."""

from ipaddress import ip_address

import pytest

from quart_app.outbound.listener import Listener, is_of_this_host


@pytest.mark.parametrize(
    ("bind", "at", "not_at"),
    [
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.2"),
        ("[::1]:8000", "::1", "127.0.0.1"),
        ("localhost:8000", "127.0.0.1", "127.0.0.2"),
        ("0.0.0.0:8000", "127.0.0.2", "8.8.8.8"),
        ("[::]:8000", "127.0.0.2", "2606:4700:4700::1111"),
        (":8000", "127.0.0.1", "8.8.8.8"),
    ],
)
def test_a_listener_is_at_its_address_or_at_all_of_this_host(bind: str, at: str, not_at: str) -> None:
    listener = Listener(bind)
    assert listener.is_at(ip_address(at), 8000)
    assert not listener.is_at(ip_address(at), 8001)
    assert not listener.is_at(ip_address(not_at), 8000)


@pytest.mark.parametrize("bind", ["", "unix:/run/switchboard.sock", "fd://3", "localhost"])
def test_of_a_bind_without_a_port_nothing_is_known(bind: str) -> None:
    assert not Listener(bind).is_at(ip_address("127.0.0.1"), 8000)


def test_an_address_is_of_this_host_when_a_socket_can_be_bound_to_it() -> None:
    assert is_of_this_host(ip_address("127.0.0.1"), 0)
    assert not is_of_this_host(ip_address("192.0.2.1"), 0)
