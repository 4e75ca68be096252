-- name: recordings_by_id
-- What the API shows of recordings, each with the newest primary capture that lives, else the newest; unknown, deleted
-- and foreign ids are left out.
SELECT j.id, j.tenant_id, j.status, j.reason, j.reason_detail, j.not_before, j.deadline,
    j.room_server_id, j.room_id, j.peer_id, j.peer_info, j.requester_info, j.requested_by, j.ffmpeg_node_id, j.region,
    j.allowed_regions, c.placement, j.epoch, j.priority, j.options, j.forwarding, j.rtp_streams, j.created_at,
    j.started_at, j.stopped_at, j.ended_at, j.duration_s, j.processing_phase, j.processing_fraction, j.file_key,
    j.file_bytes, j.file_sha256, j.file_version, j.warnings, j.legal_hold,
    jsonb_path_query_array(j.report, '$.assets[*] ? (@.kind == "poster" || @.kind == "waveform")') AS assets,
    j.report -> 'parts' AS parts, c.epoch AS capture_epoch, c.ip, c.ports, c.streams AS capture_streams, c.stats,
    c.wanted AND c.state IN ('prepared', 'forwarding', 'receiving') AS listens, (
        SELECT jsonb_agg(jsonb_build_object(
            'role', role, 'node_id', node_id, 'epoch', epoch, 'state', state, 'leaving', leaving) ORDER BY role, epoch)
        FROM captures
        WHERE job_id = j.id AND wanted AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')) AS captures
FROM recording_jobs j
LEFT JOIN LATERAL (
    SELECT * FROM captures WHERE captures.job_id = j.id AND role = 'primary'
    ORDER BY (wanted AND state NOT IN ('drained', 'lost')) DESC, epoch DESC LIMIT 1
) c ON true
WHERE j.id = ANY(:ids) AND j.deleted_at IS NULL AND (:tenant_id::text IS NULL OR j.tenant_id = :tenant_id)
ORDER BY j.created_at DESC, j.id DESC;

-- name: page_of_recordings
-- One page of ids, newest first; every filter is optional, the cursor is the last row of the page before.
SELECT id, created_at FROM recording_jobs
WHERE deleted_at IS NULL AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id)
  AND (:statuses::text[] IS NULL OR status = ANY(:statuses::text[]::job_status[]))
  AND (:room_server_id::text IS NULL OR room_server_id = :room_server_id)
  AND (:room_id::text IS NULL OR room_id = :room_id)
  AND (:peer_id::text IS NULL OR peer_id = :peer_id)
  AND (:region::text IS NULL OR region = :region)
  AND (:created_from::timestamptz IS NULL OR created_at >= :created_from)
  AND (:created_to::timestamptz IS NULL OR created_at < :created_to)
  AND (:before_at::timestamptz IS NULL OR (created_at, id) < (:before_at, :before_id::text))
ORDER BY created_at DESC, id DESC
LIMIT :most;

-- name: stored_recording^
-- Where the file and the report of a recording are.
SELECT id, status, options, room_id, peer_id, started_at, created_at, file_key, file_bytes, file_sha256, report
FROM recording_jobs
WHERE id = :id AND deleted_at IS NULL AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id);

-- name: events_of_job
-- Events of one job after number `after`.
SELECT e.* FROM job_events e WHERE e.job_id = :job_id AND e.seq > :after ORDER BY e.seq LIMIT :most;

-- name: events_after
-- Events of all jobs in the order of their ids, with what watchers filter by.
SELECT e.*, j.tenant_id, j.room_id, j.peer_id, j.region, j.room_server_id
FROM job_events e JOIN recording_jobs j ON j.id = e.job_id
WHERE e.id > :after
ORDER BY e.id
LIMIT :most;

-- name: last_event_id$
-- The highest event id that can be seen now.
SELECT coalesce(max(id), 0) FROM job_events;

-- name: event_writers
-- The transactions that have written events, or are about to, and have not ended.
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'job_events'::regclass AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: room_servers
-- Registered room servers.
SELECT id, url, region, capacity, specs, is_healthy, health_reason, rooms, peers, linked_replica, registered_at,
    last_heartbeat
FROM room_servers
WHERE deregistered_at IS NULL AND (:id::text IS NULL OR id = :id)
ORDER BY id;

-- name: ffmpeg_nodes
-- Registered FFmpeg nodes with the number of captures they have.
SELECT n.id, n.url, n.region, n.specs, n.failure_domain, n.version, n.is_healthy, n.health_reason,
    n.is_draining OR coalesce((n.load ->> 'leaving')::boolean, false) AS is_draining, n.accepts_captures,
    n.capacity_mcpu, n.load_mcpu, n.processing_slots, n.load, n.linked_replica, n.registered_at, n.last_heartbeat,
    n.quarantined_until, (
        SELECT count(*) FROM captures c
        WHERE c.node_id = n.id AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')) AS captures
FROM ffmpeg_nodes n
WHERE n.deregistered_at IS NULL AND n.id = ANY(:ids)
ORDER BY n.id;

-- name: metrics_between
-- Rows of the history, newest first, so that a limit keeps the newest.
SELECT timestamp, total_room_servers, healthy_room_servers, total_ffmpeg_nodes, healthy_ffmpeg_nodes,
    active_recordings, total_capacity, current_load, queue_length, regional_metrics
FROM system_metrics
WHERE timestamp >= :since AND timestamp < :until
ORDER BY timestamp DESC, id DESC
LIMIT :most;

-- name: scaling_events_after
-- Decisions and alerts of the autoscaler after `after`; they are written one after the other, so ids come in order.
SELECT id, at, region, action, reason, data FROM scaling_events WHERE id > :after ORDER BY id LIMIT :most;

-- name: last_scaling_event_id$
-- The highest id of a scaling event.
SELECT coalesce(max(id), 0) FROM scaling_events;
