-- Patterns of the regions that a recording may be in, tape and file too; NULL: any.
ALTER TABLE recording_jobs ADD COLUMN allowed_regions text[];
-- The storage that the file of the present attempt goes to; empty: the default one.
ALTER TABLE recording_jobs ADD COLUMN file_storage text NOT NULL DEFAULT '';
ALTER TABLE recording_jobs ADD COLUMN cost_bytes_per_s integer NOT NULL DEFAULT 0 CHECK (cost_bytes_per_s >= 0);

-- The storage that the tape goes to; empty: the default one.
ALTER TABLE captures ADD COLUMN storage text NOT NULL DEFAULT '';
ALTER TABLE captures ADD COLUMN cost_bytes_per_s integer NOT NULL DEFAULT 0 CHECK (cost_bytes_per_s >= 0);
-- Why this node, and why not those.
ALTER TABLE captures ADD COLUMN placement jsonb;
-- How often captures end tells how long the queue will take.
CREATE INDEX captures_ended ON captures (ended_at) WHERE ended_at IS NOT NULL;

-- What the node says of itself when it links; NULL: an older release, which has the default storage only.
ALTER TABLE ffmpeg_nodes ADD COLUMN storages text[];
ALTER TABLE ffmpeg_nodes ADD COLUMN codecs text[];
-- Bytes a second that network and disk take; NULL: nobody has measured.
ALTER TABLE ffmpeg_nodes ADD COLUMN capacity_bytes_per_s bigint CHECK (capacity_bytes_per_s >= 0);
ALTER TABLE ffmpeg_nodes ADD COLUMN load_bytes_per_s bigint NOT NULL DEFAULT 0 CHECK (load_bytes_per_s >= 0);
-- As for milli-cores: two replicas cannot promise the same bytes.
ALTER TABLE ffmpeg_nodes ADD CONSTRAINT ffmpeg_nodes_bytes_not_oversold
    CHECK (load_bytes_per_s <= capacity_bytes_per_s);

ALTER TABLE tenants ADD COLUMN max_queued_recordings integer CHECK (max_queued_recordings >= 0);
-- Of the fleet while there is a queue, against other tenants.
ALTER TABLE tenants ADD COLUMN share integer NOT NULL DEFAULT 1 CHECK (share > 0);
ALTER TABLE tenants ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
-- Quotas count a tenant's live jobs.
CREATE INDEX recording_jobs_live_tenant ON recording_jobs (tenant_id, status)
    WHERE status IN ('pending', 'initializing', 'recording', 'interrupted');
