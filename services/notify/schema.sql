-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE delivery (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    CONSTRAINT delivery_pkey PRIMARY KEY (id)
);

CREATE TABLE stream_event (
    tenant_id text NOT NULL,
    xid bigint NOT NULL DEFAULT ((pg_current_xact_id())::text)::bigint,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    type text NOT NULL,
    "time" timestamp with time zone NOT NULL,
    ticket_id uuid,
    permission text,
    people uuid[] NOT NULL DEFAULT '{}'::uuid[],
    data bytea,
    public bytea,
    recorded_at timestamp with time zone NOT NULL,
    CONSTRAINT stream_event_pkey PRIMARY KEY (tenant_id, xid, id)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);

CREATE TABLE stream_listener (
    tenant_id text NOT NULL,
    listened_at timestamp with time zone NOT NULL,
    complete_xid bigint NOT NULL DEFAULT ((pg_current_xact_id())::text)::bigint,
    complete_id bigint NOT NULL DEFAULT 0,
    CONSTRAINT stream_listener_pkey PRIMARY KEY (tenant_id)
);

CREATE TABLE webhook_delivery (
    id uuid NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_id text NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    state text NOT NULL,
    reason text,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamp with time zone NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    status integer,
    error text,
    milliseconds real,
    answer text,
    queued_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT webhook_delivery_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_delivery_check CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT webhook_delivery_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text, 'expired'::text])))
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, fillfactor=80);
CREATE INDEX webhook_delivery_created_at ON webhook_delivery USING btree (created_at);
CREATE INDEX webhook_delivery_due ON webhook_delivery USING btree (endpoint_id, due_at, seq) WHERE ((state = 'pending'::text) AND (lease_token IS NULL));
CREATE INDEX webhook_delivery_failed ON webhook_delivery USING btree (endpoint_id, ended_at) WHERE (state = ANY (ARRAY['failed'::text, 'expired'::text]));
CREATE INDEX webhook_delivery_leased ON webhook_delivery USING btree (lease_until) WHERE (lease_token IS NOT NULL);
CREATE INDEX webhook_delivery_listed ON webhook_delivery USING btree (endpoint_id, seq);
COMMENT ON COLUMN webhook_delivery.queued_at IS 'when it was made, or last replayed: attempts are counted from here';

CREATE TABLE webhook_endpoint (
    endpoint_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    url text NOT NULL,
    description text NOT NULL DEFAULT ''::text,
    event_types text[] NOT NULL,
    include_internal boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    disabled_reason text,
    disabled_at timestamp with time zone,
    secret bytea NOT NULL,
    former_secret bytea,
    former_until timestamp with time zone,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamp with time zone,
    held_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT webhook_endpoint_pkey PRIMARY KEY (endpoint_id)
);
CREATE INDEX webhook_endpoint_tenant ON webhook_endpoint USING btree (tenant_id, created_at, endpoint_id) WHERE (deleted_at IS NULL);

CREATE TABLE webhook_event (
    tenant_id text NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    ticket_id uuid,
    body bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT webhook_event_pkey PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX webhook_event_created_at ON webhook_event USING btree (created_at);
