"""Answers about webhooks, held against the shapes that the OpenAPI document is made from."""

from quart_app.services import Services
from quart_app.web.shapes.webhooks import DeliveryPage, DeliveryView, WebhookPage, WebhookSecretView, WebhookView
from tests.upstream import Upstream
from tests.web.conftest import Asker
from tests.webhooks.receiver import answering, send_beside, tell


async def test_answers_have_their_shapes_before_and_after_a_try(
    program: Asker, running: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(500)
    form = {"url": upstream.url, "allow_private": True}
    created = WebhookView.model_validate_json(await (await program.post("/api/webhooks", json=form)).get_data())
    assert created.secret.value is not None
    path = f"/api/webhooks/{created.id}"
    shown = WebhookView.model_validate_json(await (await program.get(path)).get_data(), strict=True)
    assert shown.secret.value is None
    renewed = await (await program.post(f"{path}/secrets")).get_data()
    assert WebhookSecretView.model_validate_json(renewed, strict=True).value is not None
    page = WebhookPage.model_validate_json(await (await program.get("/api/webhooks")).get_data(), strict=True)
    assert [item.id for item in page.items] == [created.id]
    asked = await (await program.post(f"{path}/deliveries")).get_data()
    assert DeliveryView.model_validate_json(asked, strict=True).tries == []
    await tell(running)
    await send_beside(running, created.id)
    listed = await (await program.get(f"{path}/deliveries")).get_data()
    deliveries = DeliveryPage.model_validate_json(listed, strict=True).items
    assert {item.event for item in deliveries} == {"needs_sign_in", "test"}
