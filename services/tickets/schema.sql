-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE agent (
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    capacity integer NOT NULL,
    available boolean NOT NULL,
    team_ids uuid[] NOT NULL,
    CONSTRAINT agent_pkey PRIMARY KEY (person_id)
);
CREATE INDEX agent_tenant ON agent USING btree (tenant_id, person_id);

CREATE TABLE audit (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    at timestamp with time zone NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    actor_role text,
    action text NOT NULL,
    commitments jsonb NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (ticket_id, number)
);
COMMENT ON TABLE audit IS 'append-only: a chain whose every entry binds the one before it';

CREATE TABLE audit_value (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    openings json NOT NULL,
    CONSTRAINT audit_value_pkey PRIMARY KEY (ticket_id, number)
);

CREATE TABLE ledger_archive (
    ticket_id uuid NOT NULL,
    number integer NOT NULL,
    tenant_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    CONSTRAINT ledger_archive_pkey PRIMARY KEY (ticket_id, number)
);
COMMENT ON TABLE ledger_archive IS 'append-only: what a clock has read does not change';

CREATE TABLE merge (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    into_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    watcher_ids uuid[] NOT NULL DEFAULT '{}'::uuid[],
    CONSTRAINT merge_pkey PRIMARY KEY (ticket_id)
);

CREATE TABLE message (
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    "position" integer NOT NULL,
    author_kind text NOT NULL,
    author_id uuid,
    visibility text NOT NULL,
    channel text NOT NULL,
    body json NOT NULL,
    attachments json NOT NULL DEFAULT '[]'::json,
    automatic boolean NOT NULL,
    external_id text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT message_pkey PRIMARY KEY (message_id)
);
CREATE UNIQUE INDEX message_position ON message USING btree (ticket_id, "position");

CREATE TABLE number_block (
    tenant_id text NOT NULL,
    year integer NOT NULL,
    next bigint NOT NULL,
    CONSTRAINT number_block_pkey PRIMARY KEY (tenant_id, year)
) WITH (fillfactor=50);

CREATE TABLE rating (
    ticket_id uuid NOT NULL,
    cycle integer NOT NULL,
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    score smallint NOT NULL,
    comment text,
    rated_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT rating_pkey PRIMARY KEY (ticket_id, cycle, person_id),
    CONSTRAINT rating_score_check CHECK (((score >= 1) AND (score <= 5)))
);

CREATE TABLE team (
    team_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    queues text[] NOT NULL,
    CONSTRAINT team_pkey PRIMARY KEY (team_id)
);
CREATE INDEX team_tenant ON team USING btree (tenant_id);

CREATE TABLE ticket (
    id uuid NOT NULL,
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
    tags text[] NOT NULL DEFAULT '{}'::text[],
    fields jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    status_since timestamp with time zone NOT NULL,
    assigned_at timestamp with time zone,
    cycle integer NOT NULL,
    cycle_opened_at timestamp with time zone NOT NULL,
    responded_at timestamp with time zone,
    solved_at timestamp with time zone,
    opened boolean NOT NULL,
    answered boolean NOT NULL,
    ledger jsonb NOT NULL,
    ledger_count integer NOT NULL,
    cycle_entries integer NOT NULL,
    sealed jsonb NOT NULL DEFAULT '[]'::jsonb,
    message_count integer NOT NULL,
    watcher_ids uuid[] NOT NULL DEFAULT '{}'::uuid[],
    participant_ids uuid[] NOT NULL DEFAULT '{}'::uuid[],
    follows_id uuid,
    awaited_parent_id uuid,
    merged_into uuid,
    derived jsonb NOT NULL DEFAULT '{}'::jsonb,
    audit_count integer NOT NULL,
    audit_head bytea NOT NULL,
    active boolean NOT NULL,
    impact text,
    urgency text,
    eta_at timestamp with time zone,
    merged_at timestamp with time zone,
    links jsonb NOT NULL DEFAULT '[]'::jsonb,
    dismissed_ids uuid[] NOT NULL DEFAULT '{}'::uuid[],
    transfer jsonb,
    held_until timestamp with time zone,
    set_by jsonb NOT NULL DEFAULT '{}'::jsonb,
    decided jsonb NOT NULL DEFAULT '{}'::jsonb,
    heard jsonb NOT NULL DEFAULT '{}'::jsonb,
    inbound_address text,
    CONSTRAINT ticket_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_scale_factor=0.02, autovacuum_vacuum_scale_factor=0.02, fillfactor=80);
CREATE INDEX ticket_assignee ON ticket USING btree (tenant_id, assignee_id, updated_at, id) WHERE (assignee_id IS NOT NULL);
CREATE INDEX ticket_awaited_parent ON ticket USING btree (awaited_parent_id) WHERE (awaited_parent_id IS NOT NULL);
CREATE INDEX ticket_backlog ON ticket USING btree (tenant_id, queue, rank, created_at, id) WHERE (active AND (assignee_id IS NULL));
CREATE INDEX ticket_category ON ticket USING btree (tenant_id, category, rank, created_at, id);
CREATE INDEX ticket_created ON ticket USING btree (tenant_id, created_at, id);
CREATE INDEX ticket_export ON ticket USING btree (tenant_id, id);
CREATE INDEX ticket_load ON ticket USING btree (tenant_id, assignee_id) WHERE (active AND (assignee_id IS NOT NULL));
CREATE INDEX ticket_merged ON ticket USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE UNIQUE INDEX ticket_number ON ticket USING btree (tenant_id, number);
CREATE INDEX ticket_queue ON ticket USING btree (tenant_id, queue, updated_at, id);
CREATE INDEX ticket_rank ON ticket USING btree (tenant_id, rank, created_at, id);
CREATE INDEX ticket_requester ON ticket USING btree (tenant_id, requester_id, updated_at, id);
CREATE INDEX ticket_status ON ticket USING btree (tenant_id, status, updated_at, id);
CREATE INDEX ticket_tags ON ticket USING gin (tags) WHERE (tags <> '{}'::text[]);
CREATE INDEX ticket_updated ON ticket USING btree (tenant_id, updated_at, id);

CREATE TABLE ticket_watcher (
    ticket_id uuid NOT NULL,
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    CONSTRAINT ticket_watcher_pkey PRIMARY KEY (ticket_id, person_id)
);
CREATE INDEX ticket_watcher_person ON ticket_watcher USING btree (tenant_id, person_id, ticket_id);

CREATE TABLE transfer (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    state text NOT NULL,
    from_id uuid,
    to_id uuid NOT NULL,
    asked_by text NOT NULL,
    note text,
    asked_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT transfer_pkey PRIMARY KEY (id)
);
CREATE INDEX transfer_ticket ON transfer USING btree (ticket_id, asked_at, id);
CREATE INDEX transfer_to ON transfer USING btree (tenant_id, to_id, asked_at, id) WHERE (state = 'requested'::text);

CREATE TABLE untold (
    ticket_id uuid NOT NULL,
    since timestamp with time zone NOT NULL,
    CONSTRAINT untold_pkey PRIMARY KEY (ticket_id)
);
