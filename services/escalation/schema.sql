-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE colleague (
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    role text NOT NULL,
    active boolean NOT NULL,
    team_ids uuid[] NOT NULL,
    CONSTRAINT colleague_pkey PRIMARY KEY (person_id)
);
CREATE INDEX colleague_tenant ON colleague USING btree (tenant_id);

CREATE TABLE escalation (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL,
    path text NOT NULL,
    plan jsonb NOT NULL,
    rank smallint NOT NULL,
    level smallint NOT NULL,
    cause text NOT NULL,
    cause_key text NOT NULL,
    cause_id uuid,
    cause_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL,
    base_at timestamp with time zone NOT NULL,
    page_minutes double precision NOT NULL,
    step smallint NOT NULL,
    lap smallint NOT NULL,
    again integer NOT NULL,
    alternative smallint NOT NULL,
    paged_at timestamp with time zone,
    next_at timestamp with time zone,
    acknowledged_by uuid,
    ended_at timestamp with time zone,
    ended_reason text,
    history jsonb NOT NULL,
    CONSTRAINT escalation_pkey PRIMARY KEY (id)
) WITH (fillfactor=80);
CREATE UNIQUE INDEX escalation_running ON escalation USING btree (ticket_id, path) WHERE (state = 'running'::text);
CREATE INDEX escalation_started ON escalation USING btree (tenant_id, started_at, id);
CREATE INDEX escalation_state ON escalation USING btree (tenant_id, state, started_at, id);
CREATE INDEX escalation_ticket ON escalation USING btree (ticket_id);

CREATE TABLE knowledge (
    partition smallint NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT knowledge_pkey PRIMARY KEY (partition)
) WITH (fillfactor=50);

CREATE TABLE page (
    page_id uuid NOT NULL,
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
    requested_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT page_pkey PRIMARY KEY (page_id)
) WITH (fillfactor=80);
CREATE INDEX page_escalation ON page USING btree (escalation_id);

CREATE TABLE schedule (
    tenant_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    timezone text NOT NULL,
    starts_on date NOT NULL,
    weekday smallint NOT NULL,
    handover time without time zone NOT NULL,
    members uuid[] NOT NULL,
    shift_days smallint NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT schedule_pkey PRIMARY KEY (tenant_id, name)
);

CREATE TABLE schedule_override (
    override_id uuid NOT NULL,
    tenant_id text NOT NULL,
    schedule text NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    person_id uuid NOT NULL,
    made_by uuid,
    made_at timestamp with time zone NOT NULL,
    CONSTRAINT schedule_override_pkey PRIMARY KEY (override_id),
    CONSTRAINT schedule_override_tenant_id_schedule_fkey FOREIGN KEY (tenant_id, schedule) REFERENCES schedule(tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX schedule_override_end ON schedule_override USING btree (tenant_id, schedule, ends_at);

CREATE TABLE team (
    team_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    queues text[] NOT NULL,
    lead_id uuid,
    active boolean NOT NULL,
    CONSTRAINT team_pkey PRIMARY KEY (team_id)
);
CREATE INDEX team_tenant ON team USING btree (tenant_id);

CREATE TABLE ticket (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    partition smallint NOT NULL,
    state_version bigint NOT NULL,
    summary jsonb NOT NULL,
    cycle integer NOT NULL,
    duplicates smallint NOT NULL,
    merged boolean NOT NULL,
    responded_at timestamp with time zone,
    acted_at timestamp with time zone,
    watch_at timestamp with time zone,
    watched text,
    CONSTRAINT ticket_pkey PRIMARY KEY (ticket_id)
) WITH (autovacuum_analyze_scale_factor=0.02, autovacuum_vacuum_scale_factor=0.02, fillfactor=80);

CREATE TABLE withdrawal (
    ticket_id uuid NOT NULL,
    clock_key text NOT NULL,
    tenant_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT withdrawal_pkey PRIMARY KEY (ticket_id, clock_key)
);
