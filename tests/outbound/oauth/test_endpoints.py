"""A provider's endpoints, as they are filled in and as its metadata says; and what of metadata is not believed."""

from typing import Any

import pytest

from quart_app.outbound.oauth.endpoints import Endpoints, chosen, metadata_urls, of_form, read_metadata
from quart_app.outbound.oauth.refusals import GrantFailed
from tests.outbound.oauth.keys import filled

ISSUER = "https://id.example.com/tenant"
DOCUMENT = {
    "issuer": ISSUER,
    "token_endpoint": "https://id.example.com/token?v=2",
    "authorization_endpoint": "https://id.example.com/authorize",
    "revocation_endpoint": "https://id.example.com/revoke",
    "jwks_uri": "https://keys.example.net/jwks",
    "id_token_signing_alg_values_supported": ["RS256", "ES256", 7],
    "code_challenge_methods_supported": ["plain", "S256"],
    "authorization_response_iss_parameter_supported": True,
}
WHOLE = Endpoints(
    token_url="https://id.example.com/token?v=2",
    authorize_url="https://id.example.com/authorize",
    revocation_url="https://id.example.com/revoke",
    issuer=ISSUER,
    iss_required=True,
    jwks_uri="https://keys.example.net/jwks",
    id_token_algs=("RS256", "ES256"),
)


def test_metadata_is_read_whole() -> None:
    assert read_metadata(ISSUER, DOCUMENT) == WHOLE


def test_metadata_may_say_no_more_than_it_must() -> None:
    least = {"issuer": ISSUER, "token_endpoint": "https://id.example.com/token"}
    assert read_metadata(ISSUER, least) == Endpoints("https://id.example.com/token", issuer=ISSUER)


PLACES = [
    (
        "https://id.example.com",
        "https://id.example.com/.well-known/openid-configuration",
        "https://id.example.com/.well-known/oauth-authorization-server",
    ),
    (
        "https://id.example.com/",
        "https://id.example.com/.well-known/openid-configuration",
        "https://id.example.com/.well-known/oauth-authorization-server",
    ),
    (
        "https://id.example.com:8443/a/b/",
        "https://id.example.com:8443/a/b/.well-known/openid-configuration",
        "https://id.example.com:8443/.well-known/oauth-authorization-server/a/b",
    ),
]


@pytest.mark.parametrize(("issuer", "appended", "inserted"), PLACES)
def test_metadata_is_looked_for_at_both_places(issuer: str, appended: str, inserted: str) -> None:
    assert metadata_urls(issuer) == (appended, inserted)


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("https://evil.example.com/tenant", "another issuer;"),
        ("https://id.example.com/Tenant", "another issuer;"),
        ("https://ID.example.com/tenant", "another issuer;"),
        ("https://id.example.com/tenant/", "only the slash at the end differs"),
        (None, "another issuer"),
        (7, "another issuer"),
        ([ISSUER], "another issuer"),
    ],
)
def test_metadata_of_another_issuer_is_not_believed(issuer: Any, reason: str) -> None:
    with pytest.raises(GrantFailed, match=reason) as raised:
        read_metadata(ISSUER, DOCUMENT | {"issuer": issuer})
    assert (raised.value.failure, raised.value.state) == ("wrong_client", "config_error")
    assert "evil" not in raised.value.detail


ENDPOINTS = ("token_endpoint", "authorization_endpoint", "revocation_endpoint", "jwks_uri")


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/x",
        "http://127.0.0.1/x",
        "ftp://id.example.com/x",
        "javascript:alert(1)",
        "/x",
        "",
        "https://user:pw@id.example.com/x",
        "https://id.example.com/x#f",
        "https://id.example.com/../x",
        "https://id.example.com\r\nX: y",
        7,
        ["https://id.example.com/x"],
        {},
    ],
)
def test_an_endpoint_that_is_no_safe_url_is_not_used(name: str, url: Any) -> None:
    with pytest.raises(GrantFailed, match=name) as raised:
        read_metadata(ISSUER, DOCUMENT | {name: url})
    assert raised.value.state == "config_error"


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "id.localhost"])
def test_on_this_host_an_issuer_and_its_endpoints_may_go_without_tls(host: str) -> None:
    issuer = f"http://{host}"
    found = read_metadata(issuer, {"issuer": issuer, "token_endpoint": f"{issuer}/token"})
    assert found.token_url == f"{issuer}/token"
    with pytest.raises(GrantFailed, match="without https"):
        read_metadata(issuer, {"issuer": issuer, "token_endpoint": "http://id.example.com/token"})


@pytest.mark.parametrize("document", [None, [], "x", 7, True])
def test_what_is_no_object_is_no_metadata(document: Any) -> None:
    with pytest.raises(GrantFailed, match="not a JSON object"):
        read_metadata(ISSUER, document)


def test_metadata_without_a_token_endpoint_is_of_no_use() -> None:
    with pytest.raises(GrantFailed, match="no token_endpoint"):
        read_metadata(ISSUER, {"issuer": ISSUER})


@pytest.mark.parametrize("methods", [[], ["plain"], ["s256"], [7]])
def test_a_provider_that_rules_pkce_with_s256_out_is_not_signed_in_at(methods: list[Any]) -> None:
    with pytest.raises(GrantFailed, match="PKCE"):
        read_metadata(ISSUER, DOCUMENT | {"code_challenge_methods_supported": methods})


@pytest.mark.parametrize("said", [False, None, "true", 1])
def test_only_true_means_that_the_issuer_is_in_the_answer(said: Any) -> None:
    document = DOCUMENT | {"authorization_response_iss_parameter_supported": said}
    assert not read_metadata(ISSUER, document).iss_required


def test_the_form_has_its_endpoints_unless_only_the_issuer_is_given() -> None:
    given = {"authorize_url": "https://a.example/a", "revocation_url": "https://a.example/r", "issuer": ISSUER}
    assert of_form(filled(**given)) == Endpoints(
        "https://id.example.com/token", "https://a.example/a", "https://a.example/r", ISSUER
    )
    assert of_form(filled(token_url=None, issuer=ISSUER)) is None


def test_what_a_person_filled_in_goes_before_what_was_discovered() -> None:
    assert chosen(filled(token_url=None, issuer=ISSUER), WHOLE) == WHOLE
    own = filled(issuer=ISSUER, revocation_url="https://own.example/r", authorize_url="https://own.example/a")
    found = chosen(own, WHOLE)
    assert (found.token_url, found.authorize_url, found.revocation_url) == (
        "https://id.example.com/token",
        "https://own.example/a",
        "https://own.example/r",
    )
    assert (found.issuer, found.iss_required, found.jwks_uri) == (ISSUER, True, WHOLE.jwks_uri)
