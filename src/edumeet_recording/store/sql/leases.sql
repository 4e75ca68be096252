-- name: try_lead$
-- True where this connection holds the leader's lock from now on.
SELECT pg_try_advisory_lock(:lock);

-- name: take_lead$
-- The number of this leader: higher than any before, so that what an earlier one still writes is refused.
INSERT INTO leadership (number, replica) VALUES (1, :replica)
ON CONFLICT (only_one) DO UPDATE SET number = leadership.number + 1, replica = excluded.replica
RETURNING number;

-- name: leading_number$
-- The number of the newest leader; there is no newer one before this transaction ends.
SELECT number FROM leadership FOR SHARE;

-- name: still_there$
-- Fails when the connection that holds the lock is gone.
SELECT true;
