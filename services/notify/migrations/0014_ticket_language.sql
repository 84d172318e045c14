-- What triage said a ticket is written in: an acknowledgement waits a moment for it, whichever of the two is heard first.
CREATE TABLE ticket_language (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    language text,
    at timestamptz NOT NULL
);
COMMENT ON COLUMN ticket_language.language IS 'null: triage could not tell';
CREATE INDEX ticket_language_at ON ticket_language (at);
