-- name: fleet_sums
-- Of each region, over its registered FFmpeg nodes: how many take captures, what these carry by what is recorded now
-- (`carried_mcpu` in Python is the same), and what is recorded.
WITH node AS (
    SELECT region, capacity_mcpu, capacity_bytes_per_s, load_mcpu, load_bytes_per_s,
        is_healthy AND NOT is_draining AND accepts_captures
            AND (quarantined_until IS NULL OR quarantined_until <= :now) AS is_usable
    FROM ffmpeg_nodes WHERE deregistered_at IS NULL
), recorded AS (
    SELECT region, sum(load_mcpu) AS mcpu, sum(load_bytes_per_s) AS bytes_per_s,
        sum(load_mcpu) > 0 AND sum(load_bytes_per_s) > 0 AS is_known
    FROM node GROUP BY region
), carried AS (
    SELECT region, is_usable, least(capacity_mcpu, div(
        capacity_bytes_per_s * CASE WHEN is_known THEN mcpu ELSE :usual_mcpu::bigint END,
        CASE WHEN is_known THEN bytes_per_s ELSE :usual_bytes_per_s::bigint END)) AS mcpu
    FROM node JOIN recorded USING (region)
)
SELECT region, usable, sized, capacity_mcpu, mcpu AS load_mcpu, bytes_per_s AS load_bytes_per_s
FROM recorded JOIN (
    SELECT region, count(*) FILTER (WHERE is_usable) AS usable, count(*) FILTER (WHERE is_usable AND mcpu > 0) AS sized,
        coalesce(sum(mcpu) FILTER (WHERE is_usable), 0) AS capacity_mcpu
    FROM carried GROUP BY region
) sums USING (region);

-- name: requests_of_note
-- Nodes that were asked for and have not been closed, each with what has become of it. Of those that are at work only the
-- emptiest of each region, who could leave. Empty: no capture, no finalization and no tape is left on one that leaves.
WITH asked AS (
    SELECT r.region, r.node_id, r.state, r.asked_at, n.id IS NOT NULL AS is_there, n.is_healthy, n.last_heartbeat,
        n.capacity_mcpu, n.load_mcpu, n.capacity_bytes_per_s, n.load_bytes_per_s, n.load,
        coalesce(n.is_healthy AND NOT n.is_draining AND n.accepts_captures
            AND (n.quarantined_until IS NULL OR n.quarantined_until <= :now), false) AS is_usable
    FROM fleet_requests r
    LEFT JOIN ffmpeg_nodes n ON n.id = r.node_id AND n.region = r.region AND n.deregistered_at IS NULL
    WHERE r.provider = :provider AND r.ended_at IS NULL
), at_work AS (
    SELECT node_id, row_number() OVER (PARTITION BY region ORDER BY load_mcpu, node_id) AS place,
        :share::float8 * count(*) OVER (PARTITION BY region) AS share
    FROM asked WHERE state = 'seen' AND is_usable
)
SELECT region, node_id, state, asked_at, is_there, capacity_mcpu, load_mcpu, capacity_bytes_per_s, load_bytes_per_s,
    is_healthy, last_heartbeat, is_usable, CASE WHEN state = 'draining' THEN
        coalesce((load ->> 'spoolBytes')::bigint, 0) = 0
        AND NOT EXISTS (
            SELECT FROM captures c
            WHERE c.node_id = asked.node_id AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
        AND NOT EXISTS (
            SELECT FROM recording_jobs j WHERE j.status = 'processing' AND j.processing_node_id = asked.node_id)
    ELSE false END AS is_empty
FROM asked LEFT JOIN at_work USING (node_id)
WHERE state <> 'seen' OR is_healthy IS NOT TRUE OR place <= greatest(:few::integer, share)
ORDER BY asked_at, node_id;

-- name: asked_requests
-- Nodes that were asked for and have not come yet.
SELECT region, node_id FROM fleet_requests WHERE provider = :provider AND state = 'asked' ORDER BY asked_at, node_id;

-- name: closed_requests
-- Those of the nodes that we have asked for and do not want any more.
SELECT node_id FROM fleet_requests WHERE node_id = ANY(:ids) AND ended_at IS NOT NULL;

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

-- name: insert_scaling_events!
-- Decisions, alerts, and their ends, in order. One transaction after the other: who has seen an id has seen all below it.
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended('scaling events', 0)))
INSERT INTO scaling_events (at, region, action, reason, data)
SELECT :now, region, action, reason, data
FROM alone, unnest(:regions::text[], :actions::text[], :reasons::text[], :data::jsonb[])
    WITH ORDINALITY AS event (region, action, reason, data, place)
ORDER BY place;

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
