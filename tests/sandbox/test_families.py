"""Families of tokens: rotation, grace, reuse, lives and counts."""

from typing import Any

import pytest

from quart_app.sandbox import Client, Rules
from quart_app.sandbox.families import Families
from quart_app.sandbox.grants import Family
from quart_app.sandbox.protocol import API_SCOPE, OAuthError

from .conftest import Clock

CLIENT = Client(client_id="a", client_secret="s")
FIRST = "first-token"


def make(clock: Clock, client: Client = CLIENT, **rules: Any) -> Families:
    families = Families(Rules(**rules), clock)
    family = families.start(client, "me", API_SCOPE, "authorization_code")
    families.give_refresh_token(family, FIRST)
    return families


@pytest.fixture
def families(clock: Clock) -> Families:
    return make(clock)


def refused(families: Families, value: str, client: Client = CLIENT, scope: str = "") -> str:
    with pytest.raises(OAuthError) as caught:
        families.refresh(client, value, scope)
    return f"{caught.value.code}: {caught.value.description}"


def only(families: Families) -> Family:
    [family] = families.all
    return family


def test_each_refresh_gives_a_new_refresh_token_and_the_next_generation(families: Families) -> None:
    first = families.refresh(CLIENT, FIRST)
    second = families.refresh(CLIENT, first["refresh_token"])
    assert len({FIRST, first["refresh_token"], second["refresh_token"]}) == 3
    found = families.find(second["access_token"])
    assert found is not None
    assert (found.generation, found.family.generation) == (2, 2)
    assert families.find(first["access_token"]) is not None


def test_a_refresh_token_used_twice_ends_its_whole_family_and_no_other(families: Families) -> None:
    other = Client(client_id="b")
    families.give_refresh_token(families.start(other, "you", API_SCOPE, "authorization_code"), "others-token")
    first = families.refresh(CLIENT, FIRST)
    assert refused(families, FIRST).startswith("invalid_grant")
    assert families.find(first["access_token"]) is None
    assert refused(families, first["refresh_token"]).startswith("invalid_grant")
    assert [family.revoked for family in families.all] == ["a refresh token was used twice", None]
    assert families.reuse_detections == 1
    assert "refresh_token" in families.refresh(other, "others-token")


def test_within_the_grace_the_token_spent_last_gets_the_same_successor(clock: Clock) -> None:
    families = make(clock, grace_seconds=5)
    first = families.refresh(CLIENT, FIRST)
    clock.now += 4.9
    again = families.refresh(CLIENT, FIRST)
    assert again["refresh_token"] == first["refresh_token"]
    assert again["access_token"] != first["access_token"]
    assert (families.grace_reuses, only(families).generation) == (1, 1)


def test_within_the_grace_a_fresh_successor_is_good_beside_the_first(clock: Clock) -> None:
    families = make(clock, grace_seconds=5, fresh_successor=True)
    first, again = families.refresh(CLIENT, FIRST), families.refresh(CLIENT, FIRST)
    assert first["refresh_token"] != again["refresh_token"]
    assert only(families).generation == 1
    families.refresh(CLIENT, again["refresh_token"])
    families.refresh(CLIENT, first["refresh_token"])
    assert (families.reuse_detections, only(families).revoked) == (0, None)


def test_after_the_grace_or_two_generations_back_a_spent_token_ends_the_family(clock: Clock) -> None:
    late, older = make(clock, grace_seconds=5), make(clock, grace_seconds=5)
    late.refresh(CLIENT, FIRST)
    older.refresh(CLIENT, older.refresh(CLIENT, FIRST)["refresh_token"])
    assert refused(older, FIRST).startswith("invalid_grant")
    clock.now += 5
    assert refused(late, FIRST).startswith("invalid_grant")
    assert (late.reuse_detections, older.reuse_detections) == (1, 1)


def test_a_clients_own_rules_stand_in_place_of_the_servers(clock: Clock) -> None:
    patient = Client(client_id="a", rules=Rules(grace_seconds=60, access_seconds=5))
    families = make(clock, patient)
    assert families.refresh(patient, FIRST)["expires_in"] == 5
    clock.now += 59
    families.refresh(patient, FIRST)
    assert families.reuse_detections == 0


def test_a_refresh_token_that_does_not_rotate_stays_good_and_is_not_sent_again(clock: Clock) -> None:
    families = make(clock, rotates=False)
    answers = [families.refresh(CLIENT, FIRST) for _ in range(3)]
    assert all("refresh_token" not in answer for answer in answers)
    assert only(families).generation == 3


def test_another_clients_refresh_token_is_refused_and_left_alone(families: Families) -> None:
    assert refused(families, FIRST, Client(client_id="b")).startswith("invalid_grant")
    assert families.refresh(CLIENT, FIRST)["expires_in"] == 60


def test_a_refresh_may_narrow_the_scope_and_never_widen_it(families: Families) -> None:
    narrow = families.refresh(CLIENT, FIRST, "items:read")
    assert narrow["scope"] == "items:read"
    assert refused(families, narrow["refresh_token"], scope="admin").startswith("invalid_scope")
    assert families.refresh(CLIENT, narrow["refresh_token"])["scope"] == API_SCOPE


@pytest.mark.parametrize("rotates", [True, False])
def test_a_refresh_token_dies_unused_and_each_use_gives_it_its_whole_life_again(clock: Clock, rotates: bool) -> None:
    families = make(clock, refresh_seconds=100, rotates=rotates)
    clock.now += 99
    answer = families.refresh(CLIENT, FIRST)
    assert answer["refresh_token_expires_in"] == 100
    value = answer.get("refresh_token", FIRST)
    clock.now += 99
    value = families.refresh(CLIENT, value).get("refresh_token", FIRST)
    clock.now += 100
    assert refused(families, value) == "invalid_grant: The refresh token has expired."


def test_a_family_ends_at_its_age_however_often_it_is_used(clock: Clock) -> None:
    families = make(clock, refresh_seconds=100, family_seconds=150)
    clock.now += 90
    answer = families.refresh(CLIENT, FIRST)
    assert answer["refresh_token_expires_in"] == 60
    clock.now += 60
    assert refused(families, answer["refresh_token"]) == "invalid_grant: The refresh token has expired."


@pytest.mark.parametrize("rotates", [True, False])
def test_token_requests_are_counted_by_the_generation_they_would_spend(clock: Clock, rotates: bool) -> None:
    families = make(clock, rotates=rotates, grace_seconds=5)
    value = FIRST
    for _ in range(3):
        families.count(value)
        value = families.refresh(CLIENT, value).get("refresh_token", value)
    families.count("unknown")
    assert only(families).requests == {0: 1, 1: 1, 2: 1}
    families.count(value)
    families.count(value)
    assert families.stats()["families"][0]["requests"] == {"0": 1, "1": 1, "2": 1, "3": 2}


def test_answers_401_are_counted_by_family_and_in_all(families: Families, clock: Clock) -> None:
    token = families.refresh(CLIENT, FIRST)["access_token"]
    assert families.find(token) is not None
    clock.now += 60
    assert families.find(token) is None
    assert families.find("unknown") is None
    assert (only(families).refused, families.stats()["refused_access_tokens"]) == (1, 2)


def test_a_grant_that_a_client_repeats_has_one_family_until_that_is_ended(families: Families) -> None:
    first = families.standing(CLIENT, "a", API_SCOPE, "client_credentials")
    assert families.standing(CLIENT, "a", API_SCOPE, "client_credentials") is first
    assert families.standing(CLIENT, "b", API_SCOPE, "client_credentials") is not first
    families.end(first, "the provider ended it")
    families.end(first, "again")
    assert first.revoked == "the provider ended it"
    assert families.standing(CLIENT, "a", API_SCOPE, "client_credentials") is not first


def test_a_token_is_for_the_audience_it_was_asked_for_or_for_that_of_its_family(clock: Clock) -> None:
    families = Families(Rules(), clock)
    family = families.start(CLIENT, "me", API_SCOPE, "authorization_code", ("https://a.example",))
    tokens = [families.issue(family, API_SCOPE), families.issue(family, API_SCOPE, ("https://b.example",))]
    found = [families.find(answer["access_token"]) for answer in tokens]
    assert [token.audience for token in found if token] == [("https://a.example",), ("https://b.example",)]
