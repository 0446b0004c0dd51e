"""Who is asking: a Bearer token of the sandbox's own OAuth server, Basic, or the API key."""

from dataclasses import asdict, dataclass, field
from typing import Any

from quart import Request, g, request
from quart.typing import ResponseReturnValue

from quart_app.sandbox.keys import new_private_key
from quart_app.sandbox.oauth import AuthorizationServer
from quart_app.sandbox.protocol import API_SCOPE, same
from quart_app.sandbox.wire import Problem, raw_headers

API_KEY_HEADER = "X-Api-Key"
API_KEY_QUERY = "api_key"
API_KEY_COOKIE = "api_key"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a caller of the sandbox can sign in with; every value is a plain string.

    `private_key` (PEM) is the client's, to sign assertions with; unless given it is another in every process.
    """

    client_id: str = "sandbox-client"
    client_secret: str = field(default="sandbox-client-secret", repr=False)
    private_key: str = field(default_factory=new_private_key, repr=False)
    refresh_token: str = field(default="sandbox-first-refresh-token", repr=False)
    api_key: str = field(default="sandbox-api-key", repr=False)
    username: str = "sandbox-user"
    password: str = field(default="sandbox-password", repr=False)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`scheme`: bearer, basic or api_key; `via`: header, query or cookie; only tokens say more than that.

    `aud` is for whom a token was asked, by `resource` and `audience` (RFC 9068 §2.2).
    """

    scheme: str
    via: str
    subject: str
    scope: str = API_SCOPE
    aud: tuple[str, ...] = ()
    client_id: str | None = None
    family_id: str | None = None
    generation: int | None = None


class Access:
    def __init__(self, credentials: Credentials, server: AuthorizationServer) -> None:
        self.credentials = credentials
        self.server = server

    async def check(self) -> None:
        """A `before_request` hook: under /v1 only with a credential; puts the Caller into `g.caller`."""
        rule = request.url_rule.rule if request.url_rule else request.path
        if rule.startswith("/v1/"):  # the rule, because routing takes //v1/items for /v1/items
            g.caller = self.identify(request)

    def identify(self, request: Request) -> Caller:
        """The caller; an Authorization header outranks API keys. Problem 401 as RFC 6750 §3 has it."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.bearer(value.strip())
        if scheme.lower() == "basic":
            return self.basic(request)
        places = {
            "header": request.headers.get(API_KEY_HEADER),
            "query": request.args.get(API_KEY_QUERY),
            "cookie": request.cookies.get(API_KEY_COOKIE),
        }
        given = {via: key for via, key in places.items() if key is not None}
        for via, key in given.items():
            if same(key, self.credentials.api_key):
                return Caller(scheme="api_key", via=via, subject="api-key")
        if given:
            raise unauthorized('Bearer error="invalid_token"', "The API key is not right.")
        raise unauthorized('Bearer error="invalid_token"', "Send a Bearer token, Basic credentials or an API key.")

    def bearer(self, token: str) -> Caller:
        found = self.server.access(token)
        if found is None:
            detail = "The access token is unknown, expired or revoked."
            raise unauthorized(f'Bearer error="invalid_token", error_description="{detail}"', detail)
        return Caller(
            scheme="bearer",
            via="header",
            subject=found.family.subject,
            scope=found.scope,
            aud=found.audience,
            client_id=found.family.client.client_id,
            family_id=found.family.family_id,
            generation=found.generation,
        )

    def basic(self, request: Request) -> Caller:
        given = request.authorization
        user, password = (given.username or "", given.password or "") if given else ("", "")
        right_user = same(user, self.credentials.username)
        if not (same(password, self.credentials.password) and right_user):
            raise unauthorized('Basic realm="sandbox", charset="UTF-8"', "The user or password is not right.")
        return Caller(scheme="basic", via="header", subject=user)

    async def get_demo_key(self) -> ResponseReturnValue:
        """The demo client's private key (PEM), to sign assertions with: it guards toys only."""
        return (
            self.credentials.private_key,
            200,
            {"Cache-Control": "no-store", "Content-Type": "application/x-pem-file"},
        )


def unauthorized(challenge: str, detail: str) -> Problem:
    return Problem(401, "Unauthorized", detail, headers={"WWW-Authenticate": challenge})


def require(scope: str) -> None:
    """Problem 403 unless the caller's scope holds `scope` (RFC 6750 §3.1)."""
    if scope not in g.caller.scope.split():
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        detail = f"The token does not carry the scope {scope}."
        raise Problem(403, "Forbidden", detail, headers={"WWW-Authenticate": challenge})


async def get_whoami() -> dict[str, Any]:
    """The Caller, and the header fields it sent with every credential in them blotted out."""
    return {**asdict(g.caller), "headers": [[name, blotted(name, value)] for name, value in raw_headers()]}


def blotted(name: str, value: str) -> str:
    match name.lower():
        case "authorization" | "proxy-authorization":
            return f"{value.partition(' ')[0]} …"
        case "cookie":
            return "; ".join(f"{pair.partition('=')[0].strip()}=…" for pair in value.split(";"))
        case "x-api-key":
            return "…"
    return value
