-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE dirty (
    ticket_id uuid NOT NULL,
    version bigint NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT dirty_pkey PRIMARY KEY (ticket_id)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, fillfactor=60);
CREATE INDEX dirty_since ON dirty USING btree (since);

CREATE TABLE document (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    revision bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    head text,
    texts integer NOT NULL DEFAULT 0,
    category text NOT NULL DEFAULT 'new'::text,
    merged boolean NOT NULL DEFAULT false,
    updated_at timestamp with time zone,
    gist text,
    number text,
    requester_id uuid,
    channel text,
    product text,
    opened_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT document_pkey PRIMARY KEY (ticket_id)
) WITH (autovacuum_vacuum_scale_factor=0.05, fillfactor=70);

CREATE TABLE duplicate_check (
    ticket_id uuid NOT NULL,
    asked_at timestamp with time zone NOT NULL DEFAULT now(),
    due_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    found uuid[] NOT NULL,
    CONSTRAINT duplicate_check_pkey PRIMARY KEY (ticket_id)
);
CREATE INDEX duplicate_check_age ON duplicate_check USING btree (asked_at);
CREATE INDEX duplicate_check_due ON duplicate_check USING btree (due_at);

CREATE TABLE duplicate_key (
    key bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    ticket_id uuid NOT NULL
);
CREATE INDEX duplicate_key_age ON duplicate_key USING brin (at) WITH (pages_per_range='16');
CREATE INDEX duplicate_key_lookup ON duplicate_key USING btree (key, at, ticket_id);

CREATE TABLE gap (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT gap_pkey PRIMARY KEY (ticket_id)
);
CREATE INDEX gap_since ON gap USING btree (since);

CREATE TABLE generation (
    number bigint NOT NULL,
    fingerprint text NOT NULL,
    state text NOT NULL,
    after uuid,
    walked boolean NOT NULL DEFAULT false,
    written bigint NOT NULL DEFAULT 0,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    live_at timestamp with time zone,
    CONSTRAINT generation_pkey PRIMARY KEY (number),
    CONSTRAINT generation_state_check CHECK ((state = ANY (ARRAY['filling'::text, 'live'::text, 'retired'::text])))
);
CREATE UNIQUE INDEX generation_one_of_a_kind ON generation USING btree (state) WHERE (state <> 'retired'::text);

CREATE TABLE message (
    ticket_id uuid NOT NULL,
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    internal boolean NOT NULL,
    text text,
    CONSTRAINT message_pkey PRIMARY KEY (ticket_id, message_id)
);

CREATE TABLE refused (
    ticket_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT refused_pkey PRIMARY KEY (ticket_id)
);
