"""What comes out of the presets."""

from typing import Annotated, Literal

from pydantic import Field

from quart_app.forms.presets import Preset
from quart_app.web.shapes.common import Shape

Way = Literal[
    "none", "api_key", "basic", "bearer",
    "client_credentials", "authorization_code", "refresh_token", "jwt_bearer",
]  # fmt: skip
"""How one signs in: the scheme of auth, or the grant where it is OAuth 2."""


class PresetItem(Shape):
    id: str
    title: str
    aliases: list[str]
    way: Way


class PresetPage(Shape):
    """All of them at once: `next` is always null."""

    items: list[PresetItem]
    next: None


class PresetView(Preset):
    """A preset whole. `{name}` in its texts stands for a variable, `{client_id}` for the client ID of auth.

    `auth` lacks the credentials. `rotates`: whether a refresh ends the refresh token that it spends; null: not known.
    """

    way: Annotated[Way, Field(description="the scheme of auth, or the grant where it is oauth2")]
