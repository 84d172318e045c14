-- The ticket: one row, read and written whole. Every query names the tenant.
CREATE TABLE ticket (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    number text NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL,
    subject text NOT NULL,
    status text NOT NULL,
    category text NOT NULL,
    rank smallint NOT NULL,
    priority text NOT NULL,
    requester_id uuid NOT NULL,
    organisation_id uuid,
    assignee_id uuid,
    team_id uuid,
    queue text NOT NULL,
    channel text NOT NULL,
    language text,
    product text,
    tier text,
    tags text[] NOT NULL DEFAULT '{}',
    fields jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    status_since timestamptz NOT NULL,
    assigned_at timestamptz,
    cycle integer NOT NULL,
    cycle_opened_at timestamptz NOT NULL,
    responded_at timestamptz,
    solved_at timestamptz,
    opened boolean NOT NULL,
    answered boolean NOT NULL,
    -- Entries of the open cycle that are published, as [number, instant, kind, value]; older ones are in ledger_archive.
    ledger jsonb NOT NULL,
    ledger_count integer NOT NULL,
    cycle_entries integer NOT NULL,
    sealed jsonb NOT NULL DEFAULT '[]',
    message_count integer NOT NULL,
    watcher_ids uuid[] NOT NULL DEFAULT '{}',
    participant_ids uuid[] NOT NULL DEFAULT '{}',
    follows_id uuid,
    awaited_parent_id uuid,
    merged_into uuid,
    derived jsonb NOT NULL DEFAULT '{}',
    audit_count integer NOT NULL,
    audit_head bytea NOT NULL,
    -- Counts for its assignee's load; kept in step by services/tickets/domain/ticket.py `active`.
    active boolean NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX ticket_number ON ticket (tenant_id, number);
-- Lists: one per leading filter, each ending in a sort and the id, so that a page costs the same at any size.
-- The bulk export walks one tenant's tickets by id.
CREATE INDEX ticket_export ON ticket (tenant_id, id);
CREATE INDEX ticket_updated ON ticket (tenant_id, updated_at, id);
CREATE INDEX ticket_created ON ticket (tenant_id, created_at, id);
CREATE INDEX ticket_status ON ticket (tenant_id, status, updated_at, id);
CREATE INDEX ticket_queue ON ticket (tenant_id, queue, updated_at, id);
CREATE INDEX ticket_rank ON ticket (tenant_id, rank, created_at, id);
-- Most tickets are closed: the open ones by urgency would otherwise be looked for among all of them.
CREATE INDEX ticket_category ON ticket (tenant_id, category, rank, created_at, id);
CREATE INDEX ticket_requester ON ticket (tenant_id, requester_id, updated_at, id);
CREATE INDEX ticket_tags ON ticket USING gin (tags) WHERE tags <> '{}';
CREATE INDEX ticket_assignee ON ticket (tenant_id, assignee_id, updated_at, id) WHERE assignee_id IS NOT NULL;
-- An agent's load.
CREATE INDEX ticket_load ON ticket (tenant_id, assignee_id) WHERE active AND assignee_id IS NOT NULL;
-- The queues' backlog, most urgent and oldest first.
CREATE INDEX ticket_backlog ON ticket (tenant_id, queue, rank, created_at, id) WHERE active AND assignee_id IS NULL;
CREATE INDEX ticket_awaited_parent ON ticket (awaited_parent_id) WHERE awaited_parent_id IS NOT NULL;

-- Who may see a ticket besides its requester; the same people as ticket.watcher_ids, for queries by person.
CREATE TABLE ticket_watcher (
    ticket_id uuid NOT NULL,
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    PRIMARY KEY (ticket_id, person_id)
);
CREATE INDEX ticket_watcher_person ON ticket_watcher (tenant_id, person_id, ticket_id);

CREATE TABLE message (
    message_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    -- 1, 2, 3 … within the ticket.
    position integer NOT NULL,
    author_kind text NOT NULL,
    author_id uuid,
    visibility text NOT NULL,
    channel text NOT NULL,
    -- json, not jsonb: a mail may hold characters (NUL) that jsonb refuses.
    body json NOT NULL,
    attachments json NOT NULL DEFAULT '[]',
    automatic boolean NOT NULL,
    external_id text,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX message_position ON message (ticket_id, position);

-- Ledger entries that left their ticket's row: of sealed cycles, or pushed out of the published window.
CREATE TABLE ledger_archive (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (ticket_id, number)
);
COMMENT ON TABLE ledger_archive IS 'append-only: what a clock has read does not change';
