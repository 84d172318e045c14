-- Agents, by role: whom `role:manager` reaches.
CREATE TABLE colleague (
    person_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    role text NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL
);
CREATE INDEX colleague_role ON colleague (tenant_id, role) WHERE active;

-- Our own inbound addresses and their domains, of every tenant: machines of ours, not to be answered by a machine.
CREATE TABLE own_place (
    tenant_id text NOT NULL,
    place text NOT NULL,
    PRIMARY KEY (tenant_id, place)
);
COMMENT ON COLUMN own_place.place IS 'an address, or a domain after an @';
CREATE INDEX own_place_place ON own_place (place);

-- What a person wants to be told of, and when not.
CREATE TABLE preference (
    person_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    templates jsonb NOT NULL,
    quiet jsonb,
    version bigint NOT NULL
);
COMMENT ON COLUMN preference.templates IS 'template → channel → wanted';

-- When automatic answers went to whom: the bound against loops.
CREATE TABLE courtesy (
    person_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    sent timestamptz[] NOT NULL
);
