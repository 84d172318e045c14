-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE credential (
    credential_id text NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    person_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT credential_pkey PRIMARY KEY (credential_id),
    CONSTRAINT credential_credential_id_check CHECK ((credential_id ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT credential_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id),
    CONSTRAINT credential_tenant_id_person_id_fkey FOREIGN KEY (tenant_id, person_id) REFERENCES person(tenant_id, person_id)
);
CREATE INDEX credential_expiring ON credential USING btree (expires_at) WHERE ((revoked_at IS NULL) AND (expires_at IS NOT NULL));
CREATE INDEX credential_of ON credential USING btree (tenant_id, person_id);

CREATE TABLE organisation (
    tenant_id text NOT NULL,
    organisation_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    tier text,
    active boolean NOT NULL DEFAULT true,
    spread_after uuid,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT organisation_pkey PRIMARY KEY (tenant_id, organisation_id),
    CONSTRAINT organisation_name UNIQUE (tenant_id, name),
    CONSTRAINT organisation_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id)
);
CREATE INDEX organisation_spreading ON organisation USING btree (tenant_id, organisation_id) WHERE (spread_after IS NOT NULL);

CREATE TABLE organisation_domain (
    tenant_id text NOT NULL,
    domain text NOT NULL,
    organisation_id uuid NOT NULL,
    CONSTRAINT organisation_domain_pkey PRIMARY KEY (tenant_id, domain),
    CONSTRAINT organisation_domain_tenant_id_organisation_id_fkey FOREIGN KEY (tenant_id, organisation_id) REFERENCES organisation(tenant_id, organisation_id)
);
CREATE INDEX organisation_domain_of ON organisation_domain USING btree (tenant_id, organisation_id);

CREATE TABLE pack (
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    text text NOT NULL,
    applied_by uuid,
    applied_at timestamp with time zone NOT NULL,
    rolled_back_to bigint,
    CONSTRAINT pack_pkey PRIMARY KEY (tenant_id, version),
    CONSTRAINT pack_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id)
);
COMMENT ON TABLE pack IS 'append-only';

CREATE TABLE pack_section (
    tenant_id text NOT NULL,
    section text NOT NULL,
    document jsonb NOT NULL,
    pack_version bigint NOT NULL,
    CONSTRAINT pack_section_pkey PRIMARY KEY (tenant_id, section),
    CONSTRAINT pack_section_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id)
);

CREATE TABLE person (
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    role text NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    organisation_id uuid,
    tier text,
    language text,
    timezone text,
    capacity integer NOT NULL DEFAULT 0,
    available boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT person_pkey PRIMARY KEY (tenant_id, person_id),
    CONSTRAINT person_capacity_check CHECK (((capacity >= 0) AND (capacity <= 1000))),
    CONSTRAINT person_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'agent'::text, 'team_lead'::text, 'manager'::text, 'admin'::text, 'service'::text]))),
    CONSTRAINT person_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id),
    CONSTRAINT person_tenant_id_organisation_id_fkey FOREIGN KEY (tenant_id, organisation_id) REFERENCES organisation(tenant_id, organisation_id)
);
CREATE INDEX person_of_organisation ON person USING btree (tenant_id, organisation_id, person_id) WHERE (organisation_id IS NOT NULL);
CREATE INDEX person_of_role ON person USING btree (tenant_id, role, person_id) WHERE (role <> 'customer'::text);

CREATE TABLE person_address (
    tenant_id text NOT NULL,
    address text NOT NULL,
    person_id uuid NOT NULL,
    "position" smallint NOT NULL DEFAULT 1,
    domain text GENERATED ALWAYS AS (
CASE
    WHEN (strpos(address, '@'::text) > 0) THEN reverse(split_part(reverse(address), '@'::text, 1))
    ELSE NULL::text
END) STORED,
    CONSTRAINT person_address_pkey PRIMARY KEY (tenant_id, address),
    CONSTRAINT person_address_tenant_id_person_id_fkey FOREIGN KEY (tenant_id, person_id) REFERENCES person(tenant_id, person_id)
);
CREATE INDEX person_address_domain ON person_address USING btree (tenant_id, domain, person_id);
CREATE INDEX person_address_of ON person_address USING btree (tenant_id, person_id);

CREATE TABLE signing_key (
    kid text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    public_key jsonb NOT NULL,
    wrapped_private bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT signing_key_pkey PRIMARY KEY (kid)
);
CREATE UNIQUE INDEX signing_key_current ON signing_key USING btree ((true)) WHERE (expires_at IS NULL);

CREATE TABLE skill (
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    name text NOT NULL,
    proficiency smallint NOT NULL,
    CONSTRAINT skill_pkey PRIMARY KEY (tenant_id, person_id, name),
    CONSTRAINT skill_proficiency_check CHECK (((proficiency >= 1) AND (proficiency <= 10))),
    CONSTRAINT skill_tenant_id_person_id_fkey FOREIGN KEY (tenant_id, person_id) REFERENCES person(tenant_id, person_id)
);

CREATE TABLE team (
    tenant_id text NOT NULL,
    team_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    queues text[] NOT NULL DEFAULT '{}'::text[],
    tier smallint NOT NULL DEFAULT 1,
    lead_id uuid,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT team_pkey PRIMARY KEY (tenant_id, team_id),
    CONSTRAINT team_name UNIQUE (tenant_id, name),
    CONSTRAINT team_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(tenant_id),
    CONSTRAINT team_tenant_id_lead_id_fkey FOREIGN KEY (tenant_id, lead_id) REFERENCES person(tenant_id, person_id),
    CONSTRAINT team_tier_check CHECK (((tier >= 1) AND (tier <= 4)))
);

CREATE TABLE team_member (
    tenant_id text NOT NULL,
    team_id uuid NOT NULL,
    person_id uuid NOT NULL,
    CONSTRAINT team_member_pkey PRIMARY KEY (tenant_id, person_id, team_id),
    CONSTRAINT team_member_tenant_id_person_id_fkey FOREIGN KEY (tenant_id, person_id) REFERENCES person(tenant_id, person_id),
    CONSTRAINT team_member_tenant_id_team_id_fkey FOREIGN KEY (tenant_id, team_id) REFERENCES team(tenant_id, team_id)
);
CREATE INDEX team_member_of ON team_member USING btree (tenant_id, team_id);

CREATE TABLE tenant (
    tenant_id text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    timezone text NOT NULL DEFAULT 'UTC'::text,
    languages text[] NOT NULL DEFAULT '{en}'::text[],
    mail_domains text[] NOT NULL DEFAULT '{}'::text[],
    inbound_addresses text[] NOT NULL DEFAULT '{}'::text[],
    operator boolean NOT NULL DEFAULT false,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT tenant_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_tenant_id_check CHECK ((tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);
CREATE UNIQUE INDEX tenant_operator ON tenant USING btree (operator) WHERE operator;
