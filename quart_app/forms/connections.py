"""Connections as they are given: what a form may hold, and what a change makes of the one before."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from quart_app.errors import Fault, Invalid
from quart_app.outbound.auth import Auth, NoAuth, OAuth2, Scheme
from quart_app.outbound.egress import Egress, advice
from quart_app.outbound.headers import HOP_BY_HOP, header_name, header_value, normal
from quart_app.outbound.oauth.form import is_safe
from quart_app.outbound.target import Policy
from quart_app.outbound.urls import parse_base
from quart_app.outbound.ways import Proxy, Tls

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
DIALLED = ("token_url", "issuer", "revocation_url")
"""Where a connection's OAuth secrets are sent, beside what its issuer names."""
READ_ONLY = ("id", "state_reason", "redirect_uri", "created_at", "updated_at")
SECRET_FIELDS = frozenset(name for kind in Scheme.__subclasses__() for name in kind.SECRETS)
DIALLED = ("token_url", "issuer", "revocation_url")
State = Literal["ready", "needs_sign_in", "config_error", "paused"]
TABLE = Egress()
KEPT = "kept"
"""Context of a validation: this connection is in the database, and its addresses are judged when they are dialled."""


def base_url(text: str, info: ValidationInfo) -> str:
    parse_base(text)
    check_address(text, info, allow_private=True)
    return text


def check_address(url: str, info: ValidationInfo, *, allow_private: bool) -> None:
    """What egress says of a URL as it stands; what its name resolves to shows when it is dialled."""
    rule, host, port = egress_rule(url, info, allow_private=allow_private)
    if rule:
        raise denied(f"egress rule {rule}: this address may not be reached; {advice(rule, host, port)}")


def egress_rule(url: str, info: ValidationInfo, *, allow_private: bool) -> tuple[str | None, str, int]:
    """The rule that a URL breaks, its host and its port. The validation's context is the Egress to go by, or KEPT."""
    egress = TABLE if info.context is None else info.context
    parts = urlsplit(url)
    host, port = (
        parse_base(url.partition("?")[0]).host.strip("[]"),
        parts.port or {"http": 80, "https": 443}[parts.scheme],
    )
    rule = egress.target_rule(host, port, allow_private=allow_private) if isinstance(egress, Egress) else None
    return rule, host, port


def denied(text: str, within: str = "") -> PydanticCustomError:
    return PydanticCustomError("egress_denied", "{text}", {"text": text, "within": within})


def own_header(name: str) -> str:
    lowered = normal(header_name(name).encode())
    if lowered in HOP_BY_HOP or lowered in (b"host", b"content-length", b"authorization", b"cookie", b"via"):
        raise PydanticCustomError("invalid_header_name", "is set by Switchboard or by auth")
    return name


OwnName = Annotated[str, AfterValidator(own_header)]


class ConnectionForm(BaseModel):
    """A connection as it is given; what is read-only in an answer may be sent back and is ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    title: Annotated[str, Field(max_length=200)] = ""
    base_url: Annotated[str, Field(max_length=2048), AfterValidator(base_url)]
    tags: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=32)] = []
    metadata: dict[str, Any] = {}
    auth: Auth = NoAuth()
    headers: Annotated[dict[OwnName, Annotated[str, AfterValidator(header_value)]], Field(max_length=50)] = {}
    policy: Annotated[Policy, Field(validate_default=True)] = Policy()
    tls: Tls = Tls()
    proxy: Proxy | None = None
    state: State | None = None

    @model_validator(mode="before")
    @classmethod
    def ignore_read_only(cls, given: Any) -> Any:
        return {k: v for k, v in given.items() if k not in READ_ONLY} if isinstance(given, dict) else given

    @field_validator("auth")
    @classmethod
    def check_endpoints(cls, auth: Scheme, info: ValidationInfo) -> Scheme:
        """The endpoints that are dialled from here; a private address of one shows when it is.

        Not `authorize_url`, which only a browser goes to.
        """
        for name in DIALLED if isinstance(auth, OAuth2) else ():
            url = getattr(auth, name)
            rule, host, port = egress_rule(url, info, allow_private=True) if url else (None, "", 0)
            if rule:
                raise denied(f"egress rule {rule}: this may not be reached; {advice(rule, host, port)}", f"/{name}")
        return auth

    @field_validator("policy")
    @classmethod
    def check_private(cls, policy: Policy, info: ValidationInfo) -> Policy:
        """Beside the policy's own faults and the others, so that a person learns of all at once."""
        given = info.data.get("base_url")
        if given is not None:
            rule, _, _ = egress_rule(given, info, allow_private=policy.allow_private)
            if rule:
                text = f"egress rule {rule}: the base URL is inside your network; set this to true to allow it"
                raise denied(text, "/allow_private")
        auth = info.data.get("auth")
        if isinstance(auth, OAuth2) and info.context != KEPT and not policy.allow_private:
            plain = [name for name in DIALLED if (url := getattr(auth, name)) and not is_safe(url)]
            if plain:
                where = "use https, or set this to true if it is inside your network"
                raise denied(f"{' and '.join(plain)} would get secrets in clear: {where}", "/allow_private")
        return policy

    @field_validator("proxy")
    @classmethod
    def check_proxy(cls, proxy: Proxy | None, info: ValidationInfo) -> Proxy | None:
        """The proxy is what is dialled, so its own address must be allowed as well."""
        if proxy is not None:
            policy = info.data.get("policy") or Policy(allow_private=True)  # whose fault is told already
            rule, host, port = egress_rule(proxy.url, info, allow_private=policy.allow_private)
            if rule:
                raise denied(f"egress rule {rule}: the proxy may not be reached; {advice(rule, host, port)}", "/url")
        return proxy


class ConnectionChange(BaseModel):
    """Any part of a connection; a secret of the same auth, TLS or proxy may be left out to keep it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    title: str | None = None
    base_url: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    auth: Annotated[dict[str, Any] | None, Field(repr=False)] = None
    headers: dict[str, str] | None = None
    policy: dict[str, Any] | None = None
    tls: Annotated[dict[str, Any] | None, Field(repr=False)] = None
    proxy: Annotated[dict[str, Any] | None, Field(description="null takes the proxy away", repr=False)] = None
    state: Literal["ready", "paused"] | None = None


def merged(before: dict[str, Any], change: dict[str, Any], name: str) -> dict[str, Any]:
    """The form of the connection that a change would make; both have secrets in clear."""
    given = {key: value for key, value in change.items() if key != "state" and value is not None}
    result = before | given | {"name": name}
    if isinstance(given.get("policy"), dict):
        result["policy"] = before["policy"] | given["policy"]
    if isinstance(given.get("auth"), dict):
        result["auth"] = merged_auth(before["auth"], given["auth"])
    if isinstance(given.get("tls"), dict):
        result["tls"] = merged_tls(before["tls"], without_shown(given["tls"]))
    if "proxy" in change:
        result["proxy"] = change["proxy"] and (before["proxy"] or {}) | without_shown(change["proxy"])
    return result


def merged_auth(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    kept = without_shown(given)
    if given.get("scheme", before["scheme"]) == before["scheme"]:
        secrets = {key: before[key] for key in SECRET_FIELDS if key in before}
        check_moved(before, kept, secrets)
        kept = {"scheme": before["scheme"]} | secrets | kept
    return kept


def check_moved(before: dict[str, Any], given: dict[str, Any], secrets: dict[str, str]) -> None:
    """A secret was given for one place and goes to no other unseen. Raises Invalid for each that must be given anew."""
    known = {origin(before.get(name)) for name in DIALLED}
    moved = [name for name in DIALLED if given.get(name) and origin(given[name]) not in known]
    missing = sorted(name for name in secrets if secrets[name] and not given.get(name))
    if moved and missing:
        detail = f"must be given anew, because {' and '.join(moved)} leads to another host now"
        faults: list[Fault] = [{"pointer": f"/auth/{name}", "detail": detail} for name in missing]
        raise Invalid("invalid_input", "What was kept in secret does not follow to another host.", faults, status=422)


def origin(url: Any) -> tuple[str, str | None, int | None] | None:
    """RFC 6454 §4; None for what is no URL, whose fault is told elsewhere."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except (TypeError, ValueError, AttributeError):
        return None


def merged_tls(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A certificate that is taken away takes its key along."""
    gone = {"key": None} if "certificate" in given and given["certificate"] is None else {}
    return before | gone | given


def without_shown(given: dict[str, Any]) -> dict[str, Any]:
    """A part without secrets as answers show them: `{"set": true, …}` that is sent back keeps the secret."""
    return {key: value for key, value in given.items() if not (isinstance(value, dict) and "set" in value)}


def changed_fields(before: ConnectionForm, after: ConnectionForm) -> list[str]:
    """The names of fields that differ, never values: `title`, `policy.attempts`, `tls.key`."""
    names: list[str] = []
    for name in ConnectionForm.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new or name == "state":
            continue
        if type(old) is type(new) and isinstance(old, BaseModel):
            names += [f"{name}.{part}" for part in type(old).model_fields if getattr(old, part) != getattr(new, part)]
        else:
            names.append(name)
    return names


def loosened(before: ConnectionForm | None, after: ConnectionForm) -> list[str]:
    """What a change does to the checks on a connection's calls; a new one starts with all of them on."""
    verified = before is None or before.tls.verify
    private = before is not None and before.policy.allow_private
    actions = []
    if verified != after.tls.verify:
        actions.append("verification_turned_on" if after.tls.verify else "verification_turned_off")
    if private != after.policy.allow_private:
        actions.append("allow_private_turned_on" if after.policy.allow_private else "allow_private_turned_off")
    return actions
