-- What is to be published, written by the transaction that caused it, deleted once the broker has it.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key bytea,
    tenant text NOT NULL,
    ce_id uuid NOT NULL,
    payload bytea,
    headers bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (
    -- Rows live for milliseconds: vacuum by count, not by share, and without pausing.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);
-- Compressing what is deleted a moment later is wasted work.
ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL;
COMMENT ON COLUMN outbox.topic IS 'the manifest''s name; the relay adds the installation''s prefix';
COMMENT ON COLUMN outbox.headers IS 'shared.outbox writes and reads it: ready to send, all but ce_source';
