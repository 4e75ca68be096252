-- name: insert_capture!
-- A capture for a job and epoch, on a node whose capacity was claimed in the same transaction.
INSERT INTO captures (
    id, job_id, node_id, role, epoch, cost_mcpu, cost_bytes_per_s, streams, storage, placement, created_at)
VALUES (
    :id, :job_id, :node_id, :role::capture_role, :epoch, :cost_mcpu, :cost_bytes_per_s, :streams, :storage, :placement,
    :now);

-- name: capture_by_id^
-- One capture.
SELECT * FROM captures WHERE id = :id;

-- name: captures_of_job
-- All captures of a job, oldest epoch first.
SELECT * FROM captures WHERE job_id = :job_id ORDER BY epoch, role;

-- name: nodes_of_rooms
-- Of each of some jobs, the nodes that record somebody of its room.
SELECT DISTINCT asking.id AS job_id, c.node_id
FROM recording_jobs asking
JOIN recording_jobs j ON j.room_server_id = asking.room_server_id AND j.room_id = asking.room_id
JOIN captures c ON c.job_id = j.id
WHERE asking.id = ANY(:job_ids::text[])
  AND j.status IN ('pending', 'initializing', 'recording', 'interrupted')
  AND c.wanted AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving');

-- name: live_captures_of_node
-- What a node is recording, or was told to.
SELECT * FROM captures
WHERE node_id = :node_id AND state IN ('assigned', 'prepared', 'forwarding', 'receiving');

-- name: has_media$
-- True where anything of the job is on tape, or is known to be on a node's disk.
SELECT EXISTS (
    SELECT FROM captures c WHERE c.job_id = :job_id
      AND (c.first_packet_at IS NOT NULL OR EXISTS (SELECT FROM tape_chunks t WHERE t.capture_id = c.id)));

-- name: has_chunks$
-- True where a chunk of the job is in the object store.
SELECT EXISTS (
    SELECT FROM tape_chunks t JOIN captures c ON c.id = t.capture_id WHERE c.job_id = :job_id AND t.records > 0);

-- name: prepare_capture$
-- The node's ports are open.
UPDATE captures SET state = 'prepared', ip = :ip, ports = :ports, prepared_at = :now
WHERE id = :id AND node_id = :node_id AND state = 'assigned'
RETURNING job_id;

-- name: receive_capture$
-- The first packet is on the tape.
UPDATE captures SET state = 'receiving', first_packet_at = :first_packet_at, last_packet_at = :first_packet_at
WHERE id = :id AND node_id = :node_id AND state IN ('prepared', 'forwarding')
RETURNING job_id;

-- name: end_capture$
-- The capture is over, drained or lost, and its promise of capacity is given back.
WITH ended AS (
    UPDATE captures c SET state = :state::capture_state, wanted = false, ended_at = :now, lost_reason = :lost_reason,
        forwarding = CASE WHEN j.forwarding = 'client' THEN 'stopped' ELSE c.forwarding END
    FROM recording_jobs j
    WHERE c.id = :id AND j.id = c.job_id AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    RETURNING c.job_id, c.node_id, c.cost_mcpu, c.cost_bytes_per_s
), freed AS (
    UPDATE ffmpeg_nodes n SET load_mcpu = greatest(0, n.load_mcpu - ended.cost_mcpu),
        load_bytes_per_s = greatest(0, n.load_bytes_per_s - ended.cost_bytes_per_s),
        desired_revision = n.desired_revision + 1
    FROM ended WHERE n.id = ended.node_id
)
SELECT job_id FROM ended;

-- name: unwant_captures
-- Tell the nodes of a job's live captures to drain them; nodes in order, so that none waits for another in a circle.
WITH unwanted AS (
    UPDATE captures SET wanted = false
    WHERE job_id = :job_id AND wanted AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    RETURNING node_id
), held AS (
    SELECT id FROM ffmpeg_nodes WHERE id IN (SELECT node_id FROM unwanted) ORDER BY id FOR UPDATE
)
UPDATE ffmpeg_nodes n SET desired_revision = desired_revision + 1
FROM held WHERE n.id = held.id
RETURNING n.id;

-- name: captures_to_move
-- Some live captures on nodes that drain, or leave by themselves, or whose streams are others now, which have no
-- successor yet. Such nodes are few, and found first.
WITH left_by AS MATERIALIZED (
    SELECT id FROM ffmpeg_nodes WHERE deregistered_at IS NULL AND (is_draining OR (load ->> 'leaving')::boolean)
)
SELECT c.* FROM captures c JOIN left_by ON left_by.id = c.node_id
WHERE c.wanted AND NOT c.leaving AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
UNION ALL
SELECT * FROM captures
WHERE forwarding = 'changed' AND wanted AND NOT leaving AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
  AND node_id NOT IN (SELECT id FROM left_by)
ORDER BY created_at LIMIT :most;

-- name: captures_to_shed
-- Of some nodes that have too much to do the recording that brings least, unless one is on its way already.
WITH loaded AS MATERIALIZED (
    SELECT id FROM ffmpeg_nodes n
    WHERE deregistered_at IS NULL AND is_healthy AND NOT is_draining AND (load ->> 'sheds')::boolean
      AND NOT EXISTS (
          SELECT FROM captures going WHERE going.node_id = n.id AND going.leaving
            AND going.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
)
SELECT DISTINCT ON (c.node_id) c.* FROM captures c JOIN loaded ON loaded.id = c.node_id
WHERE c.wanted AND c.state = 'receiving'
ORDER BY c.node_id, (
    SELECT coalesce(sum((stream ->> 'bitrateBps')::bigint), 0)
    FROM jsonb_array_elements(coalesce(c.stats -> 'streams', '[]')) AS stream), c.id
LIMIT :most;

-- name: leave_capture$
-- The capture goes on until its successor receives.
UPDATE captures SET leaving = true
WHERE id = :id AND wanted AND NOT leaving AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
RETURNING id;

-- name: relieve_captures
-- A successor receives: those that waited for it are to be drained.
WITH relieved AS (
    UPDATE captures SET wanted = false
    WHERE job_id = :job_id AND role = :role::capture_role AND leaving AND wanted AND epoch < :epoch
      AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    RETURNING node_id
)
UPDATE ffmpeg_nodes n SET desired_revision = desired_revision + 1
FROM relieved WHERE n.id = relieved.node_id
RETURNING n.id;

-- name: keep_capture$
-- The successor was lost: the newest of those that waited for it stays, until another is found.
UPDATE captures SET leaving = false
WHERE id = (
    SELECT id FROM captures
    WHERE job_id = :job_id AND role = :role::capture_role AND leaving AND wanted
      AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    ORDER BY epoch DESC LIMIT 1)
RETURNING id;

-- name: promote_standby!
-- The standby, and one that leaves for it, is the primary from now on.
WITH promoted AS (
    UPDATE captures SET role = 'primary'
    WHERE job_id = :job_id AND role = 'standby' AND wanted
      AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    RETURNING job_id, node_id, leaving
)
UPDATE recording_jobs j SET ffmpeg_node_id = promoted.node_id
FROM promoted WHERE j.id = promoted.job_id AND NOT promoted.leaving;

-- name: late_captures
-- Captures their node did not prepare in time.
SELECT * FROM captures WHERE state = 'assigned' AND created_at <= :before ORDER BY created_at LIMIT :most;

-- name: store_stats!
-- Live numbers of many captures in one statement.
UPDATE captures c SET stats = r.stats, last_packet_at = coalesce(r.last_packet_at, c.last_packet_at),
    wants_key_frame = r.wants_key_frame
FROM jsonb_to_recordset(:reports)
    AS r (id text, node_id text, stats jsonb, last_packet_at timestamptz, wants_key_frame boolean)
WHERE c.id = r.id AND c.node_id = r.node_id AND c.state IN ('prepared', 'forwarding', 'receiving');

-- name: insert_chunks
-- Chunks are in the object store; the jobs of those that were not known yet.
WITH chunk AS (
    INSERT INTO tape_chunks (capture_id, seq, key, bytes, sha256, records, first_ns, last_ns, stored_at)
    SELECT r.capture_id, r.seq, r.key, r.bytes, r.sha256, r.records, r.first_ns, r.last_ns, :now
    FROM jsonb_to_recordset(:chunks) AS r (capture_id text, seq integer, key text, bytes bigint, sha256 text,
        records integer, first_ns bigint, last_ns bigint)
    JOIN captures c ON c.id = r.capture_id AND c.node_id = :node_id
    ON CONFLICT (capture_id, seq) DO NOTHING
    RETURNING capture_id
)
SELECT DISTINCT job_id FROM captures JOIN chunk ON captures.id = chunk.capture_id ORDER BY job_id;

-- name: captures_of_jobs
-- All captures of some jobs, oldest epoch first.
SELECT * FROM captures WHERE job_id = ANY(:job_ids) ORDER BY epoch, role;

-- name: cut_short
-- Of some jobs those that were stopped, but that no node is known to have recorded until then.
SELECT id FROM recording_jobs j
WHERE id = ANY(:job_ids) AND stopped_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM captures c WHERE c.job_id = j.id AND c.state = 'drained' AND c.ended_at >= j.stopped_at);

-- name: chunks_of_jobs
-- Every stored chunk of some jobs, in order.
SELECT t.* FROM tape_chunks t JOIN captures c ON c.id = t.capture_id
WHERE c.job_id = ANY(:job_ids) ORDER BY t.capture_id, t.seq;
