-- A link that closed is told from one that never was.
ALTER TABLE room_servers ADD COLUMN unlinked_at timestamptz;

-- A room server that was away may have forgotten what it sends where: it is asked again, since when is kept.
ALTER TABLE captures ADD COLUMN unconfirmed_since timestamptz;
ALTER TABLE captures DROP CONSTRAINT captures_forwarding_check;
ALTER TABLE captures ADD CONSTRAINT captures_forwarding_check
    CHECK (forwarding IN ('none', 'configured', 'unconfirmed', 'changed', 'stopped'));

-- What is over and still sent to: looked for every second, among ever more that is history.
CREATE INDEX captures_to_stop ON captures (created_at) WHERE NOT wanted AND forwarding <> 'stopped';
