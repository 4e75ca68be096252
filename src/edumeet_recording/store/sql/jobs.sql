-- name: lock_peers
-- Those of some locks that nobody else holds; this transaction then does until it ends. It waits for none.
SELECT key FROM unnest(:keys::bigint[]) AS key WHERE pg_try_advisory_xact_lock(key);

-- name: circumstances
-- All that starts are decided by, a row for each in their order: the job its idempotency key named before, the room
-- server's region, a job that records this peer now or waits to, who records the room, and the tenant's limits. The
-- caller holds the lock of the peer.
SELECT r.region, earlier.id AS earlier_id, earlier.request_sha256 AS earlier_sha256, tenant.id,
    tenant.allowed_regions, tenant.max_active_recordings, tenant.max_queued_recordings, tenant.share,
    (
        SELECT id FROM recording_jobs j
        WHERE j.room_server_id = start.room_server_id AND j.room_id = start.room_id AND j.peer_id = start.peer_id
          AND status IN ('pending', 'initializing', 'recording', 'interrupted')
          AND coalesce(j.tenant_id, '') = coalesce(start.tenant_id, '')
        LIMIT 1
    ) AS running,
    ARRAY(
        SELECT DISTINCT c.node_id FROM recording_jobs j JOIN captures c ON c.job_id = j.id
        WHERE j.room_server_id = start.room_server_id AND j.room_id = start.room_id
          AND j.status IN ('pending', 'initializing', 'recording', 'interrupted')
          AND c.wanted AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving')
    ) AS room_nodes
FROM unnest(:keys::text[], :tenant_ids::text[], :room_server_ids::text[], :room_ids::text[], :peer_ids::text[])
    WITH ORDINALITY AS start (key, tenant_id, room_server_id, room_id, peer_id, position)
LEFT JOIN room_servers r ON r.id = start.room_server_id AND r.deregistered_at IS NULL
LEFT JOIN tenants tenant ON tenant.id = start.tenant_id
LEFT JOIN LATERAL (
    SELECT id, request_sha256 FROM recording_jobs j
    WHERE j.idempotency_key = start.key AND coalesce(j.tenant_id, '') = coalesce(start.tenant_id, '')
) AS earlier ON true
ORDER BY start.position;

-- name: insert_jobs!
-- New jobs with their first events: pending, or where a node is named, whose capacity was claimed, with a capture there.
WITH new AS (
    SELECT * FROM jsonb_to_recordset(:starts) AS start (
        id text, tenant_id text, room_server_id text, room_id text, peer_id text, region text, allowed_regions text[],
        peer_info jsonb, rtp_streams jsonb, options jsonb, requester_info jsonb, requested_by text, forwarding text,
        priority integer, cost_mcpu integer, cost_bytes_per_s integer, idempotency_key text, request_sha256 bytea,
        deadline timestamptz, created_at timestamptz, node_id text, capture_id text, streams jsonb, storage text,
        placement jsonb, told jsonb)
), job AS (
    INSERT INTO recording_jobs (
        status, epoch, event_seq, ffmpeg_node_id, id, tenant_id, room_server_id, room_id, peer_id, region,
        allowed_regions, peer_info, rtp_streams, options, requester_info, requested_by, forwarding, priority, cost_mcpu,
        cost_bytes_per_s, idempotency_key, request_sha256, deadline, created_at, updated_at)
    SELECT
        CASE WHEN node_id IS NULL THEN 'pending' ELSE 'initializing' END::job_status,
        CASE WHEN node_id IS NULL THEN 0 ELSE 1 END, CASE WHEN node_id IS NULL THEN 1 ELSE 2 END, node_id, id,
        tenant_id, room_server_id, room_id, peer_id, region, allowed_regions, peer_info, rtp_streams, options,
        requester_info, requested_by, forwarding, priority, cost_mcpu, cost_bytes_per_s, idempotency_key,
        request_sha256, deadline, created_at, created_at
    FROM new
), capture AS (
    INSERT INTO captures (
        id, job_id, node_id, role, epoch, cost_mcpu, cost_bytes_per_s, streams, storage, placement, created_at)
    SELECT capture_id, id, node_id, 'primary', 1, cost_mcpu, cost_bytes_per_s, streams, storage, placement, created_at
    FROM new WHERE node_id IS NOT NULL
), event AS (
    INSERT INTO job_events (job_id, seq, at, type, status, data)
    SELECT id, seq, created_at, type, type::job_status, CASE seq WHEN 1 THEN '{}' ELSE new.told END
    FROM new, (VALUES (1, 'pending'), (2, 'initializing')) AS step (seq, type)
    WHERE seq = 1 OR node_id IS NOT NULL
    ORDER BY id, seq
    RETURNING id, job_id
)
INSERT INTO webhook_deliveries (endpoint_id, event_id, job_id, created_at, next_attempt_at)
SELECT e.id, event.id, event.job_id, new.created_at, new.created_at
FROM event JOIN new ON new.id = event.job_id, webhook_endpoints e
WHERE e.disabled_at IS NULL AND (e.tenant_id IS NULL OR e.tenant_id = new.tenant_id);

-- name: locked_job^
-- A job that was not deleted, locked before anything that belongs to it.
SELECT * FROM recording_jobs WHERE id = :id AND deleted_at IS NULL FOR UPDATE;

-- name: locked_job_of^
-- The job of a capture, deleted or not, locked before the capture is read.
SELECT * FROM recording_jobs WHERE id = (SELECT job_id FROM captures WHERE id = :capture_id) FOR UPDATE;

-- name: locked_jobs
-- Several jobs that were not deleted, locked in one order, so that none waits for another in a circle.
SELECT * FROM recording_jobs WHERE id = ANY(:ids::text[]) AND deleted_at IS NULL ORDER BY id FOR UPDATE;

-- name: advance_job^
-- Compare-and-set of a job's state, with its event; nothing where the version is not the one that was read.
WITH job AS (
    UPDATE recording_jobs SET
        status = :status::job_status,
        reason = :reason,
        reason_detail = :detail,
        deadline = :deadline,
        not_before = :not_before,
        epoch = :epoch,
        attempts = :attempts,
        ffmpeg_node_id = coalesce(:node_id, ffmpeg_node_id),
        started_at = CASE WHEN :status::text = 'recording' THEN coalesce(started_at, :at) ELSE started_at END,
        stopped_at = CASE WHEN :status::text = 'stopping' THEN coalesce(stopped_at, :now) ELSE stopped_at END,
        ended_at = CASE WHEN :status::text IN ('completed', 'failed', 'cancelled') THEN :now END,
        late_media_at = CASE WHEN :status::text <> 'processing' THEN late_media_at END,
        processing_node_id = CASE WHEN :status::text <> 'processing' THEN processing_node_id END,
        processing_lease_until = CASE WHEN :status::text <> 'processing' THEN processing_lease_until END,
        finalizers_lost = CASE WHEN :status::text <> 'processing' THEN finalizers_lost ELSE 0 END,
        finalizers_tried = CASE WHEN :status::text <> 'processing' THEN finalizers_tried ELSE '{}' END,
        version = version + 1,
        event_seq = event_seq + 1,
        updated_at = :now
    WHERE id = :id AND version = :version
    RETURNING *
), event AS (
    INSERT INTO job_events (job_id, seq, at, type, status, data)
    SELECT id, event_seq, :now, :type, status, :data FROM job
    RETURNING id
), delivery AS (
    INSERT INTO webhook_deliveries (endpoint_id, event_id, job_id, created_at, next_attempt_at)
    SELECT e.id, event.id, job.id, :now, :now FROM webhook_endpoints e, event, job
    WHERE e.disabled_at IS NULL AND (e.tenant_id IS NULL OR e.tenant_id = job.tenant_id)
)
SELECT * FROM job;

-- name: note_event^
-- An event that changes no state; it raises the version all the same, so that events stay numbered without holes.
WITH job AS (
    UPDATE recording_jobs SET version = version + 1, event_seq = event_seq + 1, updated_at = :now,
        reason = coalesce(:reason, reason), reason_detail = coalesce(:detail, reason_detail)
    WHERE id = :id
    RETURNING *
), event AS (
    INSERT INTO job_events (job_id, seq, at, type, status, data)
    SELECT id, event_seq, :now, :type, status, :data FROM job
    RETURNING id
), delivery AS (
    INSERT INTO webhook_deliveries (endpoint_id, event_id, job_id, created_at, next_attempt_at)
    SELECT e.id, event.id, job.id, :now, :now FROM webhook_endpoints e, event, job
    WHERE e.disabled_at IS NULL AND (e.tenant_id IS NULL OR e.tenant_id = job.tenant_id)
)
SELECT * FROM job;

-- name: explain_wait!
-- Why a waiting job still waits; no event, the words change often.
UPDATE recording_jobs SET reason = :reason, reason_detail = :detail
WHERE id = :id AND status IN ('pending', 'interrupted')
  AND (reason IS DISTINCT FROM :reason OR reason_detail IS DISTINCT FROM :detail);

-- name: jobs_without_standby
-- Jobs to be recorded twice that only one capture records, or is about to: priority, then age.
SELECT * FROM recording_jobs j
WHERE options ->> 'redundancy' = '2' AND status IN ('initializing', 'recording', 'interrupted')
  AND (standby_retry_at IS NULL OR standby_retry_at <= :now)
  AND EXISTS (
      SELECT FROM captures c WHERE c.job_id = j.id AND c.role = 'primary' AND c.wanted
        AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
  AND NOT EXISTS (
      SELECT FROM captures c WHERE c.job_id = j.id AND c.role = 'standby' AND c.wanted
        AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
ORDER BY priority DESC, created_at, id
LIMIT :most;

-- name: miss_standby$
-- No node can be the standby's now; true where one could be until now.
UPDATE recording_jobs j SET standby_missing = true, standby_retry_at = :retry_at,
    warnings = CASE WHEN :warning = ANY(j.warnings) THEN j.warnings ELSE array_append(j.warnings, :warning) END
FROM (SELECT standby_missing FROM recording_jobs WHERE id = :id) AS before
WHERE j.id = :id
RETURNING NOT before.standby_missing;

-- name: delay_standby!
-- The standby was placed, or is to be placed later.
UPDATE recording_jobs SET standby_missing = false, standby_retry_at = :retry_at WHERE id = :id;

-- name: jobs_in_time
-- Jobs whose deadline has passed, and recordings that are too long, silent, or without their room server, with their
-- last packet: few at a time of ever so many.
SELECT j.*, (SELECT max(c.last_packet_at) FROM captures c WHERE c.job_id = j.id) AS last_packet_at,
    (SELECT min(c.unconfirmed_since) FROM captures c WHERE c.job_id = j.id AND c.wanted) AS room_lost_at
FROM recording_jobs j
WHERE status IN ('pending', 'initializing', 'recording', 'interrupted', 'stopping')
  AND (deadline <= :now OR status = 'recording' AND (
      reason = 'room_server_lost'
      OR started_at <= :now - make_interval(
          secs => least((options ->> 'max_duration_s')::float8, :max_duration_s::float8))
      OR NOT EXISTS (SELECT FROM captures c WHERE c.job_id = j.id AND c.last_packet_at > :silent_since)))
ORDER BY j.created_at;

-- name: jobs_to_settle
-- Stopping jobs without a live capture: what is on tape is all there will be.
SELECT * FROM recording_jobs j
WHERE status = 'stopping'
  AND NOT EXISTS (
      SELECT FROM captures c WHERE c.job_id = j.id AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
ORDER BY created_at
LIMIT :most;

-- name: release_processing!
-- Take a job from its finalizer after an attempt that came to nothing; the next one not before a while.
UPDATE recording_jobs SET
    processing_node_id = NULL, processing_lease_until = NULL, not_before = :not_before, reason_detail = :detail,
    attempts = attempts - (:blamed::text <> 'job')::int,
    finalizers_lost = finalizers_lost + (:blamed::text = 'finalizer')::int,
    finalizers_tried = array_append(array_remove(finalizers_tried, processing_node_id), processing_node_id),
    version = version + 1, updated_at = :now
WHERE id = :id AND status = 'processing' AND processing_attempt = :attempt;

-- name: renew_processing!
-- A sign of life of a finalizer.
UPDATE recording_jobs SET processing_lease_until = :until, processing_phase = :phase, processing_fraction = :fraction
WHERE id = :id AND processing_node_id = :node_id AND processing_attempt = :attempt AND status = 'processing';

-- name: store_result!
-- What the finalizer made; completed in the same transaction.
UPDATE recording_jobs SET
    file_key = :file_key, report_key = :report_key, file_bytes = :bytes, file_sha256 = :sha256,
    duration_s = :duration_s, report = :report,
    warnings = ARRAY(SELECT w FROM unnest(warnings) w WHERE w = ANY(:kept_warnings)) || :warnings,
    file_version = file_version + 1,
    processing_phase = NULL, processing_fraction = 1
WHERE id = :id;

-- name: mark_late_media!
-- A chunk came that the file may lack; a job whose tape is gone cannot be made anew.
UPDATE recording_jobs SET late_media_at = :now
WHERE id = :id AND status IN ('processing', 'completed', 'failed') AND tape_deleted_at IS NULL;

-- name: jobs_with_late_media
-- Ended jobs that got media and have been left in peace for a moment.
SELECT * FROM recording_jobs
WHERE status IN ('completed', 'failed') AND late_media_at <= :before AND tape_deleted_at IS NULL AND deleted_at IS NULL
ORDER BY late_media_at;

-- name: tape_is_kept$
-- True where the tape of a job was not deleted.
SELECT tape_deleted_at IS NULL FROM recording_jobs WHERE id = :id;

-- name: mark_deleted$
-- Hide an ended job; its objects are purged later.
UPDATE recording_jobs SET deleted_at = :now, version = version + 1
WHERE id = :id AND version = :version AND deleted_at IS NULL
RETURNING id;

-- name: set_legal_hold!
-- Nobody may delete it, nor retention its tape; or that is over.
UPDATE recording_jobs SET legal_hold = :held WHERE id = :id;

-- name: jobs_to_purge
-- Ended jobs whose tape's time is over (`tape`), or that were deleted or cancelled and still have objects (`all`).
SELECT id, (deleted_at IS NOT NULL OR status = 'cancelled') AS everything FROM recording_jobs j
WHERE status IN ('completed', 'failed', 'cancelled') AND NOT legal_hold AND purged_at IS NULL
  AND (deleted_at IS NOT NULL OR status = 'cancelled'
       OR (status = 'completed' AND tape_deleted_at IS NULL AND ended_at <= :tape_before))
  AND NOT EXISTS (
      SELECT FROM captures c WHERE c.job_id = j.id AND c.state IN ('assigned', 'prepared', 'forwarding', 'receiving'))
ORDER BY ended_at
LIMIT :most;

-- name: mark_purged!
-- The objects are gone: the tape only, or everything.
UPDATE recording_jobs SET
    tape_deleted_at = coalesce(tape_deleted_at, :now),
    purged_at = CASE WHEN :everything THEN :now ELSE purged_at END
WHERE id = :id;
