"""The credential that comes of a token."""

from quart_app.outbound import oauth
from tests.outbound.oauth.keys import filled, pem


def test_the_credential_of_a_token_keeps_all_secrets_out_of_records() -> None:
    auth = filled(client_secret="client-secret", refresh_token="first-rt")
    credential = oauth.credential(auth, "at-1", "rt-2", 7)
    assert credential.headers == ((b"authorization", b"Bearer at-1"),)
    assert credential.generation == 7
    text = credential.redactor.text("<at-1> <rt-2> <client-secret> <first-rt>")
    roles = ("access_token", "refresh_token", "client_secret", "refresh_token")
    assert text == " ".join(f"<[redacted:{role}]>" for role in roles)


def test_a_private_key_never_leaves_so_that_no_record_is_searched_for_it() -> None:
    auth = filled(client_auth="private_key_jwt", private_key=pem("p256"))
    credential = oauth.credential(auth, "at-1", None, 1)
    assert [role for role, _ in credential.secrets] == ["access_token"]
