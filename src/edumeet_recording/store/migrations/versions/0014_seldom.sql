-- What is seldom there, and looked for all the time, is found without reading all that was ever recorded.
CREATE INDEX captures_changed ON captures (node_id) WHERE forwarding = 'changed' AND wanted;
CREATE INDEX recording_jobs_late_media ON recording_jobs (late_media_at)
    WHERE status IN ('completed', 'failed') AND tape_deleted_at IS NULL AND deleted_at IS NULL AND late_media_at IS NOT NULL;
CREATE INDEX recording_jobs_to_purge ON recording_jobs (ended_at)
    WHERE purged_at IS NULL
      AND (deleted_at IS NOT NULL OR status = 'cancelled' OR status = 'completed' AND tape_deleted_at IS NULL);
