-- name: see_replica!
-- A replica's sign of life.
INSERT INTO replicas (id, url, started_at, seen_at) VALUES (:id, :url, :now, :now)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at;

-- name: living_replicas
-- Who was seen lately.
SELECT id FROM replicas WHERE seen_at > :since;

-- name: shown_replicas
-- Who was seen lately, who of them was elected last, and how many links each holds.
SELECT r.id, r.url, r.started_at, r.seen_at, r.id IS NOT DISTINCT FROM (SELECT replica FROM leadership) AS leads,
    (SELECT count(*) FROM ffmpeg_nodes WHERE linked_replica = r.id AND deregistered_at IS NULL) AS ffmpeg_nodes,
    (SELECT count(*) FROM room_servers WHERE linked_replica = r.id AND deregistered_at IS NULL) AS room_servers
FROM replicas r
WHERE r.seen_at > :since
ORDER BY r.started_at, r.id;

-- name: forget_replica!
-- A replica ends, and has closed its links.
DELETE FROM replicas WHERE id = :id;

-- name: links^
-- How many nodes of each kind have a link to any replica.
SELECT
    (SELECT count(*) FROM ffmpeg_nodes WHERE linked_replica IS NOT NULL AND deregistered_at IS NULL) AS "ffmpeg-node",
    (SELECT count(*) FROM room_servers WHERE linked_replica IS NOT NULL AND deregistered_at IS NULL) AS "room-server";

-- name: forget_dead_replicas
-- Links that died with their replica, and that nobody has heard through since.
WITH living AS (
    SELECT id FROM replicas WHERE seen_at > :before
), nodes AS (
    UPDATE ffmpeg_nodes SET linked_replica = NULL, unlinked_at = :now
    WHERE linked_replica <> :replica AND linked_replica NOT IN (SELECT id FROM living)
      AND (last_heartbeat IS NULL OR last_heartbeat <= :before)
    RETURNING id
), rooms AS (
    UPDATE room_servers SET linked_replica = NULL, unlinked_at = :now
    WHERE linked_replica <> :replica AND linked_replica NOT IN (SELECT id FROM living)
      AND (last_heartbeat IS NULL OR last_heartbeat <= :before)
    RETURNING id
), dead AS (
    DELETE FROM replicas WHERE seen_at <= :before
)
SELECT id FROM nodes UNION ALL SELECT id FROM rooms;
