"""A browser's session: begun by a link, ended by signing out."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from quart import Response, request

from quart_app import accounts
from quart_app.accounts import Who
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.web.access import cookie_name
from quart_app.web.bodies import answer


class SignInForm(BaseModel):
    """The token of a sign-in link."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    token: Annotated[str, Field(min_length=1, max_length=200, repr=False)]


async def post_sign_in(services: Services, form: SignInForm) -> Response:
    """Use a link up and sign this browser in."""
    agent = request.headers.get("User-Agent", "")
    cookie, name = await accounts.sign_in(services, form.token, agent)
    response = answer({"account": {"name": name}}, 201)
    set_cookie(response, services.settings, cookie, services.settings.sign_in_hours * 3600)
    return response


async def get_sign_in(who: Who) -> Response:
    """Who is signed in."""
    return answer({"account": {"name": who.name}})


async def delete_sign_in(services: Services) -> Response:
    """Sign this browser out."""
    await accounts.sign_out(services, request.cookies.get(cookie_name(services.settings), ""))
    response = Response("", 204)
    set_cookie(response, services.settings, "", 0)
    return response


def set_cookie(response: Response, settings: Settings, value: str, seconds: int) -> None:
    name = cookie_name(settings)
    secure = name.startswith("__Host-")
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Strict", path="/", secure=secure)
