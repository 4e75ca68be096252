"""The limits of tenants in PostgreSQL, and what they use of the fleet."""

from datetime import datetime

import asyncpg

from edumeet_recording.domain.queueing import Quota, Use
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store.db import Connection, load_queries

_sql = load_queries("tenants")


def tenant_of(row: asyncpg.Record) -> Tenant:
    """The tenant of a row of `tenants`."""
    allowed = row["allowed_regions"]
    return Tenant(
        id=row["id"],
        allowed_regions=None if allowed is None else tuple(allowed),
        quota=Quota(row["max_active_recordings"], row["max_queued_recordings"]),
        share=row["share"],
    )


async def by_id(conn: Connection, tenant_id: str) -> Tenant | None:
    """A tenant's limits, None where it has none."""
    row = await _sql.tenant_by_id(conn, id=tenant_id)
    return None if row is None else tenant_of(row)


async def everyone(conn: Connection) -> list[Tenant]:
    """Tenants that have limits."""
    return [tenant_of(row) async for row in _sql.all_tenants(conn)]


async def put(conn: Connection, tenant: Tenant, now: datetime) -> bool:
    """Replace a tenant's limits; True where it had none."""
    return await _sql.put_tenant(
        conn,
        id=tenant.id,
        allowed_regions=None if tenant.allowed_regions is None else list(tenant.allowed_regions),
        max_active_recordings=tenant.quota.max_active,
        max_queued_recordings=tenant.quota.max_queued,
        share=tenant.share,
        now=now,
    )


async def delete(conn: Connection, tenant_id: str) -> bool:
    """Forget a tenant's limits; False where it had none."""
    return await _sql.delete_tenant(conn, id=tenant_id) is not None


async def locked_use(conn: Connection, tenant_id: str) -> tuple[int, int]:
    """How many recordings of the tenant run, and how many wait; no other of its starts goes on until this one ends."""
    await _sql.lock_tenant(conn, id=tenant_id)
    row = await _sql.use_of_tenant(conn, id=tenant_id)
    return row["active"], row["queued"]


async def use(conn: Connection) -> dict[str, Use]:
    """What each tenant that has a recording takes of the fleet."""
    rows = _sql.use_by_tenant(conn)
    return {row["tenant_id"]: Use(int(row["mcpu"]), row["share"]) async for row in rows}
