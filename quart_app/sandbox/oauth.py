"""The sandbox's OAuth 2.0 server as a plain class: no Quart, no I/O, a clock that is handed in.

RFC 6749 and RFC 7523 (the grants), RFC 7009 (revocation), OpenID Connect Core (ID tokens). Every method is
synchronous, so within one event loop each is atomic.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quart_app.sandbox.assertions import Assertions
from quart_app.sandbox.authorization import Authorizations
from quart_app.sandbox.clients import Client, Rules
from quart_app.sandbox.families import Families
from quart_app.sandbox.grants import AccessToken, Code, Family
from quart_app.sandbox.keys import Signer, unverified
from quart_app.sandbox.protocol import (
    API_SCOPE,
    OPENID,
    Form,
    OAuthError,
    audience_of,
    authenticate,
    check_method,
    narrowed,
    read_basic,
    required,
    single,
)
from quart_app.sandbox.tricks import Trick, Tricks

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS = ("client_credentials", "authorization_code", "refresh_token", JWT_BEARER)
DEMO_SUBJECT = "demo-user"


class AuthorizationServer:
    """All state of the OAuth server.

    `rules` are those of clients without their own. With `auto_approve` an authorization request is granted
    unseen. `clock` returns seconds. `tricks` are what it does wrong on purpose; its URLs play them.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        rules: Rules,
        *,
        clock: Callable[[], float],
        auto_approve: bool = False,
    ) -> None:
        self.clients = {client.client_id: client for client in clients}
        self.clock = clock
        self.store = Families(rules, clock)
        self.authorizations = Authorizations(self.clients, auto_approve=auto_approve, clock=clock)
        self.assertions = Assertions(clock)
        self.signer = Signer()
        self.tricks = Tricks()
        self.token_requests = Counter(dict.fromkeys((*GRANTS, "other"), 0))
        self.token_errors: Counter[str] = Counter()
        for client in clients:
            if client.refresh_token:
                family = self.store.start(client, DEMO_SUBJECT, API_SCOPE, "authorization_code")
                self.store.give_refresh_token(family, client.refresh_token)

    @property
    def families(self) -> list[Family]:
        return self.store.all

    @property
    def access_tokens(self) -> dict[str, AccessToken]:
        return self.store.access_tokens

    @property
    def reuse_detections(self) -> int:
        return self.store.reuse_detections

    def receive(self, form: Form, authorization: str | None) -> Trick:
        """Counts a token request, good or not, and says which trick is played on it."""
        fields = dict(form)
        grant = fields.get("grant_type", "")
        self.token_requests[grant if grant in GRANTS else "other"] += 1
        self.store.count(fields.get("refresh_token", ""))
        return self.tricks.take("token", claimed_client(fields, authorization), grant)

    def token(
        self,
        form: Form,
        authorization: str | None,
        *,
        issuer: str = "",
        claims: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The answer of the token endpoint (RFC 6749 §5.1); `authorization` is the header.

        `claims` replace those of an ID token. When it returns, the refresh token is spent, whether or not the
        answer reaches anyone. Raises OAuthError (§5.2).
        """
        try:
            fields, audience = single(form), audience_of(form)
            client = self._client(fields, authorization, issuer)
            match required(fields, "grant_type"):
                case "client_credentials":
                    return self._client_credentials(client, fields, audience)
                case "authorization_code":
                    return self._authorization_code(client, fields, issuer, claims or {})
                case "refresh_token":
                    token = required(fields, "refresh_token")
                    return self.store.refresh(client, token, fields.get("scope", ""), audience)
                case known if known == JWT_BEARER:
                    return self._jwt_bearer(client, fields, audience, issuer)
            raise OAuthError("unsupported_grant_type", f"Supported are {', '.join(GRANTS)}.")
        except OAuthError as error:
            self.token_errors[error.code] += 1
            raise

    def _client(self, fields: Mapping[str, str], authorization: str | None, issuer: str) -> Client:
        """The client that proves to be asking; the assertion of a jwt-bearer grant is proof enough (RFC 7521 §4.1)."""
        if "client_assertion" in fields:
            return self._client_by_assertion(fields, authorization, issuer)
        alone = fields.get("grant_type") == JWT_BEARER and "client_secret" not in fields and authorization is None
        if alone:
            client = self.clients.get(str(unverified(required(fields, "assertion")).get("iss")))
            if client is None:
                raise OAuthError("invalid_grant", "The assertion's iss is no client of this server.")
            return client
        return authenticate(self.clients, fields, authorization)

    def _client_by_assertion(self, fields: Mapping[str, str], authorization: str | None, issuer: str) -> Client:
        if authorization is not None or "client_secret" in fields:
            raise OAuthError("invalid_request", "The client authenticates in two ways at once.")
        claimed = str(unverified(fields["client_assertion"]).get("iss"))
        client = self.clients.get(fields.get("client_id", claimed))
        if client is None:
            raise OAuthError("invalid_client", "The client is not known here.", status=401)
        check_method(client, "private_key_jwt")
        self.assertions.check_client(client, fields, audiences(issuer))
        return client

    def _client_credentials(
        self, client: Client, fields: Mapping[str, str], audience: tuple[str, ...]
    ) -> dict[str, Any]:
        scope = narrowed(fields.get("scope", ""), API_SCOPE)
        family = self.store.standing(client, client.client_id, API_SCOPE, "client_credentials")
        return self.store.issue(family, scope, audience)  # without a refresh token (RFC 6749 §4.4.3)

    def _jwt_bearer(
        self, client: Client, fields: Mapping[str, str], audience: tuple[str, ...], issuer: str
    ) -> dict[str, Any]:
        """RFC 7523 §2.1; the scope may be in the assertion, where some providers want it."""
        claims = self.assertions.check_grant(client, required(fields, "assertion"), audiences(issuer))
        scope = narrowed(fields.get("scope") or str(claims.get("scope", "")), API_SCOPE)
        family = self.store.standing(client, claims["sub"], API_SCOPE, "jwt_bearer")
        return self.store.issue(family, scope, audience)

    def _authorization_code(
        self, client: Client, fields: Mapping[str, str], issuer: str, claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        code = self.authorizations.redeem(client, fields, self.store)
        request = code.request
        code.family = self.store.start(client, DEMO_SUBJECT, request.scope, "authorization_code", request.audience)
        answer = self.store.rotate(code.family, request.scope)
        if OPENID in request.scope.split():
            answer["id_token"] = self._id_token(code, issuer, answer["expires_in"], claims)
        return answer

    def _id_token(self, code: Code, issuer: str, life_seconds: int, claims: Mapping[str, Any]) -> str:
        """OpenID Connect Core §2."""
        now, request = int(self.clock()), code.request
        own = {
            "iss": issuer,
            "sub": DEMO_SUBJECT,
            "aud": request.client.client_id,
            "exp": now + life_seconds,
            "iat": now,
        }
        return self.signer.sign(own | ({"nonce": request.nonce} if request.nonce else {}) | dict(claims))

    def revoke(self, form: Form, authorization: str | None, *, issuer: str = "") -> None:
        """RFC 7009: a refresh token ends its family, an access token itself; an unknown one is no error."""
        fields = single(form)
        client = self._client(fields, authorization, issuer)
        token = required(fields, "token")
        refresh_token = self.store.refresh_tokens.get(token)
        found = refresh_token or self.access_tokens.get(token)
        if found is not None and found.family.client.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The token was issued to another client.")
        if refresh_token is not None:
            self.store.end(refresh_token.family, "the client revoked it")
        self.access_tokens.pop(token, None)

    def end_family(self, family_id: str) -> bool:
        """Signs a family out, as a provider may at any time; False if there is none of this id."""
        found = [family for family in self.families if family.family_id == family_id]
        for family in found:
            self.store.end(family, "the provider ended it")
        return bool(found)

    def access(self, token: str) -> AccessToken | None:
        """What an access token stands for; None if it is unknown, expired or revoked."""
        return self.store.find(token)

    def stats(self) -> dict[str, Any]:
        """What happened so far, as JSON takes it; no secret is in it."""
        counted = {"token_requests": dict(self.token_requests), "token_errors": dict(self.token_errors)}
        return counted | self.store.stats()


def audiences(issuer: str) -> tuple[str, ...]:
    """What an assertion may name as its `aud`: the server, or its token endpoint (RFC 7523 §3)."""
    return issuer, f"{issuer}/oauth/token"


def claimed_client(fields: Mapping[str, str], authorization: str | None) -> str:
    """The client that a token request says it is from, proved or not."""
    if authorization is not None:
        try:
            return read_basic(authorization)[0]
        except OAuthError:
            return ""
    assertion = fields.get("client_assertion") or fields.get("assertion") or ""
    return fields.get("client_id") or str(unverified(assertion).get("iss", ""))
