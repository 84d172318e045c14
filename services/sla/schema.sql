-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE clock (
    ticket_id uuid NOT NULL,
    name text NOT NULL,
    partition integer NOT NULL,
    cycle integer NOT NULL,
    state text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    target interval NOT NULL,
    line integer NOT NULL,
    calendar text NOT NULL,
    zone text NOT NULL,
    due_at timestamp with time zone,
    warn_at timestamp with time zone,
    breached_at timestamp with time zone,
    finished_at timestamp with time zone,
    policy_version bigint NOT NULL,
    warned boolean NOT NULL,
    told boolean NOT NULL,
    provisional boolean NOT NULL,
    quiet boolean NOT NULL,
    CONSTRAINT clock_pkey PRIMARY KEY (ticket_id, name),
    CONSTRAINT clock_ticket_id_fkey FOREIGN KEY (ticket_id) REFERENCES sla_ticket(ticket_id) ON DELETE CASCADE
) WITH (fillfactor=80);
CREATE INDEX clock_due ON clock USING btree (partition, due_at) WHERE (state = 'running'::text);
CREATE INDEX clock_provisional ON clock USING btree (partition, breached_at) WHERE provisional;
CREATE INDEX clock_warn ON clock USING btree (partition, warn_at) WHERE ((state = 'running'::text) AND (NOT warned));

CREATE TABLE knowledge (
    partition integer NOT NULL,
    until timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone,
    CONSTRAINT knowledge_pkey PRIMARY KEY (partition)
);

CREATE TABLE sla_ticket (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    cycle integer NOT NULL DEFAULT 1,
    open boolean NOT NULL DEFAULT true,
    number text NOT NULL DEFAULT ''::text,
    requester_id uuid,
    requester_zone text,
    watcher_ids uuid[] NOT NULL DEFAULT '{}'::uuid[],
    summary bytea,
    ledger bytea,
    CONSTRAINT sla_ticket_pkey PRIMARY KEY (ticket_id)
) WITH (fillfactor=80);
CREATE INDEX sla_ticket_number ON sla_ticket USING btree (tenant_id, number);
CREATE INDEX sla_ticket_open ON sla_ticket USING btree (tenant_id, ticket_id) WHERE open;
CREATE INDEX sla_ticket_requester ON sla_ticket USING btree (requester_id) WHERE open;
COMMENT ON COLUMN sla_ticket.open IS 'a changed policy is applied to it; false once closed';
COMMENT ON COLUMN sla_ticket.requester_zone IS 'the zone of the requester that its clocks were computed with';
COMMENT ON COLUMN sla_ticket.version IS '-1: locked before anything was stored';
