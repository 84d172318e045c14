-- Answers of requests that carried an Idempotency-Key, written in the transaction of their effect and replayed to a retry.
CREATE TABLE idempotency (
    tenant_id text NOT NULL,
    key text NOT NULL,
    -- Who asked for what: SHA-256 over caller, method, address and body.
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);
