-- What the index is written from: one row per ticket, its texts, and which tickets have to be written (again).

CREATE TABLE document (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    -- Highest revision of ticket.state seen; 0 while only texts are known.
    revision bigint NOT NULL DEFAULT 0,
    -- The revision that last changed what is indexed.
    changed bigint NOT NULL DEFAULT 0,
    head text,
    texts integer NOT NULL DEFAULT 0,
    -- Of the newest state, for candidates of duplicates.
    category text NOT NULL DEFAULT 'new',
    merged boolean NOT NULL DEFAULT false,
    updated_at timestamptz,
    -- Of the first message, for duplicates.
    gist text,
    number text,
    requester_id uuid,
    channel text,
    product text,
    opened_at timestamptz,
    deleted_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE message (
    ticket_id uuid NOT NULL,
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    created_at timestamptz NOT NULL,
    internal boolean NOT NULL,
    -- NULL while it is being read from the blob store; empty once so many newer ones came that it is not indexed.
    text text,
    PRIMARY KEY (ticket_id, message_id)
);

-- Written to the index by the indexer, then deleted, unless a higher version was put here meanwhile.
CREATE TABLE dirty (
    ticket_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX dirty_since ON dirty (since);

-- Documents the engine refuses, with its reason; tried again with every change of the ticket, by replay and by rebuild.
CREATE TABLE refused (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- Tickets that have more messages than texts are known of.
CREATE TABLE gap (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gap_since ON gap (since);
