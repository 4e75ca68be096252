-- name: jobs_of_ghosts
-- Jobs that record no more, and whose captures are wanted all the same.
SELECT DISTINCT c.job_id FROM captures c JOIN recording_jobs j ON j.id = c.job_id
WHERE c.wanted AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
  AND (j.status NOT IN ('initializing', 'recording', 'interrupted') OR j.deleted_at IS NOT NULL);

-- name: abandoned_captures
-- Captures that nobody has wanted for long, and that their node has not ended.
SELECT c.id, c.node_id FROM captures c JOIN recording_jobs j ON j.id = c.job_id
WHERE NOT c.wanted AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
  AND greatest(c.created_at, c.last_packet_at, j.updated_at) <= :before;

-- name: jobs_without_capture
-- Jobs that record, or are about to, with nothing that does so.
SELECT id FROM recording_jobs j
WHERE status IN ('initializing', 'recording') AND updated_at <= :before
  AND NOT EXISTS (
      SELECT FROM captures c WHERE c.job_id = j.id AND c.wanted
        AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'));

-- name: nodes_with_wrong_load
-- Nodes whose promised capacity is not what their captures cost.
SELECT n.id FROM ffmpeg_nodes n LEFT JOIN (
    SELECT node_id, sum(cost_mcpu) AS mcpu, sum(cost_bytes_per_s) AS bytes_per_s FROM captures
    WHERE state IN ('assigned', 'prepared', 'forwarding', 'receiving') GROUP BY node_id
) c ON c.node_id = n.id
WHERE n.load_mcpu <> coalesce(c.mcpu, 0) OR n.load_bytes_per_s <> coalesce(c.bytes_per_s, 0);

-- name: hold_node$
-- Nobody claims or frees capacity of this node before the transaction ends.
SELECT load_mcpu FROM ffmpeg_nodes WHERE id = :id FOR UPDATE;

-- name: correct_load$
-- What the captures of a node cost, as its load; nothing where that is what it was. The node is held.
UPDATE ffmpeg_nodes n SET load_mcpu = least(c.mcpu, n.capacity_mcpu),
    load_bytes_per_s = least(c.bytes_per_s, n.capacity_bytes_per_s)
FROM (
    SELECT coalesce(sum(cost_mcpu), 0) AS mcpu, coalesce(sum(cost_bytes_per_s), 0) AS bytes_per_s FROM captures
    WHERE node_id = :id AND state IN ('assigned', 'prepared', 'forwarding', 'receiving')
) c
WHERE n.id = :id AND (n.load_mcpu <> least(c.mcpu, n.capacity_mcpu) OR n.load_bytes_per_s <> least(c.bytes_per_s, n.capacity_bytes_per_s))
RETURNING n.load_mcpu;

-- name: jobs_to_take_stock_of
-- Ended jobs whose objects nobody has looked over since they ended.
SELECT * FROM recording_jobs
WHERE status IN ('completed', 'failed') AND deleted_at IS NULL AND ended_at <= :ended_before
  AND (stock_taken_at IS NULL OR stock_taken_at < ended_at)
ORDER BY ended_at
LIMIT :most;

-- name: take_stock!
-- The objects of a job were looked over.
UPDATE recording_jobs SET stock_taken_at = :now WHERE id = :id;

-- name: chunk_keys
-- Where the tape of a job is, as far as rows know; nothing once it was deleted.
SELECT t.key FROM tape_chunks t JOIN captures c ON c.id = t.capture_id JOIN recording_jobs j ON j.id = c.job_id
WHERE j.id = :job_id AND j.tape_deleted_at IS NULL;

-- name: known_jobs
-- Those of the ids that are a job's.
SELECT id FROM recording_jobs WHERE id = ANY(:ids);
