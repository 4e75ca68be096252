-- name: store_metrics!
-- One row of the history: totals, and the same by region. Capacity and load in milli-cores.
INSERT INTO system_metrics (
    timestamp, total_room_servers, healthy_room_servers, total_ffmpeg_nodes, healthy_ffmpeg_nodes,
    active_recordings, total_capacity, current_load, queue_length, regional_metrics)
VALUES (
    :now, :total_room_servers, :healthy_room_servers, :total_ffmpeg_nodes, :healthy_ffmpeg_nodes,
    :active_recordings, :total_capacity, :current_load, :queue_length, :regional_metrics);

-- name: regional_numbers
-- The present, one row a region. Demand: the price of the region's recordings, or what its nodes do for others as well;
-- not what leaving nodes do, for it has moved, or moves, to where it is counted.
WITH rooms AS (
    SELECT region, count(*) AS total, count(*) FILTER (WHERE is_healthy) AS healthy,
        coalesce(sum(rooms) FILTER (WHERE is_healthy), 0) AS rooms, coalesce(sum(peers) FILTER (WHERE is_healthy), 0) AS peers
    FROM room_servers WHERE deregistered_at IS NULL GROUP BY region
), nodes AS (
    SELECT region, count(*) AS total, count(*) FILTER (WHERE is_healthy) AS healthy,
        coalesce(sum(capacity_mcpu) FILTER (WHERE is_healthy AND NOT is_draining), 0) AS capacity, sum(load_mcpu) AS load,
        sum(load_mcpu) FILTER (WHERE NOT is_draining) AS staying
    FROM ffmpeg_nodes WHERE deregistered_at IS NULL GROUP BY region
), jobs AS (
    SELECT region, count(*) FILTER (WHERE status IN ('initializing', 'recording', 'interrupted', 'stopping')) AS active,
        count(*) FILTER (WHERE status = 'pending') AS queued, count(*) FILTER (WHERE status = 'processing') AS finalizing,
        sum(cost_mcpu * coalesce((options ->> 'redundancy')::int, 1)) FILTER (WHERE status <> 'processing') AS demand
    FROM recording_jobs WHERE status NOT IN ('completed', 'failed', 'cancelled') GROUP BY region
)
SELECT region, coalesce(rooms.total, 0) AS total_room_servers, coalesce(rooms.healthy, 0) AS healthy_room_servers,
    coalesce(nodes.total, 0) AS total_ffmpeg_nodes, coalesce(nodes.healthy, 0) AS healthy_ffmpeg_nodes,
    coalesce(jobs.active, 0) AS active_recordings, coalesce(nodes.capacity, 0) AS total_capacity,
    coalesce(nodes.load, 0) AS current_load, coalesce(jobs.queued, 0) AS queue_length,
    greatest(jobs.demand, nodes.staying, 0) AS demand, coalesce(jobs.finalizing, 0) AS finalizing,
    coalesce(rooms.rooms, 0) AS rooms, coalesce(rooms.peers, 0) AS peers
FROM rooms FULL JOIN nodes USING (region) FULL JOIN jobs USING (region)
ORDER BY region;

-- name: history_in_steps
-- Each number of the totals and of the regions over steps of time, oldest first; the totals have no region's name.
WITH numbers AS (
    SELECT date_bin(:step::interval, m.timestamp, :since::timestamptz) AS at, m.timestamp, part.key AS region,
        number.key AS name, number.value::numeric AS value
    FROM system_metrics m
    CROSS JOIN LATERAL jsonb_each(
        m.regional_metrics || jsonb_build_object('', to_jsonb(m) - '{id,timestamp,regional_metrics}'::text[])) AS part
    CROSS JOIN LATERAL jsonb_each(part.value) AS number
    WHERE m.timestamp >= :since AND m.timestamp < :until AND jsonb_typeof(number.value) = 'number'
), steps AS (
    SELECT at, region, name, round(CASE :aggregate::text
        WHEN 'min' THEN min(value) WHEN 'max' THEN max(value)
        WHEN 'last' THEN (array_agg(value ORDER BY timestamp DESC))[1] ELSE avg(value) END) AS value
    FROM numbers GROUP BY at, region, name
), regions AS (
    SELECT at, region, jsonb_object_agg(name, value) AS numbers FROM steps GROUP BY at, region
)
SELECT at, jsonb_object_agg(region, numbers) AS numbers FROM regions GROUP BY at ORDER BY at;

-- name: thin_metrics$
-- Keep the busiest row of each step between two times, and count what went.
WITH kept AS (
    SELECT DISTINCT ON (date_bin(:step::interval, timestamp, 'epoch'::timestamptz)) id FROM system_metrics
    WHERE timestamp >= :since AND timestamp < :until
    ORDER BY date_bin(:step::interval, timestamp, 'epoch'::timestamptz), current_load DESC, queue_length DESC, id
), gone AS (
    DELETE FROM system_metrics
    WHERE timestamp >= :since AND timestamp < :until AND id NOT IN (SELECT id FROM kept)
    RETURNING id
)
SELECT count(*) FROM gone;

-- name: forget_history!
-- What is too old to be of use: numbers, decisions, what happened to nodes, closed requests, alerts that are over.
WITH numbers AS (
    DELETE FROM system_metrics WHERE timestamp < :before
), decisions AS (
    DELETE FROM scaling_events WHERE at < :before
), happened AS (
    DELETE FROM node_events WHERE at < :before
), requests AS (
    DELETE FROM fleet_requests WHERE ended_at < :before
)
DELETE FROM alerts WHERE recovered_at < :before;
