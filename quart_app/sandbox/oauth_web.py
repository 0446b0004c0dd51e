"""The OAuth server's URLs: forms and queries in, an AuthorizationServer behind, JSON and pages out."""

import asyncio
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from quart import Response, jsonify, render_template, request
from quart.typing import ResponseReturnValue

from quart_app.sandbox.oauth import GRANTS, AuthorizationServer
from quart_app.sandbox.protocol import SCOPES, Form, OAuthError, redirect_to
from quart_app.sandbox.wire import empty, whole_body

BROWSER_COOKIE = "sandbox_browser"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# without form-action: browsers apply it to the redirect that follows the form, which may go to any client
CSP = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
PAGE = {**NO_STORE, "Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer"}


class OAuthWeb:
    """`public_url` is the issuer; empty means what each request was addressed to.

    `token_delay_seconds`: how long the token endpoint holds its answer back after it has rotated.
    """

    def __init__(self, server: AuthorizationServer, *, token_delay_seconds: float, public_url: str) -> None:
        self.server = server
        self.token_delay_seconds = token_delay_seconds
        self.public_url = public_url.rstrip("/")

    @property
    def issuer(self) -> str:
        return self.public_url or request.host_url.rstrip("/")

    async def get_authorization(self) -> ResponseReturnValue:
        """The consent page, or a redirect with the error (RFC 6749 §4.1.2.1)."""
        browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
        query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
        try:
            transaction_id = self.server.begin(query, browser)
        except OAuthError as error:
            return await self.refused(error)
        waiting = self.server.transactions[transaction_id]
        page = await render_template(
            "consent.html",
            client=waiting.client.name or waiting.client.client_id,
            scopes=[SCOPES[word] for word in waiting.scope.split()],
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
            target = self.server.decide(
                fields.get("transaction", ""),
                request.cookies.get(BROWSER_COOKIE, ""),
                approve=fields["decision"] == "approve",
                issuer=self.issuer,
            )
        except OAuthError as error:
            return await self.refused(error)
        return sent_to(target)

    async def refused(self, error: OAuthError) -> Response:
        if error.redirect_uri:
            fields = {"error": error.code, "error_description": error.description}
            return sent_to(redirect_to(error.redirect_uri, fields, error.state, self.issuer))
        return Response(await render_template("refused.html", detail=error.description), 400, PAGE)

    async def post_token(self) -> ResponseReturnValue:
        """RFC 6749 §5. The delay follows the rotation: whoever hangs up meanwhile has lost the answer."""
        try:
            answer = self.server.token(await read_form(), request.headers.get("Authorization"))
        except OAuthError as error:
            return said(error)
        await asyncio.sleep(self.token_delay_seconds)
        return jsonify(answer), 200, NO_STORE

    async def post_revocation(self) -> ResponseReturnValue:
        """RFC 7009 §2."""
        try:
            self.server.revoke(await read_form(), request.headers.get("Authorization"))
        except OAuthError as error:
            return said(error)
        return "", 200, NO_STORE

    async def get_metadata(self) -> dict[str, Any]:
        """RFC 8414 §2."""
        methods = ["client_secret_basic", "client_secret_post"]
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/oauth/authorize",
            "token_endpoint": f"{self.issuer}/oauth/token",
            "revocation_endpoint": f"{self.issuer}/oauth/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(GRANTS),
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    async def get_stats(self) -> ResponseReturnValue:
        """Counts of token requests and errors, reuse detections, and the families with their generations."""
        return jsonify(self.server.stats()), 200, NO_STORE


async def read_form() -> Form:
    """The body's form fields in order; OAuthError if it is not a form in UTF-8 (RFC 6749 appendix B)."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send the parameters as application/x-www-form-urlencoded.")
    try:
        body = (await whole_body()).decode()
        return parse_qsl(body, keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None


def said(error: OAuthError) -> Response:
    """RFC 6749 §5.2; who tried the Authorization header is told the scheme to use."""
    response = jsonify({"error": error.code, "error_description": error.description})
    response.status_code = error.status
    response.headers.update(NO_STORE)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="sandbox"'
    return response


def sent_to(target: str) -> Response:
    return empty(303, {**PAGE, "Location": target})
