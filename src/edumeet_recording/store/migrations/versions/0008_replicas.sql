-- Who serves: links of a replica that is not seen any more have died with it.
CREATE TABLE replicas (
    id text PRIMARY KEY,
    url text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);

-- One row: the newest leader, and its number, which grows with each. A leader that does not know yet that it leads no
-- more writes nothing.
CREATE TABLE leadership (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    number bigint NOT NULL,
    replica text NOT NULL
);
