-- name: locked_conduct^
-- How a node has done, locked.
SELECT failures, quarantines, quarantined_until FROM ffmpeg_nodes WHERE id = :id AND deregistered_at IS NULL FOR UPDATE;

-- name: keep_conduct!
-- How a node has done; while it is put aside its health says why.
UPDATE ffmpeg_nodes SET failures = :failures, quarantines = :quarantines, quarantined_until = :quarantined_until,
    quarantine_reason = :reason, health_reason = CASE WHEN is_healthy THEN :reason ELSE health_reason END
WHERE id = :id;

-- name: note_node_event!
-- What happened to a node or room server.
INSERT INTO node_events (node_id, type, at, data) VALUES (:node_id, :type, :now, :data);

-- name: events_of_node
-- The newest events of a node or room server, newest first.
SELECT id, node_id, type, at, data FROM node_events WHERE node_id = :node_id ORDER BY id DESC LIMIT :most;

-- name: quarantined_by_region
-- How many nodes are put aside.
SELECT region, count(*) AS count FROM ffmpeg_nodes
WHERE deregistered_at IS NULL AND quarantined_until > :now GROUP BY region;
