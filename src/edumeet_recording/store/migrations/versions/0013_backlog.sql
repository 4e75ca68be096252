-- What loops look for each second is found without reading all that is recorded now.
CREATE INDEX recording_jobs_processing ON recording_jobs (processing_node_id) WHERE status = 'processing';
CREATE INDEX captures_assigned ON captures (created_at) WHERE state = 'assigned';
CREATE INDEX captures_to_forward ON captures (created_at) WHERE wanted AND forwarding IN ('none', 'unconfirmed');
CREATE INDEX captures_to_ask_again ON captures (streams_retry_at) WHERE wanted AND forwarding = 'configured';
