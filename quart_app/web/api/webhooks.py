"""Webhooks: add, change, remove, test; what became of each delivery."""

from pydantic import ValidationError
from quart import Response, request
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import webhooks
from quart_app.accounts import Who
from quart_app.forms import invalid_input, validate
from quart_app.forms.webhooks import DeliveryForm, WebhookChange, WebhookForm
from quart_app.services import Services
from quart_app.web.api import pages
from quart_app.web.bodies import answer, read_json
from quart_app.webhooks import deliveries


async def get_webhooks(services: Services, session: AsyncSession) -> Response:
    """List webhooks, newest first."""
    limit, after, _ = pages.wanted(request.args)
    rows = await webhooks.page(session, limit=limit, after=after)
    items = [webhooks.view(services, row) for row in rows]
    return answer(pages.page(items, limit, rows[-1].id if rows else None))


async def post_webhook(services: Services, who: Who, form: WebhookForm) -> Response:
    """Add a webhook; the answer has its secret, which is not shown again."""
    row, secret = await webhooks.create(services, form, actor=who.actor)
    return answer(webhooks.view(services, row, secret), 201, {"Location": f"/api/webhooks/{row.id}"})


async def get_webhook(services: Services, session: AsyncSession, webhook_id: str) -> Response:
    """Show a webhook."""
    return answer(webhooks.view(services, await webhooks.find(session, webhook_id)))


async def patch_webhook(services: Services, who: Who, form: WebhookChange, webhook_id: str) -> Response:
    """Change parts of a webhook."""
    try:
        row = await webhooks.update(services, webhook_id, form.model_dump(exclude_unset=True), actor=who.actor)
    except ValidationError as error:
        raise invalid_input(error, WebhookForm) from None
    return answer(webhooks.view(services, row))


async def delete_webhook(services: Services, who: Who, webhook_id: str) -> Response:
    """Remove a webhook with its deliveries, also those that wait."""
    await webhooks.delete(services, webhook_id, actor=who.actor)
    return Response("", 204)


async def post_webhook_secret(services: Services, who: Who, webhook_id: str) -> Response:
    """Make a new secret, shown in this answer only; for a day the one before signs as well."""
    secret = await webhooks.renew_secret(services, webhook_id, actor=who.actor)
    return answer(webhooks.view_secret(services, secret, shown=True), 201)


async def get_deliveries(session: AsyncSession, webhook_id: str) -> Response:
    """List what was sent to a webhook or waits for it, newest first, with each try."""
    limit, after, _ = pages.wanted(request.args)
    await webhooks.find(session, webhook_id)
    rows = await deliveries.page(session, webhook_id, limit=limit, after=after)
    return answer(pages.page([deliveries.view(row) for row in rows], limit, rows[-1].id if rows else None))


async def post_delivery(services: Services, webhook_id: str) -> Response:
    """Send a test event; or, with `of`, once more what an ended delivery said."""
    given = await read_json(request, optional=True)
    form: DeliveryForm = validate(DeliveryForm, {} if given is None else given)
    if form.of is None:
        row = await webhooks.send_test(services, webhook_id)
    else:
        row = await webhooks.send_again(services, webhook_id, form.of)
    return answer(deliveries.view(row), 201)
