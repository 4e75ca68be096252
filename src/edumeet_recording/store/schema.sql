CREATE TYPE public.capture_role AS ENUM (
    'primary',
    'standby'
);

CREATE TYPE public.capture_state AS ENUM (
    'assigned',
    'prepared',
    'forwarding',
    'receiving',
    'drained',
    'lost'
);

CREATE TYPE public.fleet_request_state AS ENUM (
    'asked',
    'seen',
    'draining',
    'returned',
    'failed',
    'lost'
);

CREATE TYPE public.job_status AS ENUM (
    'pending',
    'initializing',
    'recording',
    'interrupted',
    'stopping',
    'processing',
    'completed',
    'failed',
    'cancelled'
);

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.alerts (
    id bigint NOT NULL,
    rule text NOT NULL,
    subject text NOT NULL,
    region text NOT NULL,
    severity text NOT NULL,
    detail text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    recovered_at timestamp with time zone,
    told_open_at timestamp with time zone,
    told_recovered_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    CONSTRAINT alerts_severity_check CHECK ((severity = ANY (ARRAY['warning'::text, 'critical'::text])))
);

CREATE SEQUENCE public.alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.alerts_id_seq OWNED BY public.alerts.id;

CREATE TABLE public.captures (
    id text NOT NULL,
    job_id text NOT NULL,
    node_id text NOT NULL,
    role public.capture_role DEFAULT 'primary'::public.capture_role NOT NULL,
    epoch integer NOT NULL,
    state public.capture_state DEFAULT 'assigned'::public.capture_state NOT NULL,
    wanted boolean DEFAULT true NOT NULL,
    leaving boolean DEFAULT false NOT NULL,
    cost_mcpu integer NOT NULL,
    ip text,
    ports jsonb,
    streams jsonb NOT NULL,
    forwarding text DEFAULT 'none'::text NOT NULL,
    forwarding_error text,
    forwarding_attempts integer DEFAULT 0 NOT NULL,
    forwarding_retry_at timestamp with time zone,
    stats jsonb DEFAULT '{}'::jsonb NOT NULL,
    lost_reason text,
    created_at timestamp with time zone NOT NULL,
    prepared_at timestamp with time zone,
    first_packet_at timestamp with time zone,
    last_packet_at timestamp with time zone,
    ended_at timestamp with time zone,
    unconfirmed_since timestamp with time zone,
    storage text DEFAULT ''::text NOT NULL,
    cost_bytes_per_s integer DEFAULT 0 NOT NULL,
    placement jsonb,
    streams_retry_at timestamp with time zone,
    streams_asked integer DEFAULT 0 NOT NULL,
    former_streams jsonb DEFAULT '[]'::jsonb NOT NULL,
    wants_key_frame boolean DEFAULT false NOT NULL,
    key_frame_asked_at timestamp with time zone,
    CONSTRAINT captures_cost_bytes_per_s_check CHECK ((cost_bytes_per_s >= 0)),
    CONSTRAINT captures_forwarding_check CHECK ((forwarding = ANY (ARRAY['none'::text, 'configured'::text, 'unconfirmed'::text, 'changed'::text, 'stopped'::text])))
);

CREATE TABLE public.ffmpeg_nodes (
    id text NOT NULL,
    url text NOT NULL,
    region text NOT NULL,
    specs jsonb DEFAULT '{}'::jsonb NOT NULL,
    failure_domain text,
    version text,
    is_healthy boolean DEFAULT true NOT NULL,
    health_reason text,
    is_draining boolean DEFAULT false NOT NULL,
    accepts_captures boolean DEFAULT true NOT NULL,
    capacity_mcpu integer NOT NULL,
    load_mcpu integer DEFAULT 0 NOT NULL,
    processing_slots integer DEFAULT 1 NOT NULL,
    load jsonb DEFAULT '{}'::jsonb NOT NULL,
    desired_revision bigint DEFAULT 1 NOT NULL,
    linked_replica text,
    unlinked_at timestamp with time zone,
    token_sha256 bytea NOT NULL,
    registered_at timestamp with time zone NOT NULL,
    last_heartbeat timestamp with time zone,
    deregistered_at timestamp with time zone,
    failures timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    quarantines integer DEFAULT 0 NOT NULL,
    quarantined_until timestamp with time zone,
    quarantine_reason text,
    storages text[],
    codecs text[],
    capacity_bytes_per_s bigint,
    load_bytes_per_s bigint DEFAULT 0 NOT NULL,
    CONSTRAINT ffmpeg_nodes_bytes_not_oversold CHECK ((load_bytes_per_s <= capacity_bytes_per_s)),
    CONSTRAINT ffmpeg_nodes_capacity_bytes_per_s_check CHECK ((capacity_bytes_per_s >= 0)),
    CONSTRAINT ffmpeg_nodes_capacity_mcpu_check CHECK ((capacity_mcpu >= 0)),
    CONSTRAINT ffmpeg_nodes_load_bytes_per_s_check CHECK ((load_bytes_per_s >= 0)),
    CONSTRAINT ffmpeg_nodes_load_mcpu_check CHECK ((load_mcpu >= 0)),
    CONSTRAINT ffmpeg_nodes_not_oversold CHECK ((load_mcpu <= capacity_mcpu)),
    CONSTRAINT ffmpeg_nodes_processing_slots_check CHECK ((processing_slots >= 0))
)
WITH (fillfactor='50');

CREATE TABLE public.fleet_requests (
    node_id text NOT NULL,
    region text NOT NULL,
    provider text NOT NULL,
    state public.fleet_request_state DEFAULT 'asked'::public.fleet_request_state NOT NULL,
    reason text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone,
    drained_at timestamp with time zone,
    ended_at timestamp with time zone,
    CONSTRAINT fleet_requests_final_has_end CHECK (((state = ANY (ARRAY['returned'::public.fleet_request_state, 'failed'::public.fleet_request_state, 'lost'::public.fleet_request_state])) = (ended_at IS NOT NULL)))
);

CREATE TABLE public.job_events (
    id bigint NOT NULL,
    job_id text NOT NULL,
    seq integer NOT NULL,
    at timestamp with time zone NOT NULL,
    type text NOT NULL,
    status public.job_status NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE SEQUENCE public.job_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.job_events_id_seq OWNED BY public.job_events.id;

CREATE TABLE public.leadership (
    only_one boolean DEFAULT true NOT NULL,
    number bigint NOT NULL,
    replica text NOT NULL,
    CONSTRAINT leadership_only_one_check CHECK (only_one)
);

CREATE TABLE public.node_events (
    id bigint NOT NULL,
    node_id text NOT NULL,
    type text NOT NULL,
    at timestamp with time zone NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE SEQUENCE public.node_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.node_events_id_seq OWNED BY public.node_events.id;

CREATE TABLE public.recording_jobs (
    id text NOT NULL,
    tenant_id text,
    room_server_id text NOT NULL,
    ffmpeg_node_id text,
    room_id text NOT NULL,
    peer_id text NOT NULL,
    region text NOT NULL,
    peer_info jsonb DEFAULT '{}'::jsonb NOT NULL,
    rtp_streams jsonb NOT NULL,
    options jsonb NOT NULL,
    requester_info jsonb DEFAULT '{}'::jsonb NOT NULL,
    requested_by text,
    forwarding text NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    cost_mcpu integer NOT NULL,
    idempotency_key text,
    request_sha256 bytea NOT NULL,
    status public.job_status DEFAULT 'pending'::public.job_status NOT NULL,
    reason text,
    reason_detail text,
    version integer DEFAULT 1 NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    event_seq integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    not_before timestamp with time zone,
    deadline timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    stopped_at timestamp with time zone,
    ended_at timestamp with time zone,
    processing_node_id text,
    processing_attempt integer DEFAULT 0 NOT NULL,
    late_media_at timestamp with time zone,
    processing_lease_until timestamp with time zone,
    processing_phase text,
    processing_fraction real,
    file_key text,
    report_key text,
    file_bytes bigint,
    file_sha256 text,
    file_version integer DEFAULT 0 NOT NULL,
    duration_s double precision,
    report jsonb,
    warnings text[] DEFAULT '{}'::text[] NOT NULL,
    legal_hold boolean DEFAULT false NOT NULL,
    tape_deleted_at timestamp with time zone,
    deleted_at timestamp with time zone,
    purged_at timestamp with time zone,
    standby_missing boolean DEFAULT false NOT NULL,
    standby_retry_at timestamp with time zone,
    allowed_regions text[],
    file_storage text DEFAULT ''::text NOT NULL,
    cost_bytes_per_s integer DEFAULT 0 NOT NULL,
    stock_taken_at timestamp with time zone,
    finalizers_lost integer DEFAULT 0 NOT NULL,
    finalizers_tried text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT recording_jobs_completed_has_file CHECK (((status <> 'completed'::public.job_status) OR (file_key IS NOT NULL))),
    CONSTRAINT recording_jobs_cost_bytes_per_s_check CHECK ((cost_bytes_per_s >= 0)),
    CONSTRAINT recording_jobs_cost_mcpu_check CHECK ((cost_mcpu > 0)),
    CONSTRAINT recording_jobs_final_has_end CHECK (((status = ANY (ARRAY['completed'::public.job_status, 'failed'::public.job_status, 'cancelled'::public.job_status])) = (ended_at IS NOT NULL))),
    CONSTRAINT recording_jobs_forwarding_check CHECK ((forwarding = ANY (ARRAY['room-server'::text, 'client'::text])))
);

CREATE TABLE public.replicas (
    id text NOT NULL,
    url text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);

CREATE TABLE public.room_servers (
    id text NOT NULL,
    url text NOT NULL,
    region text NOT NULL,
    capacity integer NOT NULL,
    specs jsonb DEFAULT '{}'::jsonb NOT NULL,
    is_healthy boolean DEFAULT true NOT NULL,
    health_reason text,
    rooms integer DEFAULT 0 NOT NULL,
    peers integer DEFAULT 0 NOT NULL,
    linked_replica text,
    token_sha256 bytea NOT NULL,
    registered_at timestamp with time zone NOT NULL,
    last_heartbeat timestamp with time zone,
    deregistered_at timestamp with time zone,
    unlinked_at timestamp with time zone,
    CONSTRAINT room_servers_capacity_check CHECK ((capacity > 0))
);

CREATE TABLE public.scaling_events (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    region text NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE SEQUENCE public.scaling_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.scaling_events_id_seq OWNED BY public.scaling_events.id;

CREATE TABLE public.system_metrics (
    id integer NOT NULL,
    "timestamp" timestamp with time zone DEFAULT now(),
    total_room_servers integer NOT NULL,
    healthy_room_servers integer NOT NULL,
    total_ffmpeg_nodes integer NOT NULL,
    healthy_ffmpeg_nodes integer NOT NULL,
    active_recordings integer NOT NULL,
    total_capacity integer NOT NULL,
    current_load integer NOT NULL,
    queue_length integer DEFAULT 0,
    regional_metrics jsonb DEFAULT '{}'::jsonb
);

CREATE SEQUENCE public.system_metrics_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.system_metrics_id_seq OWNED BY public.system_metrics.id;

CREATE TABLE public.tape_chunks (
    capture_id text NOT NULL,
    seq integer NOT NULL,
    key text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    records integer NOT NULL,
    first_ns bigint,
    last_ns bigint,
    stored_at timestamp with time zone NOT NULL,
    CONSTRAINT tape_chunks_seq_check CHECK ((seq >= 0))
);

CREATE TABLE public.tenants (
    id text NOT NULL,
    allowed_regions text[],
    max_active_recordings integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    max_queued_recordings integer,
    share integer DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_max_active_recordings_check CHECK ((max_active_recordings >= 0)),
    CONSTRAINT tenants_max_queued_recordings_check CHECK ((max_queued_recordings >= 0)),
    CONSTRAINT tenants_share_check CHECK ((share > 0))
);

CREATE TABLE public.webhook_deliveries (
    id bigint NOT NULL,
    endpoint_id text NOT NULL,
    event_id bigint NOT NULL,
    job_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    dead_at timestamp with time zone,
    last_error text
);

CREATE SEQUENCE public.webhook_deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.webhook_deliveries_id_seq OWNED BY public.webhook_deliveries.id;

CREATE TABLE public.webhook_endpoints (
    id text NOT NULL,
    tenant_id text,
    url text NOT NULL,
    secret text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    disabled_at timestamp with time zone
);

ALTER TABLE ONLY public.alerts ALTER COLUMN id SET DEFAULT nextval('public.alerts_id_seq'::regclass);

ALTER TABLE ONLY public.job_events ALTER COLUMN id SET DEFAULT nextval('public.job_events_id_seq'::regclass);

ALTER TABLE ONLY public.node_events ALTER COLUMN id SET DEFAULT nextval('public.node_events_id_seq'::regclass);

ALTER TABLE ONLY public.scaling_events ALTER COLUMN id SET DEFAULT nextval('public.scaling_events_id_seq'::regclass);

ALTER TABLE ONLY public.system_metrics ALTER COLUMN id SET DEFAULT nextval('public.system_metrics_id_seq'::regclass);

ALTER TABLE ONLY public.webhook_deliveries ALTER COLUMN id SET DEFAULT nextval('public.webhook_deliveries_id_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.captures
    ADD CONSTRAINT captures_epoch_once UNIQUE (job_id, role, epoch);

ALTER TABLE ONLY public.captures
    ADD CONSTRAINT captures_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ffmpeg_nodes
    ADD CONSTRAINT ffmpeg_nodes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.fleet_requests
    ADD CONSTRAINT fleet_requests_pkey PRIMARY KEY (node_id);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_job_id_seq_key UNIQUE (job_id, seq);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.leadership
    ADD CONSTRAINT leadership_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY public.node_events
    ADD CONSTRAINT node_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.recording_jobs
    ADD CONSTRAINT recording_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.replicas
    ADD CONSTRAINT replicas_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.room_servers
    ADD CONSTRAINT room_servers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.scaling_events
    ADD CONSTRAINT scaling_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.system_metrics
    ADD CONSTRAINT system_metrics_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tape_chunks
    ADD CONSTRAINT tape_chunks_pkey PRIMARY KEY (capture_id, seq);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_endpoint_id_event_id_key UNIQUE (endpoint_id, event_id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX alerts_open ON public.alerts USING btree (rule, subject) WHERE (recovered_at IS NULL);

CREATE INDEX alerts_opened ON public.alerts USING btree (opened_at);

CREATE INDEX captures_assigned ON public.captures USING btree (created_at) WHERE (state = 'assigned'::public.capture_state);

CREATE INDEX captures_changed ON public.captures USING btree (node_id) WHERE ((forwarding = 'changed'::text) AND wanted);

CREATE INDEX captures_ended ON public.captures USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX captures_of_node ON public.captures USING btree (node_id) WHERE (state = ANY (ARRAY['assigned'::public.capture_state, 'prepared'::public.capture_state, 'forwarding'::public.capture_state, 'receiving'::public.capture_state]));

CREATE UNIQUE INDEX captures_one_live ON public.captures USING btree (job_id, role) WHERE (wanted AND (NOT leaving) AND (state = ANY (ARRAY['assigned'::public.capture_state, 'prepared'::public.capture_state, 'forwarding'::public.capture_state, 'receiving'::public.capture_state])));

CREATE INDEX captures_to_ask_again ON public.captures USING btree (streams_retry_at) WHERE (wanted AND (forwarding = 'configured'::text));

CREATE INDEX captures_to_forward ON public.captures USING btree (created_at) WHERE (wanted AND (forwarding = ANY (ARRAY['none'::text, 'unconfirmed'::text])));

CREATE INDEX captures_to_stop ON public.captures USING btree (created_at) WHERE ((NOT wanted) AND (forwarding <> 'stopped'::text));

CREATE INDEX captures_without_key_frame ON public.captures USING btree (job_id) WHERE (wants_key_frame AND wanted);

CREATE INDEX fleet_requests_asked ON public.fleet_requests USING btree (asked_at);

CREATE INDEX fleet_requests_open ON public.fleet_requests USING btree (region) WHERE (ended_at IS NULL);

CREATE INDEX idx_ffmpeg_nodes_healthy ON public.ffmpeg_nodes USING btree (is_healthy);

CREATE INDEX idx_ffmpeg_nodes_region ON public.ffmpeg_nodes USING btree (region);

CREATE INDEX idx_recording_jobs_created_at ON public.recording_jobs USING btree (created_at);

CREATE INDEX idx_recording_jobs_status ON public.recording_jobs USING btree (status);

CREATE INDEX idx_room_servers_healthy ON public.room_servers USING btree (is_healthy);

CREATE INDEX idx_room_servers_region ON public.room_servers USING btree (region);

CREATE INDEX idx_system_metrics_timestamp ON public.system_metrics USING btree ("timestamp");

CREATE INDEX node_events_of_node ON public.node_events USING btree (node_id, id DESC);

CREATE UNIQUE INDEX recording_jobs_idempotency ON public.recording_jobs USING btree (COALESCE(tenant_id, ''::text), idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX recording_jobs_late_media ON public.recording_jobs USING btree (late_media_at) WHERE ((status = ANY (ARRAY['completed'::public.job_status, 'failed'::public.job_status])) AND (tape_deleted_at IS NULL) AND (deleted_at IS NULL) AND (late_media_at IS NOT NULL));

CREATE INDEX recording_jobs_live ON public.recording_jobs USING btree (status, created_at) WHERE (status <> ALL (ARRAY['completed'::public.job_status, 'failed'::public.job_status, 'cancelled'::public.job_status]));

CREATE INDEX recording_jobs_live_peer ON public.recording_jobs USING btree (room_server_id, room_id, peer_id) WHERE (status = ANY (ARRAY['pending'::public.job_status, 'initializing'::public.job_status, 'recording'::public.job_status, 'interrupted'::public.job_status]));

CREATE INDEX recording_jobs_live_tenant ON public.recording_jobs USING btree (tenant_id, status) WHERE (status = ANY (ARRAY['pending'::public.job_status, 'initializing'::public.job_status, 'recording'::public.job_status, 'interrupted'::public.job_status]));

CREATE INDEX recording_jobs_page ON public.recording_jobs USING btree (created_at DESC, id DESC);

CREATE INDEX recording_jobs_processing ON public.recording_jobs USING btree (processing_node_id) WHERE (status = 'processing'::public.job_status);

CREATE INDEX recording_jobs_redundant ON public.recording_jobs USING btree (status) WHERE ((options ->> 'redundancy'::text) = '2'::text);

CREATE INDEX recording_jobs_to_purge ON public.recording_jobs USING btree (ended_at) WHERE ((purged_at IS NULL) AND ((deleted_at IS NOT NULL) OR (status = 'cancelled'::public.job_status) OR ((status = 'completed'::public.job_status) AND (tape_deleted_at IS NULL))));

CREATE INDEX recording_jobs_unchecked ON public.recording_jobs USING btree (ended_at) WHERE ((status = ANY (ARRAY['completed'::public.job_status, 'failed'::public.job_status])) AND (deleted_at IS NULL) AND (stock_taken_at IS NULL));

CREATE INDEX scaling_events_region ON public.scaling_events USING btree (region, id);

CREATE INDEX webhook_deliveries_open ON public.webhook_deliveries USING btree (endpoint_id, job_id, event_id) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));

ALTER TABLE ONLY public.captures
    ADD CONSTRAINT captures_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.recording_jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.captures
    ADD CONSTRAINT captures_node_id_fkey FOREIGN KEY (node_id) REFERENCES public.ffmpeg_nodes(id);

ALTER TABLE ONLY public.recording_jobs
    ADD CONSTRAINT fk_recording_jobs_ffmpeg_node FOREIGN KEY (ffmpeg_node_id) REFERENCES public.ffmpeg_nodes(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.recording_jobs
    ADD CONSTRAINT fk_recording_jobs_room_server FOREIGN KEY (room_server_id) REFERENCES public.room_servers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.recording_jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.recording_jobs
    ADD CONSTRAINT recording_jobs_processing_node_id_fkey FOREIGN KEY (processing_node_id) REFERENCES public.ffmpeg_nodes(id);

ALTER TABLE ONLY public.tape_chunks
    ADD CONSTRAINT tape_chunks_capture_id_fkey FOREIGN KEY (capture_id) REFERENCES public.captures(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.webhook_endpoints(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.job_events(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.recording_jobs(id) ON DELETE CASCADE;
