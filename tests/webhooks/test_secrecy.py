"""What of a webhook is kept from sight: in answers, in reprs and in the database."""

import pytest

from quart_app.models import Webhook
from quart_app.services import Services
from quart_app.webhooks import secrecy
from quart_app.webhooks.secrecy import OVERLAP_SECONDS, Kept


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/key", "https://hooks.example.com/services/…"),
        ("https://hooks.example.com/catch/key", "https://hooks.example.com/catch/…"),
        ("https://hooks.example.com/key", "https://hooks.example.com/…"),
        ("https://hooks.example.com/key/", "https://hooks.example.com/…"),
        ("https://hooks.example.com?key=1", "https://hooks.example.com/…"),
        ("https://hooks.example.com/a/b?key=1", "https://hooks.example.com/a/…"),
        ("https://hooks.example.com/bot7:key/send", "https://hooks.example.com/…"),
        ("https://hooks.example.com/0d5f1c3e-key/fail", "https://hooks.example.com/…"),
        ("https://hooks.example.com/akeyoflowercaseletters/fail", "https://hooks.example.com/…"),
        ("https://hooks.example.com:8443", "https://hooks.example.com:8443"),
        ("http://[::1]:9000/a", "http://[::1]:9000/…"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_key(url: str, shown: str) -> None:
    assert secrecy.shown(url) == shown
    assert "key" not in secrecy.shown(url)


async def test_url_and_secret_are_sealed_to_their_row_and_come_back(services: Services) -> None:
    row = Webhook(id="one")
    secrecy.keep(services, row, Kept("https://hooks.example.com/a/key-in-path", "whsec_c2VjcmV0"))
    assert b"key-in-path" not in row.sealed_secret
    assert b"c2VjcmV0" not in row.sealed_secret
    assert secrecy.kept(services, row) == Kept("https://hooks.example.com/a/key-in-path", "whsec_c2VjcmV0")
    assert secrecy.host_of(row) == "hooks.example.com"


def test_what_is_kept_says_nothing_of_itself() -> None:
    assert "key" not in f"{Kept('https://example.com/key', 'whsec_key')!r}"


def test_a_retired_secret_signs_for_a_day_beside_the_new_one() -> None:
    before = Kept("https://example.com", "whsec_b25l")
    after = before.renewed(1000.0)
    assert after.secret not in (before.secret, "")
    assert after.secrets_at(1000.0 + OVERLAP_SECONDS - 1) == (after.secret, before.secret)
    assert after.secrets_at(1000.0 + OVERLAP_SECONDS) == (after.secret,)
    assert before.secrets_at(0.0) == (before.secret,)
    again = after.renewed(1001.0)
    assert before.secret not in again.secrets_at(1002.0), "two at most"
