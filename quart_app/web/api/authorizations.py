"""Authorizations: sign-ins at a provider, begun for a browser to finish."""

from urllib.parse import urlsplit

from quart import Response, request

from quart_app import authorizations
from quart_app.accounts import Who
from quart_app.errors import AppError
from quart_app.instants import instant
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.web.bodies import answer
from quart_app.web.oauth import set_flow_cookie


async def post_authorization(services: Services, who: Who, name: str) -> Response:
    """Begin a sign-in at the provider; the browser that goes to `authorize_url` must have this answer's cookie."""
    check_page(services.settings, request.headers.get("Origin", ""))
    begun = await authorizations.begin(services, name, actor=who.actor)
    view = {
        "authorize_url": begun.authorize_url,
        "redirect_uri": begun.redirect_uri,
        "expires_at": instant(begun.expires_at),
    }
    response = answer(view, 201)
    set_flow_cookie(response, services.settings, name, begun.state, begun.browser)
    return response


def check_page(settings: Settings, origin: str) -> None:
    """A page at another name of this server would set a cookie that does not come back to the redirect URI's name."""
    if origin and urlsplit(origin).hostname != urlsplit(settings.own_url).hostname:
        detail = f"Providers send browsers back to {settings.own_url}, where this page's cookie would not go: open "
        detail += "Switchboard there, or set public_url to the address that you use."
        raise AppError(409, "other_address", detail)
