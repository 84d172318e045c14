-- Keys under which alike reports of the last minutes meet; aged out.
CREATE TABLE duplicate_key (
    key bigint NOT NULL,
    at timestamptz NOT NULL,
    ticket_id uuid NOT NULL
);
CREATE INDEX duplicate_key_lookup ON duplicate_key (key, at, ticket_id);
CREATE INDEX duplicate_key_age ON duplicate_key USING brin (at) WITH (pages_per_range = 16);

-- New tickets that the index is still to be asked about.
CREATE TABLE duplicate_check (
    ticket_id uuid PRIMARY KEY,
    asked_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL,
    version bigint NOT NULL,
    -- Candidates that were published already.
    found uuid[] NOT NULL
);
CREATE INDEX duplicate_check_due ON duplicate_check (due_at);
CREATE INDEX duplicate_check_age ON duplicate_check (asked_at);
