"""What refuses a start that is right in itself: a tenant's quota, a full queue; each says when to ask again."""

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import NoCapacity, QuotaExceeded
from edumeet_recording.domain.queueing import estimate_s, retry_after_s
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import queue, tenants
from edumeet_recording.store.transaction import Tx


async def check_quota(tx: Tx, tenant: Tenant | None) -> None:
    """Raises `QuotaExceeded` where the tenant may have no other recording now; its other starts wait for this one."""
    if tenant is None or (tenant.quota.max_active is None and tenant.quota.max_queued is None):
        return
    active, queued = await tenants.locked_use(tx.conn, tenant.id)
    why = tenant.quota.exceeded_by(active, queued)
    if why is not None:
        raise QuotaExceeded(why, retry_after_s=await _retry_after_s(tx, 1))


async def check_queue(tx: Tx, settings: OrchestratorSettings, tenant: Tenant | None) -> None:
    """Raises `NoCapacity` where the queue, the new job included, is too long, `QuotaExceeded` where the tenant's is."""
    waiting = await queue.length(tx.conn)
    if waiting > settings.queue_limit:
        message = f"no node is free and {settings.queue_limit} recordings wait already"
        raise NoCapacity(message, retry_after_s=await _retry_after_s(tx, 1))
    if tenant is None or tenant.quota.max_queued is None:
        return
    _, queued = await tenants.locked_use(tx.conn, tenant.id)
    why = tenant.quota.queue_exceeded_by(queued)
    if why is not None:
        raise QuotaExceeded(why, retry_after_s=await _retry_after_s(tx, queued))


async def _retry_after_s(tx: Tx, position: int) -> int:
    ended = await queue.ended(tx.conn, tx.now)
    return retry_after_s(estimate_s(position, ended, queue.LOOK_BACK.total_seconds()))
