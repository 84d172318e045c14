-- What happened in a tenant, for people who are logged in: kept for a day, at most 100,000 per tenant, and only of
-- tenants in which somebody has listened within the last day.
--
-- Identity numbers are drawn before they are committed, so a reader that remembers the highest number would pass over
-- a slower transaction's rows for ever. The position is therefore (xid, id), and only rows whose transaction is older
-- than every one still running are read: those can have no predecessor that is not visible yet.
CREATE TABLE stream_event (
    tenant_id text NOT NULL,
    xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    ticket_id uuid,
    -- Whoever has this permission sees `data`; the people listed see `public`.
    permission text,
    people uuid[] NOT NULL DEFAULT '{}',
    data bytea,
    public bytea,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, xid, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE stream_event ALTER COLUMN data SET STORAGE MAIN, ALTER COLUMN public SET STORAGE MAIN;

-- Tenants that somebody listens to. Everything after the position is in `stream_event`.
CREATE TABLE stream_listener (
    tenant_id text PRIMARY KEY,
    listened_at timestamptz NOT NULL,
    complete_xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    complete_id bigint NOT NULL DEFAULT 0
);
