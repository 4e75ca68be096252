"""Webhooks: who is told of events, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Path

from edumeet_recording.api.deps import Deps, RecordingsReader, RecordingsWriter
from edumeet_recording.api.node_urls import check_node_url
from edumeet_recording.store import webhooks
from edumeet_recording.wire.http import IDENTIFIER
from edumeet_recording.wire.webhooks import CreatedWebhook, NewWebhook, Replayed, WebhookList

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(alias="webhookId", pattern=IDENTIFIER)]


@router.post("", status_code=201)
async def create(body: NewWebhook, deps: Deps, caller: RecordingsWriter) -> CreatedWebhook:
    """Have the events of the caller's recordings posted to a URL; keep the secret, it is shown once."""
    check_node_url(body.url, "")
    return await deps.webhooks.create(body.url, caller.tenant)


@router.get("")
async def list_webhooks(deps: Deps, caller: RecordingsReader) -> WebhookList:
    """The caller's webhooks, with what waits and what was given up."""
    async with deps.reading() as conn:
        return WebhookList(items=tuple(await webhooks.endpoints(conn, caller.tenant)))


@router.delete("/{webhookId}", status_code=204)
async def delete(webhook_id: WebhookId, deps: Deps, caller: RecordingsWriter) -> None:
    """Send a webhook nothing more."""
    await deps.webhooks.delete(webhook_id, caller.tenant)


@router.post("/{webhookId}/replay")
async def replay(webhook_id: WebhookId, deps: Deps, caller: RecordingsWriter) -> Replayed:
    """Deliver again what was given up after a day of failures."""
    return Replayed(deliveries=await deps.webhooks.replay(webhook_id, caller.tenant))
