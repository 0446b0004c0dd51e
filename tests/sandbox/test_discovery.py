"""What the OAuth server says of itself."""

from quart_app.sandbox.discovery import metadata


def test_what_rfc_8414_and_openid_require_is_there_and_every_url_is_the_issuers() -> None:
    found = metadata("https://sandbox.example")
    required = {"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported"}
    assert required | {"subject_types_supported", "id_token_signing_alg_values_supported"} <= found.keys()
    for name, value in found.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith("https://sandbox.example/oauth/")
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert "private_key_jwt" in found["token_endpoint_auth_methods_supported"]
    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" in found["grant_types_supported"]
    assert "openid" in found["scopes_supported"]
