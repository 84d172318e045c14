-- Who there is: tenants, organisations, people, teams; what proves it: credentials; what they agreed on: packs.
-- Every table carries its tenant and every key begins with it, so that no query can cross tenants by accident.

CREATE TABLE tenant (
    tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    timezone text NOT NULL DEFAULT 'UTC',
    languages text[] NOT NULL DEFAULT '{en}',
    mail_domains text[] NOT NULL DEFAULT '{}',
    inbound_addresses text[] NOT NULL DEFAULT '{}',
    -- The tenant that runs the installation: its administrators make and change tenants.
    operator boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX tenant_operator ON tenant (operator) WHERE operator;

CREATE TABLE organisation (
    tenant_id text NOT NULL REFERENCES tenant,
    organisation_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    tier text,
    active boolean NOT NULL DEFAULT true,
    -- Members whose copy of name and tier is older than this organisation are still to be told; null when all know.
    spread_after uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, organisation_id),
    CONSTRAINT organisation_name UNIQUE (tenant_id, name)
);
CREATE INDEX organisation_spreading ON organisation (tenant_id, organisation_id) WHERE spread_after IS NOT NULL;

CREATE TABLE organisation_domain (
    tenant_id text NOT NULL,
    domain text NOT NULL,
    organisation_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, domain),
    FOREIGN KEY (tenant_id, organisation_id) REFERENCES organisation
);
CREATE INDEX organisation_domain_of ON organisation_domain (tenant_id, organisation_id);

CREATE TABLE person (
    tenant_id text NOT NULL REFERENCES tenant,
    person_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    role text NOT NULL CHECK (role IN ('customer', 'agent', 'team_lead', 'manager', 'admin', 'service')),
    name text NOT NULL DEFAULT '',
    organisation_id uuid,
    -- The person's own tier; without one, the organisation's.
    tier text,
    language text,
    timezone text,
    capacity integer NOT NULL DEFAULT 0 CHECK (capacity BETWEEN 0 AND 1000),
    available boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, person_id),
    FOREIGN KEY (tenant_id, organisation_id) REFERENCES organisation
);
CREATE INDEX person_of_organisation ON person (tenant_id, organisation_id, person_id) WHERE organisation_id IS NOT NULL;
CREATE INDEX person_of_role ON person (tenant_id, role, person_id) WHERE role <> 'customer';

-- One address is one person's, per tenant. Normalised as shared.contracts.ids does.
CREATE TABLE person_address (
    tenant_id text NOT NULL,
    address text NOT NULL,
    person_id uuid NOT NULL,
    position smallint NOT NULL DEFAULT 1,
    domain text GENERATED ALWAYS AS (
        CASE WHEN strpos(address, '@') > 0 THEN reverse(split_part(reverse(address), '@', 1)) END
    ) STORED,
    PRIMARY KEY (tenant_id, address),
    FOREIGN KEY (tenant_id, person_id) REFERENCES person
);
CREATE INDEX person_address_of ON person_address (tenant_id, person_id);
CREATE INDEX person_address_domain ON person_address (tenant_id, domain, person_id);

CREATE TABLE skill (
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    name text NOT NULL,
    proficiency smallint NOT NULL CHECK (proficiency BETWEEN 1 AND 10),
    PRIMARY KEY (tenant_id, person_id, name),
    FOREIGN KEY (tenant_id, person_id) REFERENCES person
);

CREATE TABLE team (
    tenant_id text NOT NULL REFERENCES tenant,
    team_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    queues text[] NOT NULL DEFAULT '{}',
    tier smallint NOT NULL DEFAULT 1 CHECK (tier BETWEEN 1 AND 4),
    lead_id uuid,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, team_id),
    CONSTRAINT team_name UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, lead_id) REFERENCES person
);

CREATE TABLE team_member (
    tenant_id text NOT NULL,
    team_id uuid NOT NULL,
    person_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, person_id, team_id),
    FOREIGN KEY (tenant_id, team_id) REFERENCES team,
    FOREIGN KEY (tenant_id, person_id) REFERENCES person
);
CREATE INDEX team_member_of ON team_member (tenant_id, team_id);

-- API keys by the SHA-256 of 256 random bits. The key itself is nowhere.
CREATE TABLE credential (
    credential_id text PRIMARY KEY CHECK (credential_id ~ '^[0-9a-f]{64}$'),
    tenant_id text NOT NULL REFERENCES tenant,
    version bigint NOT NULL DEFAULT 1,
    person_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    expires_at timestamptz,
    revoked_at timestamptz,
    FOREIGN KEY (tenant_id, person_id) REFERENCES person
);
CREATE INDEX credential_of ON credential (tenant_id, person_id);
CREATE INDEX credential_expiring ON credential (expires_at) WHERE revoked_at IS NULL AND expires_at IS NOT NULL;

-- Keys that sign tokens, of the whole installation; the private part is wrapped by the master key. One is current; the one before verifies what
-- it signed until those tokens have expired.
CREATE TABLE signing_key (
    kid text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    public_key jsonb NOT NULL,
    wrapped_private bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE UNIQUE INDEX signing_key_current ON signing_key ((true)) WHERE expires_at IS NULL;

-- Every pack ever applied, as it was written, comments included.
CREATE TABLE pack (
    tenant_id text NOT NULL REFERENCES tenant,
    version bigint NOT NULL,
    name text NOT NULL,
    text text NOT NULL,
    applied_by uuid,
    applied_at timestamptz NOT NULL,
    rolled_back_to bigint,
    PRIMARY KEY (tenant_id, version)
);
COMMENT ON TABLE pack IS 'append-only';

-- The sections in force, and the version of the pack that last changed each.
CREATE TABLE pack_section (
    tenant_id text NOT NULL REFERENCES tenant,
    section text NOT NULL,
    document jsonb NOT NULL,
    pack_version bigint NOT NULL,
    PRIMARY KEY (tenant_id, section)
);
