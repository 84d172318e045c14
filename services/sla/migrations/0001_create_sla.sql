-- How many tickets each tenant has had.
CREATE TABLE sla_count (
    tenant_id text PRIMARY KEY,
    tickets bigint NOT NULL,
    newest text NOT NULL,
    newest_at timestamptz NOT NULL
);
