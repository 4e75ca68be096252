-- name: waiting_jobs
-- Jobs that no capture records, or is about to, and that need one.
SELECT id AS job_id, coalesce(tenant_id, '') AS tenant_id, priority, created_at, cost_mcpu,
    status = 'interrupted' AS interrupted, not_before
FROM recording_jobs
WHERE status IN ('pending', 'interrupted')
  AND NOT EXISTS (
      SELECT FROM captures c WHERE c.job_id = recording_jobs.id AND c.wanted
        AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'));

-- name: ended_captures$
-- How many captures have made room since then.
SELECT count(*) FROM captures WHERE ended_at >= :since;

-- name: queue_length$
-- Jobs that wait for their first node.
SELECT count(*) FROM recording_jobs WHERE status = 'pending';
