-- name: store_metrics!
-- One row of the history: totals, and the same by region. Capacity and load in milli-cores.
INSERT INTO system_metrics (
    timestamp, total_room_servers, healthy_room_servers, total_ffmpeg_nodes, healthy_ffmpeg_nodes,
    active_recordings, total_capacity, current_load, queue_length, regional_metrics)
VALUES (
    :now, :total_room_servers, :healthy_room_servers, :total_ffmpeg_nodes, :healthy_ffmpeg_nodes,
    :active_recordings, :total_capacity, :current_load, :queue_length, :regional_metrics);

-- name: regional_numbers
-- The present, one row a region. Demand: the price of the region's recordings, or what its nodes do for others as well.
WITH rooms AS (
    SELECT region, count(*) AS total, count(*) FILTER (WHERE is_healthy) AS healthy,
        coalesce(sum(rooms) FILTER (WHERE is_healthy), 0) AS rooms, coalesce(sum(peers) FILTER (WHERE is_healthy), 0) AS peers
    FROM room_servers WHERE deregistered_at IS NULL GROUP BY region
), nodes AS (
    SELECT region, count(*) AS total, count(*) FILTER (WHERE is_healthy) AS healthy,
        coalesce(sum(capacity_mcpu) FILTER (WHERE is_healthy AND NOT is_draining), 0) AS capacity, sum(load_mcpu) AS load
    FROM ffmpeg_nodes WHERE deregistered_at IS NULL GROUP BY region
), jobs AS (
    SELECT region, count(*) FILTER (WHERE status IN ('initializing', 'recording', 'interrupted', 'stopping')) AS active,
        count(*) FILTER (WHERE status = 'pending') AS queued,
        sum(cost_mcpu * coalesce((options ->> 'redundancy')::int, 1)) FILTER (WHERE status <> 'processing') AS demand
    FROM recording_jobs WHERE status NOT IN ('completed', 'failed', 'cancelled') GROUP BY region
)
SELECT region, coalesce(rooms.total, 0) AS total_room_servers, coalesce(rooms.healthy, 0) AS healthy_room_servers,
    coalesce(nodes.total, 0) AS total_ffmpeg_nodes, coalesce(nodes.healthy, 0) AS healthy_ffmpeg_nodes,
    coalesce(jobs.active, 0) AS active_recordings, coalesce(nodes.capacity, 0) AS total_capacity,
    coalesce(nodes.load, 0) AS current_load, coalesce(jobs.queued, 0) AS queue_length,
    greatest(jobs.demand, nodes.load, 0) AS demand, coalesce(rooms.rooms, 0) AS rooms, coalesce(rooms.peers, 0) AS peers
FROM rooms FULL JOIN nodes USING (region) FULL JOIN jobs USING (region)
ORDER BY region;
