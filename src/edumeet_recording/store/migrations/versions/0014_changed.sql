-- Captures whose streams are others now are few, and looked for each second.
CREATE INDEX captures_changed ON captures (node_id) WHERE forwarding = 'changed' AND wanted;
