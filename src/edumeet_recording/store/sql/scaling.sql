-- name: fleet_nodes
-- Registered FFmpeg nodes as autoscaling sees them; empty: no capture, no finalization and no tape is left on it.
SELECT n.region, n.id, n.capacity_mcpu, n.load_mcpu, n.capacity_bytes_per_s, n.load_bytes_per_s, n.is_healthy, n.last_heartbeat AS heard_at,
    n.is_healthy AND NOT n.is_draining AND n.accepts_captures
        AND (n.quarantined_until IS NULL OR n.quarantined_until <= :now) AS is_usable,
    coalesce((n.load ->> 'spoolBytes')::bigint, 0) = 0 AND busy.id IS NULL AS is_empty
FROM ffmpeg_nodes n
LEFT JOIN (
    SELECT node_id AS id FROM captures WHERE state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    UNION
    SELECT processing_node_id FROM recording_jobs WHERE status = 'processing'
) busy ON busy.id = n.id
WHERE n.deregistered_at IS NULL
ORDER BY n.id;

-- name: open_requests
-- Nodes that were asked for and have not been closed.
SELECT region, node_id, state, asked_at FROM fleet_requests
WHERE provider = :provider AND ended_at IS NULL
ORDER BY asked_at, node_id;

-- name: request_states
-- The state of each of these nodes that we have asked for.
SELECT node_id, state FROM fleet_requests WHERE node_id = ANY(:ids);

-- name: recent_requests
-- When each region last asked and drained, and how many in a row came to nothing since one arrived.
SELECT region, max(asked_at) AS asked_at, max(drained_at) AS drained_at,
    count(*) FILTER (WHERE state = 'failed' AND asked_at > coalesce(arrived, '-infinity')) AS refused
FROM (
    SELECT *, max(asked_at) FILTER (WHERE seen_at IS NOT NULL) OVER (PARTITION BY region) AS arrived
    FROM fleet_requests WHERE provider = :provider AND (ended_at IS NULL OR ended_at >= :since)
) recent
GROUP BY region;

-- name: samples
-- Each region's demand and peers in some pieces of the past, in order; older releases kept the load only.
SELECT m.timestamp AS at, region.key AS region,
    coalesce(region.value ->> 'demand', region.value ->> 'current_load', '0')::int AS demand_mcpu,
    coalesce(region.value ->> 'peers', '0')::int AS peers
FROM unnest(:since::timestamptz[], :until::timestamptz[]) AS piece (since, until)
JOIN system_metrics m ON m.timestamp BETWEEN piece.since AND piece.until
CROSS JOIN LATERAL jsonb_each(m.regional_metrics) AS region
ORDER BY m.timestamp;

-- name: lock_region!
-- One decision at a time for a region: a leader that lost its lead meanwhile waits, and then finds things changed.
SELECT pg_advisory_xact_lock(hashtextextended('scaling ' || :region, 0));

-- name: last_asked$
-- When a region last asked for a node.
SELECT max(asked_at) FROM fleet_requests WHERE provider = :provider AND region = :region;

-- name: insert_requests!
-- Nodes that are wanted from now on; their provider is asked until it has them.
INSERT INTO fleet_requests (node_id, region, provider, reason, asked_at)
SELECT id, :region, :provider, :reason, :now FROM unnest(:ids::text[]) AS id;

-- name: advance_request$
-- Compare-and-set of a request's state.
UPDATE fleet_requests SET
    state = :after::fleet_request_state,
    seen_at = CASE WHEN :after::text = 'seen' THEN coalesce(seen_at, :now) ELSE seen_at END,
    drained_at = CASE WHEN :after::text = 'draining' THEN :now ELSE drained_at END,
    ended_at = CASE WHEN :after::text IN ('returned', 'failed', 'lost') THEN :now END
WHERE node_id = :node_id AND state = :before::fleet_request_state
RETURNING node_id;

-- name: insert_scaling_event!
-- A decision, an alert, or the end of one. One transaction after the other: who has seen an id has seen all below it.
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended('scaling events', 0)))
INSERT INTO scaling_events (at, region, action, reason, data) SELECT :now, :region, :action, :reason, :data FROM alone;

-- name: last_recommended$
-- What was last recommended for a region: asked at each tick, so no more of its history is read than must be.
SELECT (data ->> 'desired')::int FROM scaling_events
WHERE region = :region AND action = 'recommend' ORDER BY id DESC LIMIT 1;

-- name: nodes_to_deregister
-- Nodes whose request is closed, and which are still registered.
SELECT n.id FROM ffmpeg_nodes n JOIN fleet_requests r ON r.node_id = n.id
WHERE n.deregistered_at IS NULL AND r.ended_at IS NOT NULL AND r.provider = :provider;

-- name: page_of_scaling_events
-- One page, newest first; every filter is optional.
SELECT id, at, region, action, reason, data FROM scaling_events
WHERE (:region::text IS NULL OR region = :region)
  AND (:since::timestamptz IS NULL OR at >= :since) AND (:until::timestamptz IS NULL OR at < :until)
  AND (:before::bigint IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :most;
