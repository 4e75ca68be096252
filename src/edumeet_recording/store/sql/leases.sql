-- name: try_lead$
-- True where this connection holds the leader's lock from now on.
SELECT pg_try_advisory_lock(:lock);

-- name: still_there$
-- Fails when the connection that holds the lock is gone.
SELECT true;
