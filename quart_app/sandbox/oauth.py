"""The sandbox's OAuth 2.0 server as a plain class: no Quart, no I/O, a clock that is handed in.

RFC 6749 (the grants), RFC 7009 (revocation), RFC 7636 (PKCE), RFC 9700 §4.14.2 (refresh tokens rotate, and
one that comes back ends its family). Every method is synchronous, so within one event loop each is atomic.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quart_app.sandbox.grants import AccessToken, Code, Family, RefreshToken, Transaction, keep
from quart_app.sandbox.protocol import (
    SCOPES,
    Client,
    Form,
    OAuthError,
    authenticate,
    check_authorization,
    narrowed,
    redirect_to,
    required,
    same,
    single,
    verifier_fits,
)

GRANTS = ("client_credentials", "authorization_code", "refresh_token")
DEMO_SUBJECT = "demo-user"
TRANSACTION_SECONDS = 600
CODE_SECONDS = 60


class AuthorizationServer:
    """All state of the OAuth server.

    `access_seconds` is the life of access tokens whose client sets none. For `grace_seconds` the refresh
    token spent last may come back and gets the same successor; 0 means a second use ends the family. `clock`
    returns seconds.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        *,
        access_seconds: int,
        grace_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.clients = {client.client_id: client for client in clients}
        self.access_seconds = access_seconds
        self.grace_seconds = grace_seconds
        self.clock = clock
        self.families: list[Family] = []
        self.access_tokens: dict[str, AccessToken] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}
        self.transactions: dict[str, Transaction] = {}
        self.codes: dict[str, Code] = {}
        self.token_requests = Counter(dict.fromkeys((*GRANTS, "other"), 0))
        self.token_errors: Counter[str] = Counter()
        self.reuse_detections = 0
        self.grace_reuses = 0
        for client in clients:
            if client.refresh_token:
                family = self._family(client, DEMO_SUBJECT, " ".join(SCOPES), "authorization_code")
                self._give_refresh_token(family, client.refresh_token)

    def begin(self, query: Form, browser: str) -> str:
        """The id of the transaction that an authorization request starts (RFC 6749 §4.1.1, RFC 7636 §4.3).

        `browser` is a secret that only this browser sends. Raises OAuthError; one without `redirect_uri` must
        be shown to the person, because nobody it could be sent to has been seen to be the client.
        """
        fields = single(query)
        client = self.clients.get(fields.get("client_id", ""))
        if client is None:
            raise OAuthError("invalid_request", "The client is not known here.")
        if not client.may_redirect_to(fields.get("redirect_uri", "")):
            raise OAuthError("invalid_request", "The redirect URI is not one of this client's.")
        transaction = Transaction(
            client=client,
            redirect_uri=fields["redirect_uri"],
            scope=check_authorization(fields),
            state=fields.get("state", ""),
            code_challenge=fields["code_challenge"],
            browser=browser,
            expires_at=self.clock() + TRANSACTION_SECONDS,
        )
        return keep(self.transactions, transaction, self.clock())

    def decide(self, transaction_id: str, browser: str, *, approve: bool, issuer: str) -> str:
        """Where the browser goes with the person's decision (RFC 6749 §4.1.2, RFC 9207); it counts once.

        Raises OAuthError for a transaction that is unknown, expired, answered, or another browser's.
        """
        waiting = self.transactions.get(transaction_id)
        if waiting is None or not same(waiting.browser, browser):
            raise OAuthError("invalid_request", "This page was answered before, or is not yours.")
        del self.transactions[transaction_id]
        if waiting.expires_at <= self.clock():
            raise OAuthError("invalid_request", "This page was left open for too long.")
        if approve:
            code = keep(self.codes, Code(waiting, self.clock() + CODE_SECONDS), self.clock())
            return redirect_to(waiting.redirect_uri, {"code": code}, waiting.state, issuer)
        denied = {"error": "access_denied", "error_description": "The person said no."}
        return redirect_to(waiting.redirect_uri, denied, waiting.state, issuer)

    def token(self, form: Form, authorization: str | None) -> dict[str, Any]:
        """The answer of the token endpoint (RFC 6749 §5.1); `authorization` is the header.

        When it returns, the refresh token is spent, whether or not the answer reaches anyone. Raises
        OAuthError (§5.2).
        """
        grant = next((value for name, value in form if name == "grant_type"), "")
        self.token_requests[grant if grant in GRANTS else "other"] += 1
        try:
            fields = single(form)
            client = authenticate(self.clients, fields, authorization)
            match required(fields, "grant_type"):
                case "client_credentials":
                    return self._client_credentials(client, fields)
                case "authorization_code":
                    return self._authorization_code(client, fields)
                case "refresh_token":
                    return self._refresh(client, fields)
            raise OAuthError("unsupported_grant_type", f"Supported are {', '.join(GRANTS)}.")
        except OAuthError as error:
            self.token_errors[error.code] += 1
            raise

    def _client_credentials(self, client: Client, fields: Mapping[str, str]) -> dict[str, Any]:
        scope = narrowed(fields.get("scope", ""), " ".join(SCOPES))
        family_id = f"client_credentials:{client.client_id}"
        family = next((known for known in self.families if known.family_id == family_id), None)
        if family is None:
            family = self._family(client, client.client_id, " ".join(SCOPES), "client_credentials", family_id)
        family.generation += 1
        return self._answer(client, family, scope)  # without a refresh token (RFC 6749 §4.4.3)

    def _authorization_code(self, client: Client, fields: Mapping[str, str]) -> dict[str, Any]:
        code = self.codes.get(required(fields, "code"))
        if code is None or code.request.client != client or code.expires_at <= self.clock():
            raise OAuthError("invalid_grant", "The code is unknown, expired, or another client's.")
        if code.used:
            if code.family is not None:
                code.family.revoked = code.family.revoked or "its code was used twice"
            raise OAuthError("invalid_grant", "The code was used before.")
        code.used = True
        request = code.request
        if fields.get("redirect_uri") != request.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to.")
        if not verifier_fits(required(fields, "code_verifier"), request.code_challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit the code_challenge.")
        code.family = self._family(client, DEMO_SUBJECT, request.scope, "authorization_code")
        return self._rotate(client, code.family, request.scope)

    def _refresh(self, client: Client, fields: Mapping[str, str]) -> dict[str, Any]:
        token = self.refresh_tokens.get(required(fields, "refresh_token"))
        if token is None or token.family.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The refresh token is unknown, or another client's.")
        family = token.family
        if token.spent_at is not None and not self._within_grace(token):
            self.reuse_detections += 1
            family.revoked = family.revoked or "a refresh token was used twice"
        if family.revoked is not None:
            raise OAuthError("invalid_grant", f"The grant was revoked: {family.revoked}.")
        scope = narrowed(fields.get("scope", ""), family.scope)
        if token.spent_at is not None:
            self.grace_reuses += 1
            return self._answer(client, family, scope)
        token.spent_at = self.clock()
        return self._rotate(client, family, scope)

    def _within_grace(self, token: RefreshToken) -> bool:
        spent_last = token.generation == token.family.generation - 1
        return spent_last and self.clock() - (token.spent_at or 0) < self.grace_seconds

    def _rotate(self, client: Client, family: Family, scope: str) -> dict[str, Any]:
        family.generation += 1
        self._give_refresh_token(family, secrets.token_urlsafe(32))
        return self._answer(client, family, scope)

    def _answer(self, client: Client, family: Family, scope: str) -> dict[str, Any]:
        seconds = self.access_seconds if client.access_seconds is None else client.access_seconds
        token = AccessToken(family, scope, family.generation, self.clock() + seconds)
        answer: dict[str, Any] = {
            "access_token": keep(self.access_tokens, token, self.clock()),
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": scope,
        }
        return answer | ({"refresh_token": family.refresh_token} if family.refresh_token else {})

    def revoke(self, form: Form, authorization: str | None) -> None:
        """RFC 7009: a refresh token ends its family, an access token itself; an unknown one is no error."""
        fields = single(form)
        client = authenticate(self.clients, fields, authorization)
        token = required(fields, "token")
        refresh_token = self.refresh_tokens.get(token)
        found = refresh_token or self.access_tokens.get(token)
        if found is not None and found.family.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The token was issued to another client.")
        if refresh_token is not None:
            refresh_token.family.revoked = refresh_token.family.revoked or "the client revoked it"
        self.access_tokens.pop(token, None)

    def access(self, token: str) -> AccessToken | None:
        """What an access token stands for; None if it is unknown, expired or revoked."""
        found = self.access_tokens.get(token)
        if found is None or found.expires_at <= self.clock() or found.family.revoked is not None:
            return None
        return found

    def stats(self) -> dict[str, Any]:
        """What happened so far, as JSON takes it; no secret is in it."""
        shown = ("family_id", "client_id", "subject", "scope", "grant", "generation", "revoked")
        return {
            "token_requests": dict(self.token_requests),
            "token_errors": dict(self.token_errors),
            "reuse_detections": self.reuse_detections,
            "grace_reuses": self.grace_reuses,
            "families": [{name: getattr(family, name) for name in shown} for family in self.families],
        }

    def _family(self, client: Client, subject: str, scope: str, grant: str, family_id: str = "") -> Family:
        family = Family(
            family_id=family_id or f"{grant}:{client.client_id}:{len(self.families) + 1}",
            client_id=client.client_id,
            subject=subject,
            scope=scope,
            grant=grant,
        )
        self.families.append(family)
        return family

    def _give_refresh_token(self, family: Family, value: str) -> None:
        family.refresh_token = value
        self.refresh_tokens[value] = RefreshToken(family, family.generation)
