"""A real answer held against the shape that the document says."""

from quart_app.web.shapes.authorizations import AuthorizationView
from tests.browsing import code_grant
from tests.sandboxed import serving_sandbox
from tests.web.conftest import Asker


async def test_a_sign_in_that_was_begun_has_its_shape(program: Asker) -> None:
    async with serving_sandbox() as sandbox:
        await program.post("/api/connections", json=code_grant(sandbox))
        answer = await program.post("/api/connections/items/authorizations")
    AuthorizationView.model_validate_json(await answer.get_data(), strict=True)
