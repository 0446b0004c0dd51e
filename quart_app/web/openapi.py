"""`/api/openapi.json` (OpenAPI 3.1), made once from the URL map: what a route takes and gives is read off its view."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from quart_app.web.access import Rule
from quart_app.web.shapes import Problem

DESCRIBED = ("/api/", "/healthz", "/readyz", "/metrics", "/_token")
REF = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Route:
    """One line of the URL map. `gives` is the shape of the answer, None where it is not JSON.

    `takes` is the form of a body that the view reads itself, which `takes_nothing` lets be absent.
    """

    method: str
    path: str
    view: Callable[..., Any]
    rule: Rule
    gives: type[BaseModel] | None = None
    status: int = 200
    media: str = "application/json"
    query: tuple[str, ...] = ()
    takes: type[BaseModel] | None = None
    takes_nothing: bool = False

    @property
    def form(self) -> type[BaseModel] | None:
        """The form that the view wants filled in from the request's body."""
        parameter = inspect.signature(self.view, eval_str=True).parameters.get("form")
        return parameter.annotation if parameter else None

    @property
    def summary(self) -> str:
        first = (inspect.getdoc(self.view) or self.view.__name__.replace("_", " ")).partition("\n")[0]
        return first.rstrip(".")


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    described = [route for route in routes if route.path.startswith(DESCRIBED)]
    models = {model for route in described for model in (route.gives, route.takes or route.form, Problem) if model}
    modes: Any = [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)]
    _, schemas = models_json_schema(modes, ref_template=REF)
    paths: dict[str, Any] = {}
    for route in described:
        paths.setdefault(template(route.path), {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Switchboard", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def tag(path: str) -> str:
    """The noun of a route."""
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "api" and len(parts) > 1 and "." not in parts[1] else "operations"


def template(path: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def operation(route: Route) -> dict[str, Any]:
    fault = {"description": "What is wrong", "content": {"application/problem+json": {"schema": ref(Problem)}}}
    answer: dict[str, Any] = {"description": "Done"}
    if route.gives:
        answer["content"] = {route.media: {"schema": ref(route.gives)}}
    elif route.status != 204:
        answer["content"] = {route.media: {}}
    made: dict[str, Any] = {
        "operationId": route.view.__name__,
        "tags": [tag(route.path)],
        "summary": route.summary,
        "responses": {str(route.status): answer, "default": fault},
        "security": [] if route.rule.public else [{"key": []}],
    }
    parameters = [parameter(name, "path") for name in re.findall(r"<(?:\w+:)?(\w+)>", route.path)]
    parameters += [parameter(name, "query") for name in route.query]
    if parameters:
        made["parameters"] = parameters
    form = route.takes or route.form
    if form:
        content = {"application/json": {"schema": ref(form)}}
        made["requestBody"] = {"required": not route.takes_nothing, "content": content}
    return made


def ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
