-- name: waiting_by_region
-- Recordings that wait since no node could take them.
SELECT region, count(*) AS count, min(created_at) AS since FROM recording_jobs
WHERE status = 'pending' AND reason = 'no_capacity'
GROUP BY region;

-- name: registered_by_region
-- How many FFmpeg nodes are registered: a region is lost when none of them lives.
SELECT region, count(*) AS count FROM ffmpeg_nodes WHERE deregistered_at IS NULL GROUP BY region;

-- name: node_states
-- Registered FFmpeg nodes with anything that may be wrong.
SELECT * FROM (
    SELECT id, region, is_healthy, last_heartbeat AS heard_at, health_reason, load ->> 'refusal' AS refusal,
        coalesce((load ->> 'diskUsedPercent')::real, 0) AS disk_used_percent,
        CASE WHEN quarantined_until > :now THEN coalesce(quarantine_reason, 'it keeps failing') END AS quarantine
    FROM ffmpeg_nodes
    WHERE deregistered_at IS NULL
) node
WHERE NOT is_healthy OR refusal IS NOT NULL OR disk_used_percent >= :full_percent OR quarantine IS NOT NULL
ORDER BY id;

-- name: room_server_states
-- Room servers that are not well.
SELECT id, region, is_healthy, last_heartbeat AS heard_at, health_reason FROM room_servers
WHERE deregistered_at IS NULL AND NOT is_healthy
ORDER BY id;

-- name: missing_by_region
-- Nodes that were given up before they came, and have not been followed by one that did.
SELECT region, count(*) AS count FROM fleet_requests r
WHERE state = 'failed' AND ended_at >= :since
  AND NOT EXISTS (SELECT FROM fleet_requests later WHERE later.region = r.region AND later.seen_at > r.ended_at)
GROUP BY region;

-- name: see_conditions
-- Open an alert for each condition that has none, and note of the others that they still hold; the new ones come back.
INSERT INTO alerts (rule, subject, region, severity, detail, opened_at, seen_at, next_attempt_at)
SELECT rule, subject, region, severity, detail, :now, :now, :now
FROM jsonb_to_recordset(:conditions) AS c (rule text, subject text, region text, severity text, detail text)
ON CONFLICT (rule, subject) WHERE recovered_at IS NULL
DO UPDATE SET seen_at = excluded.seen_at, detail = excluded.detail, severity = excluded.severity
RETURNING *, xmax = 0 AS is_new;

-- name: recover_alerts
-- Alerts whose condition has not been seen for a while are over.
UPDATE alerts SET recovered_at = :now, attempts = 0, next_attempt_at = :now
WHERE recovered_at IS NULL AND seen_at <= :before
RETURNING *;

-- name: alerts_to_tell
-- What nobody was told yet: that an alert is open, or that it is over.
SELECT * FROM alerts
WHERE next_attempt_at <= :now AND (
    (recovered_at IS NULL AND told_open_at IS NULL) OR (recovered_at IS NOT NULL AND told_recovered_at IS NULL))
ORDER BY id
LIMIT :most;

-- name: mark_told!
-- Everybody was told how these alerts stand; `over` where it was told of as over.
UPDATE alerts SET
    told_open_at = CASE WHEN told.over THEN told_open_at ELSE :now END,
    told_recovered_at = CASE WHEN told.over THEN :now END,
    attempts = 0
FROM unnest(:ids::bigint[], :over::boolean[]) AS told (id, over)
WHERE alerts.id = told.id;

-- name: postpone_telling!
-- Somebody could not be told; again after a pause that doubles.
UPDATE alerts SET attempts = attempts + 1,
    next_attempt_at = :now::timestamptz
        + least(:first_s::float8 * 2 ^ least(attempts, 20), :most_s::float8) * interval '1 second'
WHERE id = ANY(:ids);

-- name: page_of_alerts
-- Alerts, newest first; open ones, those that are over, or both.
SELECT id, rule, subject, region, severity, detail, opened_at, seen_at, recovered_at FROM alerts
WHERE (:is_open::boolean IS NULL OR (recovered_at IS NULL) = :is_open)
  AND (:before::bigint IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :most;
