-- Mails of ours stand in the thread index too, so that what answers them, or bounces, finds its ticket and its person.
ALTER TABLE thread ADD COLUMN ticket_id uuid, ADD COLUMN recipient_id uuid;
COMMENT ON COLUMN thread.ticket_id IS 'the ticket that a mail of ours is about; null for what others sent';
COMMENT ON COLUMN thread.recipient_id IS 'the person a mail of ours went to';
CREATE INDEX thread_sent ON thread (tenant_id, ticket_id, recipient_id) WHERE ticket_id IS NOT NULL;

-- Reports of mails that are not known as ours yet: a report may be faster than the event that tells of the mail.
CREATE TABLE early_report (
    tenant_id text NOT NULL,
    key bytea NOT NULL,
    reason text NOT NULL,
    status text NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX early_report_age ON early_report (reported_at);
COMMENT ON COLUMN early_report.key IS 'thread key of the Message-ID that it reports on';

-- Addresses not to be written to. A lifted one keeps its row, since its version must go on rising.
CREATE TABLE suppression (
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    address text,
    version bigint NOT NULL,
    reason text NOT NULL,
    detail text,
    since timestamptz NOT NULL,
    until timestamptz,
    lifted_at timestamptz,
    PRIMARY KEY (tenant_id, person_id)
);
COMMENT ON COLUMN suppression.address IS 'where known: a report need not name it';
COMMENT ON COLUMN suppression.until IS 'null for ever';
CREATE INDEX suppression_open ON suppression (tenant_id, since, person_id) WHERE lifted_at IS NULL;
