"""One class per table, in the order of `schema.sql`, which says what each column means."""

from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Json(TypeDecorator[Any]):
    """JSON kept as text, written and read by a C library; integers of any size stay whole."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else msgspec.json.decode(value)


Counter: Any = BigInteger().with_variant(Integer(), "sqlite")
Real: Any = Double().with_variant(sqlite.REAL(), "sqlite")


def partial_index(name: str, column: str, where: str) -> Index:
    return Index(name, column, sqlite_where=text(where), postgresql_where=text(where))


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it off the class, and no instance changes it
        str: Text(),
        float: Real,
        int: Integer(),
        bytes: LargeBinary(),
        bool: Boolean(),
        list[Any]: Json(),
        dict[str, Any]: Json(),
    }


class Installation(Base):
    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instance_id: Mapped[str]
    revision: Mapped[int]
    sealed_canary: Mapped[bytes]
    created_at: Mapped[float]
    sealed_fingerprint_key: Mapped[bytes | None]


class Connection(Base):
    __tablename__ = "connections"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    base_url: Mapped[str]
    tags: Mapped[list[Any]]
    metadata_json: Mapped[dict[str, Any]]
    auth: Mapped[dict[str, Any]]
    sealed_secrets: Mapped[bytes]
    headers: Mapped[dict[str, Any]]
    policy: Mapped[dict[str, Any]]
    tls: Mapped[dict[str, Any]]
    proxy: Mapped[dict[str, Any]]
    state: Mapped[str]
    state_reason: Mapped[str | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]


class Token(Base):
    __tablename__ = "tokens"
    connection_id: Mapped[str] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True)
    generation: Mapped[int]
    sealed_access_token: Mapped[bytes | None]
    sealed_refresh_token: Mapped[bytes | None]
    scope: Mapped[str | None]
    expires_at: Mapped[float | None]
    lifetime_seconds: Mapped[float | None]
    refreshed_at: Mapped[float | None]
    claim: Mapped[str | None]
    lease_until: Mapped[float | None]
    sent_at: Mapped[float | None]
    sealed_spare_refresh_token: Mapped[bytes | None]
    refresh_at: Mapped[float | None]
    refresh_expires_at: Mapped[float | None]
    signed_in_at: Mapped[float | None]
    signed_in_by: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    retry_at: Mapped[float | None]


class TokenExchange(Base):
    __tablename__ = "token_exchanges"
    id: Mapped[str] = mapped_column(primary_key=True)
    connection_id: Mapped[str]
    connection: Mapped[str]
    generation: Mapped[int]
    grant_type: Mapped[str]
    cause: Mapped[str]
    owner: Mapped[str]
    state: Mapped[str]
    failure: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    oddities: Mapped[list[Any]]
    skew_seconds: Mapped[float | None]
    claimed_at: Mapped[float]
    sent_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    __table_args__ = (
        Index("token_exchanges_by_connection", "connection_id", "id"),
        partial_index("token_exchanges_open", "owner", "state IN ('claimed', 'sent')"),
    )


class Authorization(Base):
    __tablename__ = "authorizations"
    state_hash: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    connection_id: Mapped[str] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    issuer: Mapped[str | None]
    redirect_uri: Mapped[str]
    nonce_hash: Mapped[str]
    sealed_verifier: Mapped[bytes]
    actor: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class Webhook(Base):
    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[Any]]
    allow_private: Mapped[bool]
    sealed_secret: Mapped[bytes]
    created_at: Mapped[float]


class Delivery(Base):
    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str]
    connection: Mapped[str]
    body: Mapped[str]
    state: Mapped[str]
    tries: Mapped[list[Any]]
    created_at: Mapped[float]
    next_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    __table_args__ = (
        partial_index("deliveries_due", "next_at", "state = 'pending'"),
        Index("deliveries_by_webhook", "webhook_id", "id"),
    )


class Body(Base):
    __tablename__ = "bodies"
    hash: Mapped[str] = mapped_column(primary_key=True)
    encoding: Mapped[str]
    content: Mapped[bytes]


class Call(Base):
    __tablename__ = "calls"
    number: Mapped[int] = mapped_column(Counter, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    connection_id: Mapped[str]
    connection: Mapped[str]
    origin: Mapped[str]
    actor: Mapped[str]
    owner: Mapped[str]
    replay_of: Mapped[str | None]
    method: Mapped[str]
    url: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    status: Mapped[int | None]
    started_at: Mapped[float]
    duration_seconds: Mapped[float | None]
    waited_seconds: Mapped[float]
    request_headers: Mapped[list[Any]]
    request_body: Mapped[str | None]
    request_size: Mapped[int | None] = mapped_column(BigInteger)
    request_media_type: Mapped[str | None]
    request_truncated: Mapped[bool]
    request_exact: Mapped[bool]
    response_headers: Mapped[list[Any] | None]
    response_body: Mapped[str | None]
    response_size: Mapped[int | None] = mapped_column(BigInteger)
    response_media_type: Mapped[str | None]
    response_truncated: Mapped[bool]
    response_sha256: Mapped[str | None]
    websocket: Mapped[dict[str, Any] | None]
    __mapper_args__ = {"primary_key": [id]}  # noqa: RUF012 - SQLAlchemy reads it off the class; calls are got by id
    __table_args__ = (
        Index("calls_by_connection", "connection", "id"),
        partial_index("calls_open", "owner", "state = 'sending'"),
    )


class SearchProgress(Base):
    __tablename__ = "search_progress"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    indexed_to: Mapped[int] = mapped_column(BigInteger)


class SearchLeftOut(Base):
    __tablename__ = "search_left_out"
    number: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=False)


class Attempt(Base):
    __tablename__ = "attempts"
    call_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[int | None]
    reason: Mapped[str | None]
    started_at: Mapped[float]
    duration_seconds: Mapped[float]
    waited_seconds: Mapped[float]
    wait_reason: Mapped[str | None]
    next_reason: Mapped[str | None]
    url: Mapped[str | None]
    dns_seconds: Mapped[float | None]
    connect_seconds: Mapped[float | None]
    tls_seconds: Mapped[float | None]
    first_byte_seconds: Mapped[float | None]
    transfer_seconds: Mapped[float | None]
    remote_address: Mapped[str | None]
    token_generation: Mapped[int | None]
    __table_args__ = ({"sqlite_with_rowid": False},)


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]


class SignInLink(Base):
    __tablename__ = "sign_in_links"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class SignIn(Base):
    __tablename__ = "sign_ins"
    cookie_hash: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    created_at: Mapped[float]
    expires_at: Mapped[float]
    user_agent: Mapped[str]


class Key(Base):
    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_hash: Mapped[str]
    scopes: Mapped[list[Any]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class AuditEntry(Base):
    __tablename__ = "audit_entries"
    number: Mapped[int] = mapped_column(Counter, primary_key=True)
    at: Mapped[float]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[str]
    hash: Mapped[str]
