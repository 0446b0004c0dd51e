"""The authorization endpoint's state: requests that wait for a person's decision, and the codes it leads to.

RFC 6749 §4.1, RFC 7636 (PKCE), RFC 9207 (`iss`), OpenID Connect Core §3.1.2 (`nonce`, `prompt=none`).
"""

from collections.abc import Callable, Mapping

from quart_app.sandbox.clients import Client
from quart_app.sandbox.families import Families
from quart_app.sandbox.grants import Code, Transaction, keep
from quart_app.sandbox.protocol import (
    Form,
    OAuthError,
    audience_of,
    check_authorization,
    required,
    same,
    single,
    verifier_fits,
)

TRANSACTION_SECONDS = 600
CODE_SECONDS = 60


class Authorizations:
    """`clients` by their ids. With `auto_approve` nobody is asked. `clock` returns seconds."""

    def __init__(self, clients: Mapping[str, Client], *, auto_approve: bool, clock: Callable[[], float]) -> None:
        self.clients = clients
        self.auto_approve = auto_approve
        self.clock = clock
        self.transactions: dict[str, Transaction] = {}
        self.codes: dict[str, Code] = {}

    def begin(self, query: Form, browser: str) -> str:
        """The id of the transaction that an authorization request starts (RFC 6749 §4.1.1, RFC 7636 §4.3).

        `browser` is a secret that only this browser sends. Raises OAuthError; one without `redirect_uri` must
        be shown to the person, because nobody it could be sent to has been seen to be the client.
        """
        fields = single(query)
        client = self.clients.get(fields.get("client_id", ""))
        if client is None:
            raise OAuthError("invalid_request", "The client is not known here.")
        redirect_uri, state = fields.get("redirect_uri", ""), fields.get("state", "")
        if not client.may_redirect_to(redirect_uri):
            raise OAuthError("invalid_request", "The redirect URI is not one of this client's.")
        try:
            scope, audience = check_authorization(fields), audience_of(query)
            if fields.get("prompt") == "none" and not self.auto_approve:
                raise OAuthError("consent_required", "Nobody agreed to this yet, and nobody may be asked.")
        except OAuthError as error:
            raise OAuthError(error.code, error.description, redirect_uri=redirect_uri, state=state) from None
        transaction = Transaction(
            client=client,
            redirect_uri=redirect_uri,
            scope=scope,
            audience=audience,
            state=state,
            nonce=fields.get("nonce", ""),
            code_challenge=fields["code_challenge"],
            browser=browser,
            expires_at=self.clock() + TRANSACTION_SECONDS,
        )
        return keep(self.transactions, transaction, self.clock())

    def decide(self, transaction_id: str, browser: str, *, approve: bool) -> tuple[Transaction, dict[str, str]]:
        """What was asked, and the answer to it (RFC 6749 §4.1.2) without `state` and `iss`; it counts once.

        Raises OAuthError for a transaction that is unknown, expired, answered, or another browser's.
        """
        waiting = self.transactions.get(transaction_id)
        if waiting is None or not same(waiting.browser, browser):
            raise OAuthError("invalid_request", "This page was answered before, or is not yours.")
        del self.transactions[transaction_id]
        if waiting.expires_at <= self.clock():
            raise OAuthError("invalid_request", "This page was left open for too long.")
        if not approve:
            return waiting, {"error": "access_denied", "error_description": "The person said no."}
        return waiting, {"code": keep(self.codes, Code(waiting, self.clock() + CODE_SECONDS), self.clock())}

    def redeem(self, client: Client, fields: Mapping[str, str], families: Families) -> Code:
        """The code of a token request, used up by this (RFC 6749 §4.1.3, RFC 7636 §4.6).

        Raises OAuthError; a second use ends the family that the first one started.
        """
        code = self.codes.get(required(fields, "code"))
        if code is None or code.request.client != client or code.expires_at <= self.clock():
            raise OAuthError("invalid_grant", "The code is unknown, expired, or another client's.")
        if code.used:
            if code.family is not None:
                families.end(code.family, "its code was used twice")
            raise OAuthError("invalid_grant", "The code was used before.")
        code.used = True
        if fields.get("redirect_uri") != code.request.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to.")
        if not verifier_fits(required(fields, "code_verifier"), code.request.code_challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit the code_challenge.")
        return code
