-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE chat_reply (
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    facts jsonb,
    missed jsonb,
    at timestamp with time zone NOT NULL,
    CONSTRAINT chat_reply_pkey PRIMARY KEY (message_id)
);
CREATE INDEX chat_reply_at ON chat_reply USING btree (at);
COMMENT ON COLUMN chat_reply.facts IS 'the answer, as a delivery would carry it';
COMMENT ON COLUMN chat_reply.missed IS 'who left, and when';

CREATE TABLE colleague (
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    role text NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT colleague_pkey PRIMARY KEY (person_id)
);
CREATE INDEX colleague_role ON colleague USING btree (tenant_id, role) WHERE active;

CREATE TABLE courtesy (
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    sent timestamp with time zone[] NOT NULL,
    CONSTRAINT courtesy_pkey PRIMARY KEY (person_id)
);

CREATE TABLE delivery (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    occasion text NOT NULL,
    cause_id uuid NOT NULL,
    template text NOT NULL,
    channel text NOT NULL,
    recipient_id uuid NOT NULL,
    address text,
    message_id uuid,
    page_id uuid,
    urgent boolean NOT NULL DEFAULT false,
    facts jsonb,
    state text NOT NULL,
    reason text,
    answer text,
    external_id text,
    attempts integer NOT NULL DEFAULT 0,
    doubtful integer NOT NULL DEFAULT 0,
    expires_at timestamp with time zone,
    correlation text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT delivery_pkey PRIMARY KEY (id),
    CONSTRAINT delivery_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'sending'::text, 'delivered'::text, 'failed'::text, 'cancelled'::text, 'expired'::text, 'skipped'::text])))
) WITH (autovacuum_vacuum_scale_factor=0.05, fillfactor=80);
CREATE INDEX delivery_created ON delivery USING btree (created_at);
CREATE INDEX delivery_newest ON delivery USING btree (tenant_id, created_at, id);
CREATE INDEX delivery_page ON delivery USING btree (page_id) WHERE (page_id IS NOT NULL);
CREATE INDEX delivery_ticket ON delivery USING btree (tenant_id, ticket_id, created_at);
COMMENT ON COLUMN delivery.address IS 'only of somebody without a person: a chat visitor';
COMMENT ON COLUMN delivery.doubtful IS 'attempts whose answer was never written down: the mail may have gone out then';

CREATE TABLE notice (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    ticket_id uuid,
    template text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    urgent boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    read_at timestamp with time zone,
    CONSTRAINT notice_pkey PRIMARY KEY (id)
);
CREATE INDEX notice_created ON notice USING btree (created_at);
CREATE INDEX notice_person ON notice USING btree (tenant_id, person_id, created_at, id);
COMMENT ON COLUMN notice.id IS 'the delivery''s';

CREATE TABLE own_place (
    tenant_id text NOT NULL,
    place text NOT NULL,
    CONSTRAINT own_place_pkey PRIMARY KEY (tenant_id, place)
);
CREATE INDEX own_place_place ON own_place USING btree (place);
COMMENT ON COLUMN own_place.place IS 'an address, or a domain after an @';

CREATE TABLE page (
    id uuid NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    escalation_id uuid NOT NULL,
    person_id uuid NOT NULL,
    number text,
    reason text,
    urgency text,
    requested_at timestamp with time zone,
    expires_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    answer text,
    answered_at timestamp with time zone,
    answered_by text,
    CONSTRAINT page_pkey PRIMARY KEY (id)
);
CREATE INDEX page_person ON page USING btree (tenant_id, person_id, requested_at);
COMMENT ON COLUMN page.answered_by IS 'the way the answer came: link, app';

CREATE TABLE preference (
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    templates jsonb NOT NULL,
    quiet jsonb,
    version bigint NOT NULL,
    CONSTRAINT preference_pkey PRIMARY KEY (person_id)
);
COMMENT ON COLUMN preference.templates IS 'template → channel → wanted';

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

CREATE TABLE thread_entry (
    ticket_id uuid NOT NULL,
    external_id text NOT NULL,
    tenant_id text NOT NULL,
    received boolean NOT NULL,
    at timestamp with time zone NOT NULL,
    recipient_id uuid,
    CONSTRAINT thread_entry_pkey PRIMARY KEY (ticket_id, external_id)
);
CREATE INDEX thread_entry_at ON thread_entry USING btree (at);

CREATE TABLE ticket_language (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    language text,
    at timestamp with time zone NOT NULL,
    CONSTRAINT ticket_language_pkey PRIMARY KEY (ticket_id)
);
CREATE INDEX ticket_language_at ON ticket_language USING btree (at);
COMMENT ON COLUMN ticket_language.language IS 'null: triage could not tell';

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
