"""Tenants: where their recordings may be, and how many they may have. Only for callers of no tenant."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from edumeet_recording.api.auth import Principal
from edumeet_recording.api.deps import Deps, NodesAdmin
from edumeet_recording.domain.errors import Forbidden, NotFound
from edumeet_recording.domain.queueing import Quota
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import tenants
from edumeet_recording.wire.http import IDENTIFIER, TenantLimits
from edumeet_recording.wire.views import TenantList, TenantView

router = APIRouter(prefix="/api/tenants", tags=["tenants"])

TenantId = Annotated[str, Path(alias="tenantId", pattern=IDENTIFIER)]


@router.get("")
async def list_tenants(deps: Deps, caller: NodesAdmin) -> TenantList:
    """Tenants that have limits."""
    _check(caller)
    async with deps.reading() as conn:
        return TenantList(items=tuple(_view(each) for each in await tenants.everyone(conn)))


@router.get("/{tenantId}")
async def get(tenant_id: TenantId, deps: Deps, caller: NodesAdmin) -> TenantView:
    """The limits of one tenant."""
    _check(caller)
    async with deps.reading() as conn:
        found = await tenants.by_id(conn, tenant_id)
    if found is None:
        raise _unknown(tenant_id)
    return _view(found)


@router.put("/{tenantId}", responses={201: {"model": TenantView, "description": "The tenant had no limits before"}})
async def put(
    tenant_id: TenantId, body: TenantLimits, deps: Deps, caller: NodesAdmin, response: Response
) -> TenantView:
    """Replace the limits of a tenant. Recordings that have begun keep the regions they began with."""
    _check(caller)
    quota = Quota(body.max_active_recordings, body.max_queued_recordings)
    tenant = Tenant(tenant_id, body.allowed_regions, quota, body.share)
    response.status_code = 201 if await deps.commands.put_tenant(tenant) else 200
    return _view(tenant)


@router.delete("/{tenantId}", status_code=204)
async def delete(tenant_id: TenantId, deps: Deps, caller: NodesAdmin) -> None:
    """Lift the limits of a tenant."""
    _check(caller)
    if not await deps.commands.delete_tenant(tenant_id):
        raise _unknown(tenant_id)


def _check(caller: Principal) -> None:
    if caller.tenant is not None:
        raise Forbidden("a tenant's own token cannot see or change limits", code="tenant_confined")


def _unknown(tenant_id: str) -> NotFound:
    return NotFound(f"tenant {tenant_id} has no limits")


def _view(tenant: Tenant) -> TenantView:
    return TenantView(
        id=tenant.id,
        allowed_regions=tenant.allowed_regions,
        max_active_recordings=tenant.quota.max_active,
        max_queued_recordings=tenant.quota.max_queued,
        share=tenant.share,
    )
