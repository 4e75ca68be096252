-- When the stored objects of an ended job were last compared with its rows.
ALTER TABLE recording_jobs ADD COLUMN stock_taken_at timestamptz;
CREATE INDEX recording_jobs_unchecked ON recording_jobs (ended_at)
    WHERE status IN ('completed', 'failed') AND deleted_at IS NULL AND stock_taken_at IS NULL;
