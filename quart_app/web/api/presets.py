"""Presets: the catalogue of well-known APIs that a connection can be begun from."""

from quart import Response, request

from quart_app.errors import Fault, Invalid
from quart_app.forms import presets
from quart_app.web.bodies import answer

PARAMETERS = ("q",)


async def get_presets() -> Response:
    """List presets by title; with `q` those whose title, aliases or id have it in them, the closest first."""
    faults: list[Fault] = [
        {"pointer": f"/{name[:64]}", "detail": "unknown parameter"} for name in request.args if name not in PARAMETERS
    ]
    if faults:
        raise Invalid("invalid_query", "The query has faults; each is listed.", faults, status=422)
    found = presets.search(request.args.get("q", ""))
    return answer({"items": [presets.listed(preset) for preset in found], "next": None})


async def get_preset(preset_id: str) -> Response:
    """Show a preset: what a connection to this API is made of, and what has to be known of it."""
    return answer(presets.view(presets.find(preset_id)))
