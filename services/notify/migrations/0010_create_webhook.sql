-- Endpoints of tenants. Secrets are wrapped with a key derived from the master key and are never answered again.
CREATE TABLE webhook_endpoint (
    endpoint_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    url text NOT NULL,
    description text NOT NULL DEFAULT '',
    event_types text[] NOT NULL,
    include_internal boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    disabled_reason text,
    disabled_at timestamptz,
    secret bytea NOT NULL,
    former_secret bytea,
    former_until timestamptz,
    -- How it has been answering; written by whoever sends, so it raises no version.
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    held_until timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- A deleted endpoint keeps its row, without its secrets, as long as deliveries may refer to it.
    deleted_at timestamptz
);
CREATE INDEX webhook_endpoint_tenant ON webhook_endpoint (tenant_id, created_at, endpoint_id) WHERE deleted_at IS NULL;

-- What is sent, once per event however many endpoints want it; never updated.
CREATE TABLE webhook_event (
    tenant_id text NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    ticket_id uuid,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX webhook_event_created_at ON webhook_event (created_at);
ALTER TABLE webhook_event ALTER COLUMN body SET STORAGE MAIN;

-- One hand-off: the record and the durable task in one small row. Leased like a task (shared.tasks), but in batches:
-- `attempts` counts those begun, `lease_token` says whose the present one is.
CREATE TABLE webhook_delivery (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id text NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'expired')),
    reason text,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    lease_token uuid,
    lease_until timestamptz,
    status integer,
    error text,
    milliseconds real,
    answer text,
    queued_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON COLUMN webhook_delivery.queued_at IS 'when it was made, or last replayed: attempts are counted from here';
CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_id, due_at, seq)
    WHERE state = 'pending' AND lease_token IS NULL;
CREATE INDEX webhook_delivery_leased ON webhook_delivery (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX webhook_delivery_listed ON webhook_delivery (endpoint_id, seq);
CREATE INDEX webhook_delivery_failed ON webhook_delivery (endpoint_id, ended_at) WHERE state IN ('failed', 'expired');
CREATE INDEX webhook_delivery_created_at ON webhook_delivery (created_at);
