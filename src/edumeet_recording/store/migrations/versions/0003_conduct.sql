-- How a node has done: its latest failures, how often it was put aside, until when, and why.
ALTER TABLE ffmpeg_nodes ADD COLUMN failures timestamptz[] NOT NULL DEFAULT '{}';
ALTER TABLE ffmpeg_nodes ADD COLUMN quarantines integer NOT NULL DEFAULT 0;
ALTER TABLE ffmpeg_nodes ADD COLUMN quarantined_until timestamptz;
ALTER TABLE ffmpeg_nodes ADD COLUMN quarantine_reason text;

-- What happened to an FFmpeg node or room server. Their ids are names that anybody may choose anew, hence no foreign key.
CREATE TABLE node_events (
    id bigserial PRIMARY KEY,
    node_id text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX node_events_of_node ON node_events (node_id, id DESC);
