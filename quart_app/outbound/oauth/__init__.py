"""OAuth without I/O: the form, the requests of each grant, what answers mean, and the credential that comes of it."""

from collections.abc import Iterable

from quart_app.outbound.credentials import Credential as Credential
from quart_app.outbound.credentials import bearer, guarded
from quart_app.outbound.oauth.answers import GrantFailed as GrantFailed
from quart_app.outbound.oauth.answers import Issued as Issued
from quart_app.outbound.oauth.form import OAuth2
from quart_app.outbound.redaction.marks import Fingerprint


def credential(
    auth: OAuth2,
    access_token: str,
    refresh_token: str | None,
    generation: int,
    fingerprint: Fingerprint | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> Credential:
    """The credential of a token, whose redactor knows both tokens, the client's secret and `more` of the connection."""
    renewal = (("refresh_token", refresh_token),) if refresh_token else ()
    return guarded(bearer(("access_token", access_token), *renewal, generation=generation), auth, fingerprint, more)
