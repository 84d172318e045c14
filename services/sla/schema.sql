-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE sla_count (
    tenant_id text NOT NULL,
    tickets bigint NOT NULL,
    newest text NOT NULL,
    newest_at timestamp with time zone NOT NULL,
    CONSTRAINT sla_count_pkey PRIMARY KEY (tenant_id)
);
