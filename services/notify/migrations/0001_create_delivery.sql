-- What is told to whom: one row per hand-off, its id made of cause, template, recipient and channel, so that the same
-- thing found twice is one row. `facts` is what the words are made of; it goes when the delivery is over.
CREATE TABLE delivery (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    occasion text NOT NULL,
    cause_id uuid NOT NULL,
    template text NOT NULL,
    channel text NOT NULL,
    recipient_id uuid NOT NULL,
    address text,
    message_id uuid,
    page_id uuid,
    urgent boolean NOT NULL DEFAULT false,
    facts jsonb,
    state text NOT NULL CHECK (state IN ('waiting', 'sending', 'delivered', 'failed', 'cancelled', 'expired', 'skipped')),
    reason text,
    answer text,
    external_id text,
    attempts integer NOT NULL DEFAULT 0,
    doubtful integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    correlation text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON COLUMN delivery.address IS 'only of somebody without a person: a chat visitor';
COMMENT ON COLUMN delivery.doubtful IS 'attempts whose answer was never written down: the mail may have gone out then';
CREATE INDEX delivery_ticket ON delivery (tenant_id, ticket_id, created_at);
CREATE INDEX delivery_newest ON delivery (tenant_id, created_at, id);
CREATE INDEX delivery_page ON delivery (page_id) WHERE page_id IS NOT NULL;
CREATE INDEX delivery_created ON delivery (created_at);

-- What a person finds in the application.
CREATE TABLE notice (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    ticket_id uuid NOT NULL,
    template text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    urgent boolean NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz
);
COMMENT ON COLUMN notice.id IS 'the delivery''s';
CREATE INDEX notice_person ON notice (tenant_id, person_id, created_at, id);
CREATE INDEX notice_created ON notice (created_at);

-- What mails call the messages of a ticket, for References: those we received and those we sent.
CREATE TABLE thread_entry (
    ticket_id uuid NOT NULL,
    external_id text NOT NULL,
    tenant_id text NOT NULL,
    received boolean NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, external_id)
);
CREATE INDEX thread_entry_at ON thread_entry (at);
