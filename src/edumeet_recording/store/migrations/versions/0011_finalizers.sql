-- Nodes that ended while they made the file, which is not counted with the job's own failed attempts.
ALTER TABLE recording_jobs ADD COLUMN finalizers_lost integer NOT NULL DEFAULT 0;
-- Nodes where making the file came to nothing: the next attempt is made elsewhere.
ALTER TABLE recording_jobs ADD COLUMN finalizers_tried text[] NOT NULL DEFAULT '{}';
