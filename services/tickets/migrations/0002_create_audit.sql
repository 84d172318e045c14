-- The audit chain: who did what when, with commitments to values, never the values.
CREATE TABLE audit (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    actor_role text,
    action text NOT NULL,
    -- field -> [commitment to the old value, to the new one], hex or null
    commitments jsonb NOT NULL,
    PRIMARY KEY (ticket_id, number)
);
COMMENT ON TABLE audit IS 'append-only: a chain whose every entry binds the one before it';

-- What opens the commitments; erasable, so it is a table of its own (architecture rule 12).
CREATE TABLE audit_value (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    -- field -> [[salt in hex, old value] or null, [salt, new value] or null]
    -- json, not jsonb: the text is what was committed to, to the last digit.
    openings json NOT NULL,
    PRIMARY KEY (ticket_id, number)
);
