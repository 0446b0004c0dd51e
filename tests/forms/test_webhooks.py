"""Webhooks as they are given: every fault at once, each at its place, and none of them says the URL back."""

from typing import Any

import pytest

from quart_app.errors import Invalid
from quart_app.forms import validate
from quart_app.forms.webhooks import EVENTS, DeliveryForm, WebhookChange, WebhookForm, merged
from quart_app.outbound.egress import Egress

URL = "https://hooks.example.com/services/T0/B0?key=in-query"


def faults(given: dict[str, Any], egress: Egress | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        validate(WebhookForm, given, egress)
    assert "in-query" not in str(caught.value.errors)
    return {fault["pointer"]: fault["detail"] for fault in caught.value.errors}


def test_a_url_alone_listens_to_every_event() -> None:
    form = validate(WebhookForm, {"url": URL})
    assert (form.url, form.events, form.allow_private) == (URL, list(EVENTS), False)


def test_events_stand_in_one_order() -> None:
    form = validate(WebhookForm, {"url": URL, "events": ["refresh_failed", "needs_sign_in"]})
    assert form.events == ["needs_sign_in", "refresh_failed"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/in-query", "must start with http:// or https://"),
        ("https://me:in-query@example.com/", "must not carry a user or password"),
        ("https://example.com/#in-query", "must have no fragment"),
        ("https://example.com/?a#in-query", "must have no fragment"),
        ("https://example.com/in query", "has a space"),
        ("https://example.com/?in-query=ü", "has a query with characters"),
        ("https://example.com/?in-query= ", "has a query with characters"),
        ("https://example.com/in-query/../x", "has a path with dot segments"),
        ("https:///in-query", "has no host"),
        ("https://[::1/in-query", "is not a URL that can be read"),
        ("in-query", "must start with"),
        ("https://example.com/" + "in-query" * 300, "at most 2048"),
    ],
)
def test_what_is_no_url_to_post_to_is_said(url: str, says: str) -> None:
    assert says in faults({"url": url})["/url"]


@pytest.mark.parametrize(
    ("events", "pointer"),
    [([], "/events"), (["recovered", "recovered"], "/events"), (["nope"], "/events/0"), ("recovered", "/events")],
)
def test_events_are_some_of_the_three_each_once(events: Any, pointer: str) -> None:
    assert list(faults({"url": URL, "events": events})) == [pointer]


def test_all_faults_come_at_once() -> None:
    given = {"url": "http://127.0.0.1/", "events": ["nope"], "allow_private": False, "evnts": []}
    assert faults(given).keys() == {"/events/0", "/allow_private", "/evnts"}
    assert faults({"allow_private": "yes"}).keys() == {"/url", "/allow_private"}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/in-query", "http://localhost/", "https://10.0.0.8/", "http://[::1]/"]
)
def test_inside_the_network_it_must_be_allowed(url: str) -> None:
    assert "set this to true" in faults({"url": url})["/allow_private"]
    assert validate(WebhookForm, {"url": url, "allow_private": True}).url == url


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "http://metadata.google.internal/", "http://example.com:22/", "http://0.0.0.0/"]
)
def test_what_is_never_reached_is_refused_whatever_is_allowed(url: str) -> None:
    assert "egress rule" in faults({"url": url, "allow_private": True})["/url"]


def test_what_an_administrator_allows_is_taken() -> None:
    egress = Egress(("10.0.0.8/32:443",))
    assert validate(WebhookForm, {"url": "https://10.0.0.8/"}, egress).allow_private is False
    assert "/allow_private" in faults({"url": "https://10.0.0.9/"}, egress)


def test_a_url_is_in_no_repr() -> None:
    form = validate(WebhookForm, {"url": URL})
    assert "in-query" not in repr(form) + str(form)
    change = validate(WebhookChange, {"url": URL, "events": []})
    assert "in-query" not in repr(change) + str(change)


def test_a_change_names_its_parts_and_a_url_as_it_is_shown_is_none() -> None:
    before = {"url": URL, "events": ["recovered"], "allow_private": False}
    assert merged(before, {"url": "https://x/…", "events": None}, "https://x/…") == before
    assert merged(before, {"url": "https://y/", "allow_private": True}, "https://x/…") == {
        "url": "https://y/",
        "events": ["recovered"],
        "allow_private": True,
    }


def test_a_delivery_is_asked_for_by_the_id_of_another_or_by_nothing() -> None:
    assert validate(DeliveryForm, {}).of is None
    assert validate(DeliveryForm, {"of": "0192"}).of == "0192"
    with pytest.raises(Invalid):
        validate(DeliveryForm, {"off": "0192"})
