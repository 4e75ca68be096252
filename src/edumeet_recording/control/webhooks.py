"""Delivers events to webhooks: in order per job, signed, again with back-off for a day, then kept as dead letters."""

import asyncio
import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import httpx2
import structlog

from edumeet_recording.domain.errors import NotFound
from edumeet_recording.store import webhooks
from edumeet_recording.store.transaction import Transactor, Tx
from edumeet_recording.store.webhooks import Delivery
from edumeet_recording.wire.webhooks import SECRET_PREFIX, CreatedWebhook, WebhookMessage, signature

log = structlog.get_logger()

BATCH = 50
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 600.0
GIVE_UP_AFTER = timedelta(days=1)
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Receivers, and the loop that serves them (on the leader). Redirects are not followed."""

    db: Transactor
    client: httpx2.AsyncClient

    async def create(self, url: str, tenant: str | None) -> CreatedWebhook:
        """A receiver of the tenant's events, or of all, from now on."""
        endpoint_id = uuid4().hex
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        await self.db.run(
            lambda tx: webhooks.insert(
                tx.conn, endpoint_id=endpoint_id, tenant_id=tenant, url=url, secret=secret, now=tx.now
            )
        )
        return CreatedWebhook(id=endpoint_id, url=url, secret=secret)

    async def delete(self, endpoint_id: str, tenant: str | None) -> None:
        """Send a receiver nothing more. Raises `NotFound`."""
        if not await self.db.run(lambda tx: webhooks.disable(tx.conn, endpoint_id, tenant, tx.now)):
            raise NotFound(f"there is no webhook {endpoint_id}")

    async def replay(self, endpoint_id: str, tenant: str | None) -> int:
        """Deliver again what was given up; how many events that are. Raises `NotFound`."""

        async def work(tx: Tx) -> int:
            if all(known.id != endpoint_id for known in await webhooks.endpoints(tx.conn, tenant)):
                raise NotFound(f"there is no webhook {endpoint_id}")
            return await webhooks.replay(tx.conn, endpoint_id, tx.now)

        return await self.db.run(work)

    async def tick(self) -> None:
        """Deliver all that is due; jobs and receivers do not wait for each other."""
        while True:
            due = await self.db.read(lambda tx: webhooks.due(tx.conn, tx.now, BATCH))
            async with asyncio.TaskGroup() as tasks:
                for delivery in due:
                    tasks.create_task(self._deliver(delivery))
            if not due:
                return

    async def _deliver(self, delivery: Delivery) -> None:
        now = await self.db.read(_now)
        error = await self._post(delivery, now)

        async def work(tx: Tx) -> None:
            if error is None:
                await webhooks.mark_delivered(tx.conn, delivery.id, tx.now)
                return
            wait_s = min(FIRST_RETRY_S * 2 ** min(delivery.attempts, 20), LONGEST_RETRY_S)
            over = tx.now - delivery.created_at >= GIVE_UP_AFTER
            await webhooks.mark_undelivered(
                tx.conn,
                delivery.id,
                error=error,
                next_attempt_at=tx.now + timedelta(seconds=wait_s),
                dead_at=tx.now if over else None,
            )

        await self.db.run(work)

    async def _post(self, delivery: Delivery, now: datetime) -> str | None:
        """None where it was taken, else why not."""
        event = delivery.event
        message = WebhookMessage(type=f"recording.{event.type}", timestamp=event.at, data=event)
        body = message.model_dump_json(by_alias=True).encode()
        message_id, timestamp_s = f"evt_{event.id}", int(now.timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(delivery.secret, message_id, timestamp_s, body),
        }
        try:
            answer = await self.client.post(
                delivery.url, content=body, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            log.info("webhook_unreachable", url=delivery.url, reason=str(error) or type(error).__name__)
            return f"{type(error).__name__}: {error}"[:300]
        return None if answer.is_success else f"answered {answer.status_code}"


async def _now(tx: Tx) -> datetime:
    return tx.now
