-- Work outside any transaction (mail, HTTP, models, blobs), under a lease. `due_at` is by this database's desk clock;
-- a lease is by its real clock, since it is about a process that may have died, not about the desk.
CREATE TABLE task (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    key text NOT NULL,
    tenant_id text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamptz,
    parked_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL,
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX task_due ON task (kind, due_at) WHERE parked_at IS NULL AND lease_token IS NULL;
CREATE INDEX task_leased ON task (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX task_parked ON task (parked_at) WHERE parked_at IS NOT NULL;
CREATE INDEX task_key ON task (kind, key);
