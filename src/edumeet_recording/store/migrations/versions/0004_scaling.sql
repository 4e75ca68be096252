CREATE TYPE fleet_request_state AS ENUM ('asked', 'seen', 'draining', 'returned', 'failed', 'lost');

CREATE TABLE fleet_requests (
    -- ours: the node registers under it
    node_id TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    provider TEXT NOT NULL,
    state fleet_request_state NOT NULL DEFAULT 'asked',
    reason TEXT NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ,
    drained_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ,
    CONSTRAINT fleet_requests_final_has_end CHECK (
        (state IN ('returned', 'failed', 'lost')) = (ended_at IS NOT NULL))
);
CREATE INDEX fleet_requests_open ON fleet_requests (region) WHERE ended_at IS NULL;
CREATE INDEX fleet_requests_asked ON fleet_requests (asked_at);

CREATE TABLE alerts (
    id BIGSERIAL PRIMARY KEY,
    rule TEXT NOT NULL,
    -- what it is about: a region, a node, or nothing more than the service
    subject TEXT NOT NULL,
    region TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    detail TEXT NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL,
    -- the condition was last true then; recovery counts from here
    seen_at TIMESTAMPTZ NOT NULL,
    recovered_at TIMESTAMPTZ,
    -- how far the receivers were told
    told_open_at TIMESTAMPTZ,
    told_recovered_at TIMESTAMPTZ,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ NOT NULL
);
-- one alert for one trouble, however often it is noticed
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE recovered_at IS NULL;
CREATE INDEX alerts_opened ON alerts (opened_at);

CREATE INDEX scaling_events_region ON scaling_events (region, id);
