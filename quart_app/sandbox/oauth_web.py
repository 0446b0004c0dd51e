"""The OAuth server's URLs: forms and queries in, an AuthorizationServer behind, JSON and pages out."""

import secrets
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from quart import Response, jsonify, render_template, request
from quart.typing import ResponseReturnValue

from quart_app.sandbox.catalogue import CATALOGUE
from quart_app.sandbox.discovery import metadata
from quart_app.sandbox.oauth import AuthorizationServer, claimed_client
from quart_app.sandbox.protocol import SCOPE_TEXTS, Form, OAuthError
from quart_app.sandbox.stage import Stage
from quart_app.sandbox.tricks import PLAIN, Answer, Trick, read_tricks
from quart_app.sandbox.wire import Problem, empty, json_object, whole_body

BROWSER_COOKIE = "sandbox_browser"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# without form-action: browsers apply it to the redirect that follows the form, which may go to any client
CSP = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
PAGE = {**NO_STORE, "Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer"}


class OAuthWeb:
    """`public_url` is the issuer; empty means what each request was addressed to.

    `token_delay_seconds`: how long the token endpoint holds its answer back after it has rotated.
    """

    def __init__(
        self, server: AuthorizationServer, stage: Stage, *, token_delay_seconds: float, public_url: str
    ) -> None:
        self.server = server
        self.stage = stage
        self.token_delay_seconds = token_delay_seconds
        self.public_url = public_url.rstrip("/")

    @property
    def issuer(self) -> str:
        return self.public_url or request.host_url.rstrip("/")

    async def get_authorization(self) -> ResponseReturnValue:
        """The consent page or, where nobody is asked, the redirect; errors as RFC 6749 §4.1.2.1 has them."""
        browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
        query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
        try:
            transaction_id = self.server.authorizations.begin(query, browser)
            if self.server.authorizations.auto_approve:
                return await self.decided(transaction_id, browser, approve=True)
        except OAuthError as error:
            return await self.refused(error)
        waiting = self.server.authorizations.transactions[transaction_id]
        page = await render_template(
            "consent.html",
            client=waiting.client.name or waiting.client.client_id,
            scopes=[SCOPE_TEXTS[word] for word in waiting.scope.split()],
            destination=urlsplit(waiting.redirect_uri).netloc,
            transaction=transaction_id,
        )
        response = Response(page, headers=PAGE)
        response.set_cookie(BROWSER_COOKIE, browser, httponly=True, samesite="Lax", path="/oauth")
        return response

    async def post_authorization(self) -> ResponseReturnValue:
        """The person's decision; a transaction counts once, and only from the browser that was asked."""
        try:
            fields = dict(await read_form())
            if fields.get("decision") not in ("approve", "deny"):
                raise OAuthError("invalid_request", "The decision is neither approve nor deny.")
            browser, approve = request.cookies.get(BROWSER_COOKIE, ""), fields["decision"] == "approve"
            return await self.decided(fields.get("transaction", ""), browser, approve=approve)
        except OAuthError as error:
            return await self.refused(error)

    async def decided(self, transaction_id: str, browser: str, *, approve: bool) -> Response:
        waiting, fields = self.server.authorizations.decide(transaction_id, browser, approve=approve)
        answer = self.redirect(waiting.redirect_uri, waiting.state, fields)
        trick = self.server.tricks.take("authorization", waiting.client.client_id)
        return await self.stage.perform(trick, lambda: answer)

    async def refused(self, error: OAuthError) -> Response:
        if error.redirect_uri:
            answer = self.redirect(error.redirect_uri, error.state, error.fields())
            return self.stage.response(PLAIN, answer)
        return Response(await render_template("refused.html", detail=error.description), 400, PAGE)

    def redirect(self, redirect_uri: str, state: str, fields: dict[str, str]) -> Answer:
        """An answer that goes to the client, with `state` where there was one, and `iss` (RFC 9207 §2)."""
        named = {**fields, **({"state": state} if state else {}), "iss": self.issuer}
        return Answer(named, 303, PAGE, redirect_uri)

    async def post_token(self) -> ResponseReturnValue:
        """RFC 6749 §5. The delay follows the rotation: whoever hangs up meanwhile has lost the answer."""
        authorization = request.headers.get("Authorization")
        try:
            form = await read_form()
        except OAuthError as error:
            return self.stage.response(PLAIN, said(error))
        trick = self.server.receive(form, authorization)
        act = partial(self.token, form, authorization, trick)
        return await self.stage.perform(trick, act, delay_seconds=self.token_delay_seconds)

    def token(self, form: Form, authorization: str | None, trick: Trick) -> Answer:
        try:
            answer = self.server.token(form, authorization, issuer=self.issuer, claims=trick.claims)
        except OAuthError as error:
            return said(error)
        return Answer(answer, headers=NO_STORE)

    async def post_revocation(self) -> ResponseReturnValue:
        """RFC 7009 §2."""
        try:
            form = await read_form()
        except OAuthError as error:
            return self.stage.response(PLAIN, said(error))
        authorization = request.headers.get("Authorization")
        trick = self.server.tricks.take("revocation", claimed_client(dict(form), authorization))
        return await self.stage.perform(trick, partial(self.revoke, form, authorization))

    def revoke(self, form: Form, authorization: str | None) -> Answer:
        try:
            self.server.revoke(form, authorization, issuer=self.issuer)
        except OAuthError as error:
            return said(error)
        return Answer(headers=NO_STORE)

    async def get_metadata(self) -> ResponseReturnValue:
        """RFC 8414 §3, OpenID Connect Discovery §4."""
        found = metadata(self.issuer)
        return await self.stage.perform(self.server.tricks.take("metadata"), lambda: Answer(found))

    async def get_jwks(self) -> ResponseReturnValue:
        """The keys that ID tokens are signed with (RFC 7517 §5)."""
        return await self.stage.perform(self.server.tricks.take("jwks"), lambda: Answer(self.server.signer.jwks()))

    async def get_stats(self) -> ResponseReturnValue:
        """Counts of token requests and errors, reuse detections, and the families with their generations."""
        return jsonify(self.server.stats()), 200, NO_STORE

    async def delete_family(self, family_id: str) -> ResponseReturnValue:
        """Signs a family out, as a provider may at any time."""
        if not self.server.end_family(family_id):
            raise Problem(404, "Not Found", "There is no family of this id; GET /oauth/stats lists them.")
        return empty(204)

    async def get_tricks(self) -> ResponseReturnValue:
        """What is to be played, and the catalogue."""
        catalogue = {name: entry.says for name, entry in CATALOGUE.items()}
        return {"tricks": self.server.tricks.view(), "catalogue": catalogue}, 200, NO_STORE

    async def put_tricks(self) -> ResponseReturnValue:
        """These tricks from now on, and no others; Problem 422 names every fault."""
        tricks, faults = read_tricks(await json_object())
        if faults:
            raise Problem(422, "Unprocessable Content", "The tricks are not right.", errors=faults)
        self.server.tricks.put(tricks)
        return {"tricks": self.server.tricks.view()}, 200, NO_STORE

    async def delete_tricks(self) -> ResponseReturnValue:
        """From now on the server behaves."""
        self.server.tricks.clear()
        return empty(204)


async def read_form() -> Form:
    """The body's form fields in order; OAuthError if it is not a form in UTF-8 (RFC 6749 appendix B)."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send the parameters as application/x-www-form-urlencoded.")
    try:
        body = (await whole_body()).decode()
        return parse_qsl(body, keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None


def said(error: OAuthError) -> Answer:
    """RFC 6749 §5.2; who tried the Authorization header is told the scheme to use."""
    challenge = {"WWW-Authenticate": 'Basic realm="sandbox"'} if error.status == 401 else {}
    return Answer(error.fields(), error.status, {**NO_STORE, **challenge})
