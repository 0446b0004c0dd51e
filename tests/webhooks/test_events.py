"""What is told: the same form for each event, and nothing beyond what is meant to be told."""

import json
from dataclasses import replace

from quart_app.settings import Settings
from quart_app.webhooks.events import body


def test_an_event_has_type_time_and_what_is_known_of_the_connection() -> None:
    settings = replace(Settings(), public_url="https://switchboard.example.com/")
    data = {"state": "needs_sign_in", "reason": "invalid_grant", "generation": 7, "access_token": "never-told"}
    text = body(settings, "needs_sign_in", "orders", data, at=1_800_000_000.5)
    assert json.loads(text) == {
        "type": "connection.needs_sign_in",
        "timestamp": "2027-01-15T08:00:00.500000Z",
        "data": {
            "connection": "orders",
            "state": "needs_sign_in",
            "reason": "invalid_grant",
            "detail": None,
            "generation": 7,
            "failure": None,
            "url": "https://switchboard.example.com/connections/orders",
        },
    }


def test_without_a_public_url_the_page_is_where_it_listens() -> None:
    assert json.loads(body(Settings(), "recovered", "orders", {}, at=0.0))["data"]["url"] == (
        "http://127.0.0.1:8000/connections/orders"
    )


def test_a_test_is_of_no_connection_and_has_the_same_parts() -> None:
    told = json.loads(body(Settings(), "test", "", {}, at=0.0))
    assert told["type"] == "webhook.test"
    assert told["data"].keys() == json.loads(body(Settings(), "recovered", "x", {}, at=0.0))["data"].keys()
    assert set(told["data"].values()) == {None}
