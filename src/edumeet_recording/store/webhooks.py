"""Receivers of events, and what is still to be delivered to them; rows are made with the events (`sql/jobs.sql`)."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.views import event_of
from edumeet_recording.wire.views import JobEvent
from edumeet_recording.wire.webhooks import WebhookEndpoint

_sql = load_queries("webhooks")


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one receiver. `created_at`: when it was first to be delivered."""

    id: int
    url: str
    secret: str
    attempts: int
    created_at: datetime
    event: JobEvent


async def insert(
    conn: Connection, *, endpoint_id: str, tenant_id: str | None, url: str, secret: str, now: datetime
) -> None:
    """A receiver of the events of a tenant, or of all, from now on."""
    await _sql.insert_endpoint(conn, id=endpoint_id, tenant_id=tenant_id, url=url, secret=secret, now=now)


async def endpoints(conn: Connection, tenant_id: str | None) -> list[WebhookEndpoint]:
    """The receivers of a tenant, or of all tenants."""
    return [WebhookEndpoint.model_validate(dict(row)) async for row in _sql.endpoints(conn, tenant_id=tenant_id)]


async def disable(conn: Connection, endpoint_id: str, tenant_id: str | None, now: datetime) -> bool:
    """Send a receiver nothing more; False where the tenant has none of that id."""
    return await _sql.disable_endpoint(conn, id=endpoint_id, tenant_id=tenant_id, now=now) is not None


async def due(conn: Connection, now: datetime, most: int) -> list[Delivery]:
    """What may be delivered now: at most one event of each job and receiver, the oldest."""
    return [_delivery_of(row) async for row in _sql.due_deliveries(conn, now=now, most=most)]


def _delivery_of(row: asyncpg.Record) -> Delivery:
    return Delivery(row["delivery_id"], row["url"], row["secret"], row["attempts"], row["created_at"], event_of(row))


async def mark_delivered(conn: Connection, delivery_id: int, now: datetime) -> None:
    """The receiver took it."""
    await _sql.mark_delivered(conn, id=delivery_id, now=now)


async def mark_undelivered(
    conn: Connection, delivery_id: int, *, error: str, next_attempt_at: datetime, dead_at: datetime | None
) -> None:
    """The receiver did not take it."""
    await _sql.mark_undelivered(conn, id=delivery_id, error=error, next_attempt_at=next_attempt_at, dead_at=dead_at)


async def replay(conn: Connection, endpoint_id: str, now: datetime) -> int:
    """Deliver again what was given up; how many events that are."""
    return await _sql.replay_dead(conn, id=endpoint_id, now=now)
