-- name: forward_capture$
-- The sender was told where to send, the first time; `streams` is what it will really send.
UPDATE captures SET
    state = CASE WHEN state = 'prepared' THEN 'forwarding'::capture_state ELSE state END,
    forwarding = 'configured', forwarding_error = NULL, streams = :streams, streams_retry_at = :retry_at
WHERE id = :id AND wanted AND forwarding = 'none' AND state IN ('prepared', 'forwarding', 'receiving')
RETURNING node_id;

-- name: renew_streams$
-- The room server was asked again: `streams` is what it sends now, `former` what it does not send any more. Where there
-- was a reason meanwhile to ask once more (`asked_for` is not when it was to be asked), the answer is too old.
UPDATE captures SET streams = :streams, former_streams = former_streams || :former,
    streams_retry_at = :retry_at, streams_asked = streams_asked + 1
WHERE id = :id AND wanted AND forwarding = 'configured' AND streams_retry_at = :asked_for
RETURNING node_id;

-- name: ask_again!
-- A stream stalled: the peer may publish it anew, and its room server is to be asked at once.
UPDATE captures SET streams_retry_at = :now, streams_asked = 0 WHERE id = :id AND wanted AND forwarding = 'configured';

-- name: ask_again_for_peer!
-- What a peer publishes has changed, says its room server.
UPDATE captures c SET streams_retry_at = :now, streams_asked = 0
FROM recording_jobs j
WHERE c.job_id = j.id AND j.room_server_id = :room_server_id AND j.room_id = :room_id AND j.peer_id = :peer_id
  AND c.wanted AND c.forwarding = 'configured';

-- name: settle_doubt$
-- The room server was asked again, and still sends what it did (`configured`), or something else (`changed`).
UPDATE captures SET forwarding = :forwarding, forwarding_error = NULL, unconfirmed_since = NULL
WHERE id = :id AND wanted AND forwarding = 'unconfirmed'
RETURNING id;

-- name: fail_forwarding$
-- The room server could not be told; tried again later, unless another replica has told it meanwhile.
UPDATE captures SET forwarding_error = :error, forwarding_attempts = forwarding_attempts + 1,
    forwarding_retry_at = :retry_at
WHERE id = :id AND forwarding = :forwarding
RETURNING id;

-- name: end_forwarding!
-- The room server does not send any more, or nobody can tell it: it is not asked again.
UPDATE captures SET forwarding = 'stopped', forwarding_error = :error WHERE id = :id;

-- name: jobs_forwarded_by
-- Jobs with a capture that a room server sends to, or is to be told of.
SELECT DISTINCT c.job_id FROM captures c JOIN recording_jobs j ON j.id = c.job_id
WHERE j.room_server_id = :room_server_id AND j.forwarding = 'room-server'
  AND (c.wanted AND c.state IN ('prepared', 'forwarding', 'receiving') OR c.forwarding IN ('configured', 'unconfirmed'));

-- name: jobs_to_tell_lost
-- Recordings that are not told yet that their room server is lost.
SELECT DISTINCT c.job_id FROM captures c JOIN recording_jobs j ON j.id = c.job_id
WHERE j.room_server_id = :room_server_id AND j.forwarding = 'room-server' AND c.wanted
  AND c.state IN ('prepared', 'forwarding', 'receiving')
  AND (c.forwarding = 'configured'
       OR c.forwarding = 'unconfirmed' AND j.status = 'recording' AND j.reason IS DISTINCT FROM 'room_server_lost');

-- name: doubt_forwardings
-- The room server may have forgotten what it sends for this job: it is asked again, at once.
UPDATE captures SET forwarding = 'unconfirmed', unconfirmed_since = :now, forwarding_retry_at = NULL,
    forwarding_attempts = 0
WHERE job_id = :job_id AND wanted AND forwarding = 'configured'
  AND state IN ('prepared', 'forwarding', 'receiving')
RETURNING id;

-- name: hurry_forwardings!
-- The room server can be reached again: what it could not be told it is told at once.
UPDATE captures SET forwarding_retry_at = NULL, forwarding_attempts = 0
WHERE job_id = :job_id AND forwarding_retry_at IS NOT NULL;

-- name: captures_to_forward
-- Captures whose room server is still to be told, or is to be asked again, among those this replica speaks to and does
-- not speak of now.
WITH due AS (
    SELECT id FROM captures
    WHERE wanted AND forwarding IN ('none', 'unconfirmed')
      AND (forwarding = 'none' AND state = 'prepared'
           OR forwarding = 'unconfirmed' AND state IN ('prepared', 'forwarding', 'receiving'))
      AND (forwarding_retry_at IS NULL OR forwarding_retry_at <= :now)
    UNION ALL
    SELECT id FROM captures
    WHERE wanted AND forwarding = 'configured' AND state IN ('forwarding', 'receiving') AND streams_retry_at <= :now
)
SELECT c.*, j.room_id, j.peer_id, j.room_server_id, j.rtp_streams, r.url AS room_server_url
FROM due
JOIN captures c ON c.id = due.id
JOIN recording_jobs j ON j.id = c.job_id
JOIN room_servers r ON r.id = j.room_server_id
WHERE j.forwarding = 'room-server' AND (j.room_server_id = ANY(:linked) OR (:leading AND r.linked_replica IS NULL))
  AND c.id <> ALL(:busy::text[])
ORDER BY c.created_at
LIMIT :most;

-- name: captures_without_key_frame
-- Of each job whose room server this replica speaks to a capture that needs a key frame, unless one was asked for lately:
-- both captures of a redundant recording have the same sender.
SELECT DISTINCT ON (c.job_id) c.*, j.room_server_id, r.url AS room_server_url
FROM captures c
JOIN recording_jobs j ON j.id = c.job_id
JOIN room_servers r ON r.id = j.room_server_id
WHERE c.wants_key_frame AND c.wanted AND c.state = 'receiving' AND c.forwarding = 'configured'
  AND j.forwarding = 'room-server' AND (j.room_server_id = ANY(:linked) OR (:leading AND r.linked_replica IS NULL))
  AND NOT EXISTS (SELECT FROM captures a WHERE a.job_id = c.job_id AND a.key_frame_asked_at > :asked_before)
ORDER BY c.job_id, c.epoch;

-- name: key_frame_asked!
-- A capture's room server was asked for a key frame, or could not be.
UPDATE captures SET key_frame_asked_at = :now WHERE id = :id;

-- name: captures_to_unforward
-- Captures that are over or unwanted, whose room server still sends, or may have been told to. A lost one is sent to
-- until its successor receives, for its node may only be cut off from us; without one for a while, or until the end.
SELECT c.*, j.room_server_id, r.url AS room_server_url
FROM captures c
JOIN recording_jobs j ON j.id = c.job_id
JOIN room_servers r ON r.id = j.room_server_id
WHERE NOT c.wanted AND c.forwarding <> 'stopped' AND j.forwarding = 'room-server'
  AND (c.forwarding IN ('configured', 'unconfirmed', 'changed')
       OR c.forwarding = 'none' AND c.prepared_at IS NOT NULL)
  AND (c.forwarding_retry_at IS NULL OR c.forwarding_retry_at <= :now)
  AND (j.room_server_id = ANY(:linked) OR (:leading AND r.linked_replica IS NULL))
  AND (c.state <> 'lost' OR j.status NOT IN ('initializing', 'recording', 'interrupted')
       OR EXISTS (
           SELECT FROM captures s WHERE s.job_id = c.job_id AND s.epoch <> c.epoch AND s.wanted AND s.state = 'receiving'
             AND (s.role = c.role AND s.epoch > c.epoch OR c.ended_at <= :lost_before)))
  AND c.id <> ALL(:busy::text[])
ORDER BY c.created_at
LIMIT :most;
