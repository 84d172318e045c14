-- What escalation knows of a ticket: its newest state by version, and what people did to it.
CREATE TABLE ticket (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    -- Of the topics that tell of it.
    partition smallint NOT NULL,
    -- Of the newest ticket.state; 0 while only facts have told of it.
    state_version bigint NOT NULL,
    summary jsonb NOT NULL,
    cycle integer NOT NULL,
    duplicates smallint NOT NULL,
    merged boolean NOT NULL,
    responded_at timestamptz,
    acted_at timestamptz,
    watch_at timestamptz,
    watched text
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- One walk along one path for one ticket. Changed only while its ticket's row is locked.
CREATE TABLE escalation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL,
    path text NOT NULL,
    -- The path as it was in the pack when the escalation started.
    plan jsonb NOT NULL,
    rank smallint NOT NULL,
    level smallint NOT NULL,
    cause text NOT NULL,
    cause_key text NOT NULL,
    cause_id uuid,
    cause_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    base_at timestamptz NOT NULL,
    page_minutes double precision NOT NULL,
    step smallint NOT NULL,
    lap smallint NOT NULL,
    again integer NOT NULL,
    alternative smallint NOT NULL,
    paged_at timestamptz,
    next_at timestamptz,
    acknowledged_by uuid,
    ended_at timestamptz,
    ended_reason text,
    history jsonb NOT NULL
) WITH (fillfactor = 80);

-- One at a time for a ticket and path, whatever our code thinks.
CREATE UNIQUE INDEX escalation_running ON escalation (ticket_id, path) WHERE state = 'running';
CREATE INDEX escalation_ticket ON escalation (ticket_id);
CREATE INDEX escalation_started ON escalation (tenant_id, started_at, id);
CREATE INDEX escalation_state ON escalation (tenant_id, state, started_at, id);

-- One person, asked once.
CREATE TABLE page (
    page_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    escalation_id uuid NOT NULL,
    ticket_id uuid NOT NULL,
    person_id uuid NOT NULL,
    via text NOT NULL,
    step smallint NOT NULL,
    lap smallint NOT NULL,
    responsible boolean NOT NULL,
    urgency text NOT NULL,
    state text NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    settled_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX page_escalation ON page (escalation_id);

-- Provisional breaches that were none, for the case that this is heard before the breach itself.
CREATE TABLE withdrawal (
    ticket_id uuid NOT NULL,
    clock_key text NOT NULL,
    tenant_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, clock_key)
);

-- Up to which instant everything that tickets committed is known, by partition (the watermark of ticket.state).
CREATE TABLE knowledge (
    partition smallint PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Colleagues and teams, as directory last told them.
CREATE TABLE colleague (
    person_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    role text NOT NULL,
    active boolean NOT NULL,
    team_ids uuid[] NOT NULL
);
CREATE INDEX colleague_tenant ON colleague (tenant_id);

CREATE TABLE team (
    team_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    queues text[] NOT NULL,
    lead_id uuid,
    active boolean NOT NULL
);
CREATE INDEX team_tenant ON team (tenant_id);

-- Who is on call: a rotation, and overrides of it.
CREATE TABLE schedule (
    tenant_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    timezone text NOT NULL,
    starts_on date NOT NULL,
    weekday smallint NOT NULL,
    handover time NOT NULL,
    members uuid[] NOT NULL,
    shift_days smallint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE schedule_override (
    override_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    schedule text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    person_id uuid NOT NULL,
    made_by uuid,
    made_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, schedule) REFERENCES schedule (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX schedule_override_end ON schedule_override (tenant_id, schedule, ends_at);
