-- When the room server is asked again for streams it does not send (yet, or any more), and how often it was.
ALTER TABLE captures ADD COLUMN streams_retry_at timestamptz;
ALTER TABLE captures ADD COLUMN streams_asked integer NOT NULL DEFAULT 0;

-- What was sent before under other numbers: what is on tape of it belongs to the recording.
ALTER TABLE captures ADD COLUMN former_streams jsonb NOT NULL DEFAULT '[]';
