-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE delivery (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    CONSTRAINT delivery_pkey PRIMARY KEY (id)
);
