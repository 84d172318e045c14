-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE correction (
    event_id uuid NOT NULL,
    field text NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    corrected_at timestamp with time zone NOT NULL,
    actor_id text NOT NULL,
    role text,
    decided jsonb,
    corrected jsonb,
    decision_id uuid,
    CONSTRAINT correction_pkey PRIMARY KEY (event_id, field)
);
CREATE INDEX correction_tenant ON correction USING btree (tenant_id, corrected_at DESC, event_id, field);
CREATE INDEX correction_ticket ON correction USING btree (ticket_id, corrected_at DESC);

CREATE TABLE decision (
    decision_id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    cause text NOT NULL,
    based_on_version bigint NOT NULL,
    decision jsonb NOT NULL,
    reasons jsonb NOT NULL,
    confidence double precision NOT NULL,
    policy_version bigint NOT NULL,
    CONSTRAINT decision_pkey PRIMARY KEY (decision_id)
);
CREATE INDEX decision_ticket ON decision USING btree (ticket_id, decided_at DESC);

CREATE TABLE triaged (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    revision integer NOT NULL,
    version bigint NOT NULL,
    requester_id uuid,
    tier text,
    language text,
    said jsonb NOT NULL,
    findings jsonb NOT NULL,
    decision jsonb,
    decision_id uuid,
    decided_at timestamp with time zone,
    held text[] NOT NULL,
    touched boolean NOT NULL,
    CONSTRAINT triaged_pkey PRIMARY KEY (ticket_id)
) WITH (fillfactor=80);
CREATE INDEX triaged_without_tier ON triaged USING btree (requester_id) WHERE ((tier IS NULL) AND (NOT touched));
