-- What sla knows of each ticket: the newest version it was told, and the open cycle's ledger.
CREATE TABLE sla_ticket (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    cycle integer NOT NULL DEFAULT 1,
    open boolean NOT NULL DEFAULT true,
    number text NOT NULL DEFAULT '',
    requester_id uuid,
    requester_zone text,
    watcher_ids uuid[] NOT NULL DEFAULT '{}',
    summary bytea,
    ledger bytea
) WITH (fillfactor = 80);
COMMENT ON COLUMN sla_ticket.version IS '-1: locked before anything was stored';
COMMENT ON COLUMN sla_ticket.open IS 'a changed policy is applied to it; false once closed';
COMMENT ON COLUMN sla_ticket.requester_zone IS 'the zone of the requester that its clocks were computed with';
CREATE INDEX sla_ticket_open ON sla_ticket (tenant_id, ticket_id) WHERE open;
CREATE INDEX sla_ticket_requester ON sla_ticket (requester_id) WHERE open;
CREATE INDEX sla_ticket_number ON sla_ticket (tenant_id, number);

-- Each clock of the open cycle as it was told last. A running clock whose due instant has passed waits for knowledge.
CREATE TABLE clock (
    ticket_id uuid NOT NULL REFERENCES sla_ticket ON DELETE CASCADE,
    name text NOT NULL,
    partition integer NOT NULL,
    cycle integer NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    target interval NOT NULL,
    line integer NOT NULL,
    calendar text NOT NULL,
    zone text NOT NULL,
    due_at timestamptz,
    warn_at timestamptz,
    breached_at timestamptz,
    finished_at timestamptz,
    policy_version bigint NOT NULL,
    warned boolean NOT NULL,
    told boolean NOT NULL,
    provisional boolean NOT NULL,
    quiet boolean NOT NULL,
    PRIMARY KEY (ticket_id, name)
) WITH (fillfactor = 80);
-- The due work: found when knowledge of a partition passes an instant, or when the grace after it has passed.
CREATE INDEX clock_due ON clock (partition, due_at) WHERE state = 'running';
CREATE INDEX clock_warn ON clock (partition, warn_at) WHERE state = 'running' AND NOT warned;
CREATE INDEX clock_provisional ON clock (partition, breached_at) WHERE provisional;

-- Up to which instant everything that tickets committed is known here, by partition of ticket.state.
CREATE TABLE knowledge (
    partition integer PRIMARY KEY,
    until timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z'
);
