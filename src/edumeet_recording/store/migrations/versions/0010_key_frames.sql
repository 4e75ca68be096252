-- A capture whose node asks its sender for a key frame in vain: its room server is to be asked, within a budget.
ALTER TABLE captures ADD COLUMN wants_key_frame boolean NOT NULL DEFAULT false;
ALTER TABLE captures ADD COLUMN key_frame_asked_at timestamptz;
CREATE INDEX captures_without_key_frame ON captures (job_id) WHERE wants_key_frame AND wanted;
