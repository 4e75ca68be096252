-- name: room_server_by_id^
-- A registered room server.
SELECT * FROM room_servers WHERE id = :id AND deregistered_at IS NULL;

-- name: ffmpeg_node_by_id^
-- A registered FFmpeg node.
SELECT * FROM ffmpeg_nodes WHERE id = :id AND deregistered_at IS NULL;

-- name: tokens_of_nodes
-- What room servers and FFmpeg nodes prove themselves by.
SELECT 'room-server' AS kind, id, token_sha256 FROM room_servers WHERE id = ANY(:ids) AND deregistered_at IS NULL
UNION ALL
SELECT 'ffmpeg-node' AS kind, id, token_sha256 FROM ffmpeg_nodes WHERE id = ANY(:ids) AND deregistered_at IS NULL;

-- name: register_room_server$
-- Insert, or take the id over with a new token; true where it is new. The caller has checked that nobody alive holds it.
INSERT INTO room_servers (id, url, region, capacity, specs, token_sha256, registered_at)
VALUES (:id, :url, :region, :capacity, :specs, :token_sha256, :now)
ON CONFLICT (id) DO UPDATE SET
    url = excluded.url, region = excluded.region, capacity = excluded.capacity, specs = excluded.specs,
    token_sha256 = excluded.token_sha256, deregistered_at = NULL, is_healthy = true, health_reason = NULL,
    last_heartbeat = NULL
RETURNING xmax = 0;

-- name: register_ffmpeg_node$
-- Insert, or take the id over with a new token; true where it is new. Healthy only after its first heartbeat.
INSERT INTO ffmpeg_nodes (
    id, url, region, specs, failure_domain, version, capacity_mcpu, processing_slots, token_sha256, registered_at,
    is_healthy, health_reason)
VALUES (
    :id, :url, :region, :specs, :failure_domain, :version, :capacity_mcpu, :processing_slots, :token_sha256, :now,
    false, 'has not connected yet')
ON CONFLICT (id) DO UPDATE SET
    url = excluded.url, region = excluded.region, specs = excluded.specs, failure_domain = excluded.failure_domain,
    version = excluded.version, capacity_mcpu = greatest(excluded.capacity_mcpu, ffmpeg_nodes.load_mcpu),
    processing_slots = excluded.processing_slots, token_sha256 = excluded.token_sha256, deregistered_at = NULL
RETURNING xmax = 0;

-- name: registered_nodes$
-- Every FFmpeg node that is registered, in one value: that costs less than a row each.
SELECT coalesce(array_agg(id), '{}') FROM ffmpeg_nodes WHERE deregistered_at IS NULL;

-- name: node_snapshots
-- What placement looks at, of some nodes.
SELECT id, region, is_healthy, health_reason, is_draining, accepts_captures, capacity_mcpu, load_mcpu,
    capacity_bytes_per_s, load_bytes_per_s, failure_domain, storages, codecs,
    coalesce((specs ->> 'hasGPU')::boolean, false) AS has_gpu, load ->> 'refusal' AS refusal,
    coalesce(quarantined_until > :now, false) AS is_quarantined
FROM ffmpeg_nodes
WHERE deregistered_at IS NULL AND id = ANY(:ids);

-- name: claim_capacity$
-- The guarded claim: promised only where it still fits, so that two replicas cannot oversell a node.
UPDATE ffmpeg_nodes SET load_mcpu = load_mcpu + :cost_mcpu, load_bytes_per_s = load_bytes_per_s + :cost_bytes_per_s,
    desired_revision = desired_revision + 1
WHERE id = :id AND load_mcpu + :cost_mcpu <= capacity_mcpu
  AND (capacity_bytes_per_s IS NULL OR load_bytes_per_s + :cost_bytes_per_s <= capacity_bytes_per_s)
  AND is_healthy AND NOT is_draining AND accepts_captures AND deregistered_at IS NULL
RETURNING id;

-- name: claim_at_once
-- Guarded claims of several captures, which wait for nobody: a node gets all that is asked of it, or is left out where
-- that does not fit, or where somebody else has just locked it.
WITH asked AS (
    SELECT id, sum(mcpu) AS mcpu, sum(bytes_per_s) AS bytes_per_s
    FROM unnest(:ids::text[], :mcpu::integer[], :bytes_per_s::integer[]) AS claim (id, mcpu, bytes_per_s)
    GROUP BY id
), free AS (
    SELECT asked.* FROM ffmpeg_nodes n JOIN asked USING (id)
    WHERE n.load_mcpu + asked.mcpu <= n.capacity_mcpu
      AND (n.capacity_bytes_per_s IS NULL OR n.load_bytes_per_s + asked.bytes_per_s <= n.capacity_bytes_per_s)
      AND n.is_healthy AND NOT n.is_draining AND n.accepts_captures AND n.deregistered_at IS NULL
    FOR NO KEY UPDATE OF n SKIP LOCKED
)
UPDATE ffmpeg_nodes n SET load_mcpu = n.load_mcpu + free.mcpu, load_bytes_per_s = n.load_bytes_per_s + free.bytes_per_s,
    desired_revision = desired_revision + 1
FROM free WHERE n.id = free.id
RETURNING n.id;

-- name: keep_alive
-- Heartbeats without news. Those of nodes that are not healthy are not written, and their ids returned: they are news.
WITH heard AS (
    UPDATE ffmpeg_nodes SET last_heartbeat = :now
    WHERE id = ANY(:ids) AND is_healthy AND deregistered_at IS NULL
    RETURNING id
)
SELECT id FROM unnest(:ids::text[]) AS asked (id) WHERE id NOT IN (SELECT id FROM heard);

-- name: store_heartbeats
-- Heartbeats of many nodes in one statement; those that come back to health, or take captures no more or again, are
-- returned. What a node refuses captures for, or warns of, is its health's reason, and its beginning and end are events.
WITH beat AS (
    SELECT b.id, b.load::jsonb AS load, n.is_healthy, n.accepts_captures, n.last_heartbeat, n.load ->> 'warning' AS warning
    FROM unnest(:ids::text[], :loads::text[]) AS b (id, load) JOIN ffmpeg_nodes n USING (id)
), updated AS (
    UPDATE ffmpeg_nodes n SET last_heartbeat = :now, load = beat.load,
        accepts_captures = (beat.load ->> 'acceptsCaptures')::boolean,
        -- what a node has learned counts within bounds, and takes back no promise
        capacity_mcpu = CASE WHEN beat.load ->> 'capacityMcpu' IS NULL THEN n.capacity_mcpu
            ELSE greatest(n.load_mcpu, least(greatest(
                (beat.load ->> 'capacityMcpu')::numeric,
                (n.specs ->> 'cpuCores')::numeric * :least_of_a_core), (n.specs ->> 'cpuCores')::numeric * :most_of_a_core))
            END,
        capacity_bytes_per_s = CASE WHEN beat.load ->> 'capacityBytesPerS' IS NULL THEN NULL
            ELSE greatest(n.load_bytes_per_s, (beat.load ->> 'capacityBytesPerS')::bigint) END,
        is_healthy = true, health_reason = coalesce(
            CASE WHEN n.quarantined_until > :now THEN n.quarantine_reason END,
            beat.load ->> 'refusal', beat.load ->> 'warning')
    FROM beat WHERE n.id = beat.id AND n.deregistered_at IS NULL
    RETURNING n.id, n.accepts_captures, n.load, beat.is_healthy AS was_healthy,
        beat.accepts_captures AS accepted_captures, beat.last_heartbeat AS heard_before, beat.warning AS warned_of
), told AS (
    INSERT INTO node_events (node_id, type, at, data)
    SELECT id, CASE WHEN heard_before IS NULL THEN 'joined' ELSE 'returned' END, :now, '{}'::jsonb
    FROM updated WHERE NOT was_healthy
    UNION ALL
    SELECT id, CASE WHEN accepts_captures THEN 'accepts_captures' ELSE 'refuses_captures' END, :now,
        jsonb_strip_nulls(jsonb_build_object('reason', load ->> 'refusal'))
    FROM updated WHERE accepts_captures <> accepted_captures
    UNION ALL
    SELECT id, CASE WHEN load ->> 'warning' IS NULL THEN 'warning_over' ELSE 'warning' END, :now,
        jsonb_strip_nulls(jsonb_build_object('reason', load ->> 'warning'))
    FROM updated WHERE (warned_of IS NULL) <> (load ->> 'warning' IS NULL)
)
SELECT id FROM updated WHERE NOT was_healthy OR accepts_captures <> accepted_captures;

-- name: store_room_heartbeat$
-- A room server's sign of life; whether it was healthy before.
WITH before AS (
    SELECT id, is_healthy FROM room_servers WHERE id = :id AND deregistered_at IS NULL FOR UPDATE
), updated AS (
    UPDATE room_servers r SET last_heartbeat = :now, rooms = :rooms, peers = :peers, is_healthy = true,
        health_reason = NULL
    FROM before WHERE r.id = before.id
), told AS (
    INSERT INTO node_events (node_id, type, at) SELECT id, 'returned', :now FROM before WHERE NOT is_healthy
)
SELECT is_healthy FROM before;

-- name: introduce_ffmpeg_nodes
-- What nodes' release and configuration know; those of whom that is news are returned.
WITH those AS MATERIALIZED (
    SELECT id FROM ffmpeg_nodes
    WHERE id = ANY(:ids) AND (storages, codecs) IS DISTINCT FROM (:storages::text[], :codecs::text[])
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE ffmpeg_nodes n SET storages = :storages, codecs = :codecs FROM those WHERE n.id = those.id
RETURNING n.id;

-- name: link_ffmpeg_nodes!
-- Which replica holds the nodes' links. They are locked in order, lest two who write many wait for each other in a circle.
WITH those AS MATERIALIZED (SELECT id FROM ffmpeg_nodes WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE)
UPDATE ffmpeg_nodes n SET linked_replica = :replica, unlinked_at = NULL FROM those WHERE n.id = those.id;

-- name: unlink_ffmpeg_nodes!
-- The links are closed, unless another replica has one already.
WITH those AS MATERIALIZED (
    SELECT id FROM ffmpeg_nodes WHERE id = ANY(:ids) AND linked_replica = :replica ORDER BY id FOR NO KEY UPDATE
)
UPDATE ffmpeg_nodes n SET linked_replica = NULL, unlinked_at = :broken_at FROM those WHERE n.id = those.id;

-- name: link_room_servers!
-- Which replica holds the room servers' links.
UPDATE room_servers SET linked_replica = :replica, unlinked_at = NULL WHERE id = ANY(:ids);

-- name: unlink_room_servers!
-- The links are closed, unless another replica has one already.
UPDATE room_servers SET linked_replica = NULL, unlinked_at = :broken_at WHERE id = ANY(:ids) AND linked_replica = :replica;

-- name: silent_ffmpeg_nodes
-- Nodes whose heartbeat is overdue, was never sent, or did not come since their link closed.
SELECT id, url, is_healthy, health_reason, last_heartbeat, unlinked_at FROM ffmpeg_nodes
WHERE deregistered_at IS NULL
  AND (last_heartbeat IS NULL OR last_heartbeat <= :before OR last_heartbeat <= unlinked_at);

-- name: silent_room_servers
-- Room servers whose heartbeat is overdue, was never sent, or did not come since their link closed.
SELECT id, url, is_healthy, health_reason, last_heartbeat, unlinked_at FROM room_servers
WHERE deregistered_at IS NULL
  AND (last_heartbeat IS NULL AND linked_replica IS NULL OR last_heartbeat <= :before OR last_heartbeat <= unlinked_at);

-- name: judge_ffmpeg_node$
-- A verdict on an FFmpeg node, unless it was heard or linked again meanwhile.
UPDATE ffmpeg_nodes SET is_healthy = :is_healthy, health_reason = :reason
WHERE id = :id AND last_heartbeat IS NOT DISTINCT FROM :last_heartbeat
  AND unlinked_at IS NOT DISTINCT FROM :unlinked_at
RETURNING id;

-- name: suspect_ffmpeg_nodes
-- One verdict on many FFmpeg nodes, each with its event; none that was heard or linked again meanwhile, or just is.
WITH silent AS (
    SELECT n.id
    FROM unnest(:ids::text[], :last_heartbeats::timestamptz[], :unlinked_ats::timestamptz[])
        AS seen (id, last_heartbeat, unlinked_at)
    JOIN ffmpeg_nodes n USING (id)
    WHERE n.last_heartbeat IS NOT DISTINCT FROM seen.last_heartbeat
      AND n.unlinked_at IS NOT DISTINCT FROM seen.unlinked_at
    FOR NO KEY UPDATE OF n SKIP LOCKED
), suspected AS (
    UPDATE ffmpeg_nodes n SET is_healthy = false, health_reason = :reason
    FROM silent WHERE n.id = silent.id
    RETURNING n.id
), told AS (
    INSERT INTO node_events (node_id, type, at, data) SELECT id, :verdict, :now, :data FROM suspected
)
SELECT id FROM suspected;

-- name: judge_room_server$
-- A verdict on a room server, unless it was heard or linked again meanwhile.
UPDATE room_servers SET is_healthy = :is_healthy, health_reason = :reason
WHERE id = :id AND last_heartbeat IS NOT DISTINCT FROM :last_heartbeat
  AND unlinked_at IS NOT DISTINCT FROM :unlinked_at
RETURNING id;

-- name: set_draining$
-- Take no new captures, or take them again.
UPDATE ffmpeg_nodes SET is_draining = :draining, desired_revision = desired_revision + 1
WHERE id = :id AND deregistered_at IS NULL
RETURNING id;

-- name: deregister_ffmpeg_node$
-- A mark, never a DELETE: history points here.
UPDATE ffmpeg_nodes SET deregistered_at = :now, is_healthy = false, health_reason = 'deregistered', linked_replica = NULL
WHERE id = :id AND deregistered_at IS NULL
RETURNING id;

-- name: deregister_room_server$
-- A mark, never a DELETE: recordings cascade on it.
UPDATE room_servers SET deregistered_at = :now, is_healthy = false, health_reason = 'deregistered', linked_replica = NULL
WHERE id = :id AND deregistered_at IS NULL
RETURNING id;

-- name: live_jobs_of_room_server$
-- Jobs that still record from a room server.
SELECT count(*) FROM recording_jobs
WHERE room_server_id = :id AND status IN ('pending', 'initializing', 'recording', 'interrupted', 'stopping');

-- name: revised_nodes
-- Nodes that should do something else than was sent to them.
SELECT n.id FROM unnest(:ids::text[], :revisions::bigint[]) AS sent (id, revision) JOIN ffmpeg_nodes n USING (id)
WHERE n.desired_revision <> sent.revision;

-- name: desired_revisions
-- The revisions of what nodes should do.
SELECT id, desired_revision FROM ffmpeg_nodes WHERE id = ANY(:ids);

-- name: desired_captures
-- What nodes should record.
SELECT c.node_id, c.id, c.job_id, c.epoch, c.role, c.streams, c.storage, c.forwarding, j.forwarding AS forwarded_by
FROM captures c JOIN recording_jobs j ON j.id = c.job_id
WHERE c.node_id = ANY(:node_ids) AND c.wanted AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
ORDER BY c.created_at;

-- name: desired_finalizations
-- What nodes should finalize.
SELECT * FROM recording_jobs WHERE status = 'processing' AND processing_node_id = ANY(:node_ids) ORDER BY created_at;

-- name: raise_revision!
-- What the node should do has changed.
UPDATE ffmpeg_nodes SET desired_revision = desired_revision + 1 WHERE id = :id;

-- name: raise_revisions!
-- What some nodes should do has changed; nodes in order, so that none waits for another in a circle.
WITH held AS (SELECT id FROM ffmpeg_nodes WHERE id = ANY(:ids) ORDER BY id FOR UPDATE)
UPDATE ffmpeg_nodes n SET desired_revision = desired_revision + 1 FROM held WHERE n.id = held.id;
