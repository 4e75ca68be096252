-- name: insert_endpoint!
-- A receiver of events from now on.
INSERT INTO webhook_endpoints (id, tenant_id, url, secret, created_at)
VALUES (:id, :tenant_id, :url, :secret, :now);

-- name: endpoints
-- The receivers a tenant has, or all, with what is open and what was given up.
SELECT e.id, e.tenant_id, e.url, e.created_at,
    (SELECT count(*) FROM webhook_deliveries d
     WHERE d.endpoint_id = e.id AND d.delivered_at IS NULL AND d.dead_at IS NULL) AS waiting,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.dead_at IS NOT NULL) AS dead,
    (SELECT d.last_error FROM webhook_deliveries d
     WHERE d.endpoint_id = e.id AND d.last_error IS NOT NULL ORDER BY d.event_id DESC LIMIT 1) AS last_error
FROM webhook_endpoints e
WHERE e.disabled_at IS NULL AND (:tenant_id::text IS NULL OR e.tenant_id = :tenant_id)
ORDER BY e.created_at, e.id;

-- name: disable_endpoint$
-- Send it nothing more; what was open is given up.
WITH disabled AS (
    UPDATE webhook_endpoints SET disabled_at = :now
    WHERE id = :id AND disabled_at IS NULL AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id)
    RETURNING id
), dropped AS (
    UPDATE webhook_deliveries d SET dead_at = :now FROM disabled
    WHERE d.endpoint_id = disabled.id AND d.delivered_at IS NULL AND d.dead_at IS NULL
)
SELECT id FROM disabled;

-- name: due_deliveries
-- The next delivery of every endpoint and job, where it is due: a job's events stay in order.
SELECT * FROM (
    SELECT DISTINCT ON (d.endpoint_id, d.job_id)
        d.id AS delivery_id, d.endpoint_id, d.attempts, d.created_at, d.next_attempt_at, e.url, e.secret, j.*
    FROM webhook_deliveries d
    JOIN webhook_endpoints e ON e.id = d.endpoint_id
    JOIN job_events j ON j.id = d.event_id
    WHERE d.delivered_at IS NULL AND d.dead_at IS NULL
    ORDER BY d.endpoint_id, d.job_id, d.event_id
) AS first
WHERE next_attempt_at <= :now
ORDER BY id
LIMIT :most;

-- name: mark_delivered!
-- The receiver took it.
UPDATE webhook_deliveries SET delivered_at = :now, attempts = attempts + 1, last_error = NULL WHERE id = :id;

-- name: mark_undelivered!
-- It did not: again later, or never.
UPDATE webhook_deliveries SET attempts = attempts + 1, last_error = :error, next_attempt_at = :next_attempt_at,
    dead_at = :dead_at
WHERE id = :id AND delivered_at IS NULL;

-- name: replay_dead$
-- Deliver again what was given up; how many.
WITH revived AS (
    UPDATE webhook_deliveries SET dead_at = NULL, created_at = :now, next_attempt_at = :now, attempts = 0
    WHERE endpoint_id = :id AND dead_at IS NOT NULL
    RETURNING id
)
SELECT count(*) FROM revived;
