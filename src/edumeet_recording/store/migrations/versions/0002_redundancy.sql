-- No node can be the standby's: said once, until one is found.
ALTER TABLE recording_jobs ADD COLUMN standby_missing boolean NOT NULL DEFAULT false;
ALTER TABLE recording_jobs ADD COLUMN standby_retry_at timestamptz;

-- The loop that places standbys looks at no other jobs.
CREATE INDEX recording_jobs_redundant ON recording_jobs (status) WHERE options ->> 'redundancy' = '2';
