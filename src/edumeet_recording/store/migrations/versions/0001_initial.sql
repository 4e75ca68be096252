CREATE TYPE job_status AS ENUM (
    'pending', 'initializing', 'recording', 'interrupted', 'stopping', 'processing', 'completed', 'failed', 'cancelled');
CREATE TYPE capture_state AS ENUM ('assigned', 'prepared', 'forwarding', 'receiving', 'drained', 'lost');
CREATE TYPE capture_role AS ENUM ('primary', 'standby');

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    allowed_regions TEXT[],
    max_active_recordings INTEGER CHECK (max_active_recordings >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE room_servers (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    region TEXT NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity > 0),
    specs JSONB NOT NULL DEFAULT '{}',
    is_healthy BOOLEAN NOT NULL DEFAULT true,
    health_reason TEXT,
    rooms INTEGER NOT NULL DEFAULT 0,
    peers INTEGER NOT NULL DEFAULT 0,
    linked_replica TEXT,
    token_sha256 BYTEA NOT NULL,
    registered_at TIMESTAMPTZ NOT NULL,
    last_heartbeat TIMESTAMPTZ,
    -- a mark, never a DELETE: recording_jobs cascade on this table
    deregistered_at TIMESTAMPTZ
);

CREATE TABLE ffmpeg_nodes (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    region TEXT NOT NULL,
    specs JSONB NOT NULL DEFAULT '{}',
    failure_domain TEXT,
    version TEXT,
    is_healthy BOOLEAN NOT NULL DEFAULT true,
    health_reason TEXT,
    is_draining BOOLEAN NOT NULL DEFAULT false,
    accepts_captures BOOLEAN NOT NULL DEFAULT true,
    capacity_mcpu INTEGER NOT NULL CHECK (capacity_mcpu >= 0),
    load_mcpu INTEGER NOT NULL DEFAULT 0 CHECK (load_mcpu >= 0),
    processing_slots INTEGER NOT NULL DEFAULT 1 CHECK (processing_slots >= 0),
    load JSONB NOT NULL DEFAULT '{}',
    -- raised in the transaction that changes what the node should do; its link compares
    desired_revision BIGINT NOT NULL DEFAULT 1,
    linked_replica TEXT,
    -- when the last link closed; NULL while there is one, or never was
    unlinked_at TIMESTAMPTZ,
    token_sha256 BYTEA NOT NULL,
    registered_at TIMESTAMPTZ NOT NULL,
    last_heartbeat TIMESTAMPTZ,
    deregistered_at TIMESTAMPTZ,
    -- the guarded UPDATE that claims capacity rests on this: two replicas cannot oversell a node
    CONSTRAINT ffmpeg_nodes_not_oversold CHECK (load_mcpu <= capacity_mcpu)
);

CREATE TABLE recording_jobs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT,
    room_server_id TEXT NOT NULL,
    ffmpeg_node_id TEXT,
    room_id TEXT NOT NULL,
    peer_id TEXT NOT NULL,
    region TEXT NOT NULL,
    peer_info JSONB NOT NULL DEFAULT '{}',
    rtp_streams JSONB NOT NULL,
    options JSONB NOT NULL,
    requester_info JSONB NOT NULL DEFAULT '{}',
    requested_by TEXT,
    forwarding TEXT NOT NULL CHECK (forwarding IN ('room-server', 'client')),
    priority INTEGER NOT NULL DEFAULT 0,
    cost_mcpu INTEGER NOT NULL CHECK (cost_mcpu > 0),
    idempotency_key TEXT,
    request_sha256 BYTEA NOT NULL,
    status job_status NOT NULL DEFAULT 'pending',
    reason TEXT,
    reason_detail TEXT,
    -- compare-and-set: every change of the row raises it
    version INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0,
    event_seq INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before TIMESTAMPTZ,
    deadline TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    stopped_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ,
    processing_node_id TEXT REFERENCES ffmpeg_nodes (id),
    -- over all rounds: each attempt writes to a place of its own
    processing_attempt INTEGER NOT NULL DEFAULT 0,
    -- set when a chunk was stored that the last file, or the one being made, may lack
    late_media_at TIMESTAMPTZ,
    processing_lease_until TIMESTAMPTZ,
    processing_phase TEXT,
    processing_fraction REAL,
    file_key TEXT,
    report_key TEXT,
    file_bytes BIGINT,
    file_sha256 TEXT,
    -- 1 for the first file, raised when late media made it anew
    file_version INTEGER NOT NULL DEFAULT 0,
    duration_s DOUBLE PRECISION,
    report JSONB,
    warnings TEXT[] NOT NULL DEFAULT '{}',
    legal_hold BOOLEAN NOT NULL DEFAULT false,
    tape_deleted_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ,
    -- when the objects of a deleted job were removed from storage
    purged_at TIMESTAMPTZ,
    CONSTRAINT recording_jobs_final_has_end CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CONSTRAINT recording_jobs_completed_has_file CHECK (status <> 'completed' OR file_key IS NOT NULL)
);

CREATE TABLE captures (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES recording_jobs (id) ON DELETE CASCADE,
    node_id TEXT NOT NULL REFERENCES ffmpeg_nodes (id),
    role capture_role NOT NULL DEFAULT 'primary',
    epoch INTEGER NOT NULL,
    state capture_state NOT NULL DEFAULT 'assigned',
    -- false: the node is to drain it
    wanted BOOLEAN NOT NULL DEFAULT true,
    -- true: recording goes on here until a successor on another node receives (make before break)
    leaving BOOLEAN NOT NULL DEFAULT false,
    cost_mcpu INTEGER NOT NULL,
    ip TEXT,
    ports JSONB,
    streams JSONB NOT NULL,
    -- none → configured → stopped; 'failed' carries forwarding_error
    forwarding TEXT NOT NULL DEFAULT 'none' CHECK (forwarding IN ('none', 'configured', 'failed', 'stopped')),
    forwarding_error TEXT,
    forwarding_attempts INTEGER NOT NULL DEFAULT 0,
    forwarding_retry_at TIMESTAMPTZ,
    stats JSONB NOT NULL DEFAULT '{}',
    lost_reason TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    prepared_at TIMESTAMPTZ,
    first_packet_at TIMESTAMPTZ,
    last_packet_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ,
    CONSTRAINT captures_epoch_once UNIQUE (job_id, role, epoch)
);
-- at most one live capture a job and role, beside those that wait for their successor
CREATE UNIQUE INDEX captures_one_live ON captures (job_id, role)
    WHERE wanted AND NOT leaving AND state IN ('assigned', 'prepared', 'forwarding', 'receiving');
CREATE INDEX captures_of_node ON captures (node_id) WHERE state IN ('assigned', 'prepared', 'forwarding', 'receiving');

CREATE TABLE tape_chunks (
    capture_id TEXT NOT NULL REFERENCES captures (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    key TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    records INTEGER NOT NULL,
    first_ns BIGINT,
    last_ns BIGINT,
    stored_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (capture_id, seq)
);

CREATE TABLE job_events (
    -- order over all jobs, for watchers that resume
    id BIGSERIAL PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES recording_jobs (id) ON DELETE CASCADE,
    -- 1, 2, 3 … within the job, without holes
    seq INTEGER NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    type TEXT NOT NULL,
    status job_status NOT NULL,
    data JSONB NOT NULL DEFAULT '{}',
    UNIQUE (job_id, seq)
);

CREATE TABLE scaling_events (
    id BIGSERIAL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    region TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    data JSONB NOT NULL DEFAULT '{}'
);

CREATE TABLE webhook_endpoints (
    id TEXT PRIMARY KEY,
    tenant_id TEXT,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    disabled_at TIMESTAMPTZ
);

CREATE TABLE webhook_deliveries (
    id BIGSERIAL PRIMARY KEY,
    endpoint_id TEXT NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    event_id BIGINT NOT NULL REFERENCES job_events (id) ON DELETE CASCADE,
    job_id TEXT NOT NULL REFERENCES recording_jobs (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    delivered_at TIMESTAMPTZ,
    dead_at TIMESTAMPTZ,
    last_error TEXT,
    UNIQUE (endpoint_id, event_id)
);

-- what is still to be delivered, in order per endpoint and job
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (endpoint_id, job_id, event_id)
    WHERE delivered_at IS NULL AND dead_at IS NULL;

CREATE TABLE IF NOT EXISTS system_metrics (
    id SERIAL PRIMARY KEY,
    timestamp TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    total_room_servers INTEGER NOT NULL,
    healthy_room_servers INTEGER NOT NULL,
    total_ffmpeg_nodes INTEGER NOT NULL,
    healthy_ffmpeg_nodes INTEGER NOT NULL,
    active_recordings INTEGER NOT NULL,
    total_capacity INTEGER NOT NULL,
    current_load INTEGER NOT NULL,
    queue_length INTEGER DEFAULT 0,
    regional_metrics JSONB DEFAULT '{}'
);

CREATE INDEX IF NOT EXISTS idx_room_servers_region ON room_servers (region);
CREATE INDEX IF NOT EXISTS idx_room_servers_healthy ON room_servers (is_healthy);
CREATE INDEX IF NOT EXISTS idx_ffmpeg_nodes_region ON ffmpeg_nodes (region);
CREATE INDEX IF NOT EXISTS idx_ffmpeg_nodes_healthy ON ffmpeg_nodes (is_healthy);
CREATE INDEX IF NOT EXISTS idx_recording_jobs_status ON recording_jobs (status);
CREATE INDEX IF NOT EXISTS idx_recording_jobs_created_at ON recording_jobs (created_at);
CREATE INDEX IF NOT EXISTS idx_system_metrics_timestamp ON system_metrics (timestamp);
-- the same key again is the same job
CREATE UNIQUE INDEX recording_jobs_idempotency ON recording_jobs (coalesce(tenant_id, ''), idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX recording_jobs_live ON recording_jobs (status, created_at)
    WHERE status NOT IN ('completed', 'failed', 'cancelled');
CREATE INDEX recording_jobs_live_peer ON recording_jobs (room_server_id, room_id, peer_id)
    WHERE status IN ('pending', 'initializing', 'recording', 'interrupted');
CREATE INDEX recording_jobs_page ON recording_jobs (created_at DESC, id DESC);

ALTER TABLE recording_jobs
ADD CONSTRAINT fk_recording_jobs_room_server
FOREIGN KEY (room_server_id) REFERENCES room_servers (id) ON DELETE CASCADE;

ALTER TABLE recording_jobs
ADD CONSTRAINT fk_recording_jobs_ffmpeg_node
FOREIGN KEY (ffmpeg_node_id) REFERENCES ffmpeg_nodes (id) ON DELETE SET NULL;
