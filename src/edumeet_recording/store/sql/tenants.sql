-- name: tenant_by_id^
-- The limits of one tenant.
SELECT * FROM tenants WHERE id = :id;

-- name: all_tenants
-- The limits of all tenants that have some.
SELECT * FROM tenants ORDER BY id;

-- name: put_tenant$
-- New limits; true where the tenant had none before.
INSERT INTO tenants (id, allowed_regions, max_active_recordings, max_queued_recordings, share, created_at, updated_at)
VALUES (:id, :allowed_regions, :max_active_recordings, :max_queued_recordings, :share, :now, :now)
ON CONFLICT (id) DO UPDATE SET
    allowed_regions = excluded.allowed_regions, max_active_recordings = excluded.max_active_recordings,
    max_queued_recordings = excluded.max_queued_recordings, share = excluded.share, updated_at = excluded.updated_at
RETURNING xmax = 0;

-- name: delete_tenant$
-- The tenant has no limits any more.
DELETE FROM tenants WHERE id = :id RETURNING id;

-- name: lock_tenant$
-- One start at a time for a tenant with quotas, so that two cannot both be the last.
SELECT id FROM tenants WHERE id = :id FOR UPDATE;

-- name: use_of_tenant^
-- What a tenant has now: recordings that run, and those that wait.
SELECT count(*) FILTER (WHERE status <> 'pending') AS active, count(*) FILTER (WHERE status = 'pending') AS queued
FROM recording_jobs
WHERE tenant_id = :id AND status IN ('pending', 'initializing', 'recording', 'interrupted');

-- name: use_by_tenant
-- Milli-cores of recordings that run, by tenant, with the tenant's share.
SELECT coalesce(j.tenant_id, '') AS tenant_id, coalesce(sum(j.cost_mcpu) FILTER (WHERE j.status <> 'pending'), 0) AS mcpu, coalesce(max(t.share), 1) AS share
FROM recording_jobs j LEFT JOIN tenants t ON t.id = j.tenant_id
WHERE j.status IN ('pending', 'initializing', 'recording', 'interrupted')
GROUP BY coalesce(j.tenant_id, '');
