-- name: jobs_to_process
-- Jobs that need a finalizer, by priority, then age: nobody has them, or the lease ran out. A node that is thought healthy,
-- and was not heard since, has yet to say what it is at: orchestrators or database may have been away.
SELECT id, version, region, allowed_regions, options, rtp_streams, processing_node_id, finalizers_tried,
    ARRAY(SELECT DISTINCT storage FROM captures c WHERE c.job_id = j.id) AS storages
FROM recording_jobs j
WHERE status = 'processing'
  AND (processing_node_id IS NULL OR processing_lease_until <= :now AND NOT EXISTS (
      SELECT FROM ffmpeg_nodes n
      WHERE n.id = j.processing_node_id AND n.is_healthy AND n.last_heartbeat <= j.processing_lease_until))
  AND (not_before IS NULL OR not_before <= :now)
ORDER BY priority DESC, created_at;

-- name: finalizers
-- Nodes with free processing slots that do not leave, the emptiest first; draining ones where there are no others in the
-- region. At most so many of those that are equal to a job.
WITH busy AS (
    SELECT processing_node_id AS id, count(*) AS jobs FROM recording_jobs
    WHERE status = 'processing' AND processing_node_id IS NOT NULL
    GROUP BY processing_node_id
), able AS (
    SELECT n.id, n.region, n.storages, n.is_draining, coalesce((n.specs ->> 'hasGPU')::boolean, false) AS has_gpu,
        n.processing_slots - coalesce(busy.jobs, 0) AS free_slots,
        bool_and(n.is_draining) OVER (PARTITION BY n.region) AS all_drain
    FROM ffmpeg_nodes n LEFT JOIN busy USING (id)
    WHERE n.deregistered_at IS NULL AND n.is_healthy AND n.processing_slots > 0
      AND (n.load ->> 'leaving')::boolean IS NOT TRUE
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY region, has_gpu, storages ORDER BY free_slots DESC, id) AS place
    FROM able WHERE free_slots > 0 AND (all_drain OR NOT is_draining)
)
SELECT id, region, storages, has_gpu, free_slots FROM ranked WHERE place <= :most ORDER BY free_slots DESC, id;

-- name: lease
-- Give jobs that nobody holds to finalizers, each as its next attempt; compare-and-set. What somebody else is about to
-- change is left for the next time.
WITH free AS (
    SELECT j.id, given.node_id, given.storage
    FROM unnest(:ids::text[], :versions::integer[], :node_ids::text[], :storages::text[])
        AS given (id, version, node_id, storage)
    JOIN recording_jobs j ON j.id = given.id AND j.version = given.version
    WHERE j.status = 'processing' AND j.processing_node_id IS NULL
    ORDER BY j.id
    FOR NO KEY UPDATE OF j SKIP LOCKED
)
UPDATE recording_jobs j SET
    processing_node_id = free.node_id, processing_attempt = j.processing_attempt + 1, processing_lease_until = :until,
    processing_phase = NULL, processing_fraction = NULL, file_storage = free.storage, attempts = j.attempts + 1,
    version = j.version + 1, updated_at = :now
FROM free WHERE j.id = free.id
RETURNING j.processing_node_id AS node_id;
