"""The document is OpenAPI 3.1 in shape, has every route of the API in it, and says of each what the code does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from quart_app.web import ROUTES, openapi
from quart_app.web.openapi import template
from tests.web.conftest import Asker

API = [
    route for route in ROUTES if route.path.startswith(("/api/", "/healthz", "/readyz", "/metrics", "/_token_refresh"))
]
TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}


@pytest.fixture
def database_url() -> str:
    """SQLite only: the document is made from the code."""
    return ""


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi()["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def schemas_within(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON Schema in a piece of the document, examples and defaults left out."""
    if isinstance(value, dict):
        yield value
        for name, part in value.items():
            if name not in ("default", "examples", "const", "enum"):
                yield from schemas_within(part)
    elif isinstance(value, list):
        for part in value:
            yield from schemas_within(part)


def test_it_is_an_openapi_document() -> None:
    document = openapi()
    assert set(document) == {"openapi", "info", "paths", "components"}
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert {"title", "version"} <= set(document["info"])
    assert all(path.startswith("/") for path in document["paths"])


def test_every_route_of_the_api_is_in_it_and_nothing_else() -> None:
    assert {(method, path) for method, path, _ in operations()} == {
        (route.method, template(route.path)) for route in API
    }


def test_each_operation_has_a_name_of_its_own_a_summary_answers_and_its_parameters() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    for method, path, operation in operations():
        assert operation["summary"], path
        assert {"default"} < set(operation["responses"]), path
        for status, answer in operation["responses"].items():
            assert status == "default" or 200 <= int(status) < 300
            assert answer["description"]
        parameters = operation.get("parameters", [])
        placed = [(parameter["name"], parameter["in"]) for parameter in parameters]
        assert len(placed) == len(set(placed))
        assert {name for name, place in placed if place == "path"} == set(re.findall(r"\{(\w+)\}", path))
        assert all(parameter["required"] == (parameter["in"] == "path") for parameter in parameters)
        assert all("schema" in parameter for parameter in parameters)
        assert ("requestBody" in operation) <= (method in ("POST", "PATCH"))


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    document = openapi()
    schemas = document["components"]["schemas"]
    led_to = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert led_to == {f"#/components/schemas/{name}" for name in schemas}


def test_every_schema_is_json_schema_in_shape() -> None:
    for name, root in openapi()["components"]["schemas"].items():
        for schema in schemas_within(root):
            kind = schema.get("type")
            if isinstance(kind, str):
                assert kind in TYPES, name
            if isinstance(schema.get("required"), list):
                assert set(schema["required"]) <= set(schema.get("properties", {})), name


def test_who_may_ask_is_said_where_a_key_is_needed() -> None:
    rules = {(route.method, template(route.path)): route.rule for route in API}
    for method, path, operation in operations():
        assert (operation["security"] == []) == rules[method, path].public, path
    assert openapi()["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}


def test_the_form_of_every_body_is_said() -> None:
    forms = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition(
            "/"
        )[2]
        for _, _, operation in operations()
        if "requestBody" in operation
    }
    assert forms == {
        "post_sign_in": "SignInForm",
        "post_connection": "ConnectionForm",
        "patch_connection": "ConnectionChange",
        "post_webhook": "WebhookForm",
        "patch_webhook": "WebhookChange",
        "post_delivery": "DeliveryForm",
        "post_call": "CallForm",
        "post_replay": "CallChange",
        "post_batch": "BatchForm",
    }


def test_names_of_the_wire_are_those_of_the_document() -> None:
    schemas = openapi()["components"]["schemas"]
    assert {"json", "text", "form", "multipart", "base64"} <= set(schemas["CallForm"]["properties"])
    assert "in" in schemas["ApiKey"]["properties"]
    assert "json" in schemas["BodyView"]["properties"]


async def test_anyone_may_read_it(nobody: Asker) -> None:
    answer = await nobody.get("/api/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert await answer.get_json() == openapi()
