-- Written by `deskwire schema` from the migrations; change those.

CREATE TABLE chat_line (
    session_id uuid NOT NULL,
    seq bigint NOT NULL,
    tenant_id text NOT NULL,
    message_id uuid NOT NULL,
    ticket_id uuid NOT NULL,
    side text NOT NULL,
    client_id text,
    text text,
    text_sha256 bytea,
    files text[] NOT NULL,
    at timestamp with time zone NOT NULL,
    told_at timestamp with time zone,
    CONSTRAINT chat_line_pkey PRIMARY KEY (session_id, seq),
    CONSTRAINT chat_line_message_id_session_id_key UNIQUE (message_id, session_id)
);
CREATE INDEX chat_line_ticket ON chat_line USING btree (tenant_id, ticket_id);
COMMENT ON COLUMN chat_line.side IS 'visitor, agent or system';
COMMENT ON COLUMN chat_line.text_sha256 IS 'the blob of a text too long for the row';
COMMENT ON COLUMN chat_line.ticket_id IS 'the ticket it joined; of a visitor''s line until then the ticket it would open';
COMMENT ON COLUMN chat_line.told_at IS 'when somebody else was left to tell the visitor, who had gone';

CREATE TABLE chat_session (
    session_id uuid NOT NULL,
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    address text,
    last_seq bigint NOT NULL,
    acked_seq bigint NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    CONSTRAINT chat_session_pkey PRIMARY KEY (session_id)
);
COMMENT ON COLUMN chat_session.acked_seq IS 'the last line that the visitor has surely seen';
COMMENT ON COLUMN chat_session.address IS 'an e-mail address, if the visitor gave one';
COMMENT ON COLUMN chat_session.last_seq IS 'lines there are';
COMMENT ON COLUMN chat_session.seen_at IS 'when the visitor was last connected, to within some seconds';

CREATE TABLE chat_site (
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    enabled boolean NOT NULL,
    key text NOT NULL,
    origins text[] NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT chat_site_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT chat_site_key_key UNIQUE (key)
);
COMMENT ON COLUMN chat_site.origins IS 'of pages that may open chats; empty: any';

CREATE TABLE early_report (
    tenant_id text NOT NULL,
    key bytea NOT NULL,
    reason text NOT NULL,
    status text NOT NULL,
    reported_at timestamp with time zone NOT NULL,
    CONSTRAINT early_report_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX early_report_age ON early_report USING btree (reported_at);
COMMENT ON COLUMN early_report.key IS 'thread key of the Message-ID that it reports on';

CREATE TABLE inbound (
    place text NOT NULL,
    tenant_id text NOT NULL,
    catch_all boolean NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    CONSTRAINT inbound_pkey PRIMARY KEY (place, tenant_id)
);
CREATE INDEX inbound_tenant ON inbound USING btree (tenant_id);
COMMENT ON COLUMN inbound.catch_all IS 'every address of the domain, not only replies by token';
COMMENT ON COLUMN inbound.place IS 'a whole address, or a domain';

CREATE TABLE mailbox (
    mailbox_id uuid NOT NULL,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    tls text NOT NULL,
    username text NOT NULL,
    password bytea NOT NULL,
    address text NOT NULL,
    folder text NOT NULL,
    interval_seconds double precision NOT NULL,
    begin_with text NOT NULL,
    after_import text NOT NULL,
    move_to text,
    uidvalidity bigint,
    last_uid bigint NOT NULL DEFAULT 0,
    not_before timestamp with time zone,
    anew_to bigint NOT NULL DEFAULT 0,
    imported bigint NOT NULL DEFAULT 0,
    succeeded_at timestamp with time zone,
    failed_at timestamp with time zone,
    failures integer NOT NULL DEFAULT 0,
    problem text,
    detail text,
    next_at timestamp with time zone NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    CONSTRAINT mailbox_pkey PRIMARY KEY (mailbox_id),
    CONSTRAINT mailbox_tenant_id_host_username_folder_key UNIQUE (tenant_id, host, username, folder)
);
CREATE INDEX mailbox_due ON mailbox USING btree (next_at) WHERE active;
COMMENT ON COLUMN mailbox.anew_to IS 'mails up to this one were there when the server numbered them anew';
COMMENT ON COLUMN mailbox.last_uid IS 'every mail up to this one is stored, in the generation of uidvalidity';
COMMENT ON COLUMN mailbox.lease_until IS 'on real time: one instance polls a mailbox at a time';
COMMENT ON COLUMN mailbox.not_before IS 'older mails were there before us and are left alone; null: none are';
COMMENT ON COLUMN mailbox.password IS 'wrapped by the master key';

CREATE TABLE message (
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    conversation_id uuid NOT NULL,
    ticket_id uuid,
    channel text NOT NULL,
    person_id uuid NOT NULL,
    submitter text NOT NULL,
    external_id text,
    fingerprint bytea NOT NULL,
    accounts text[] NOT NULL DEFAULT '{}'::text[],
    parent text NOT NULL,
    parent_message_id uuid,
    automatic boolean NOT NULL,
    received_at timestamp with time zone NOT NULL,
    payload bytea,
    original_sha256 bytea,
    original_size bigint,
    original_type text,
    CONSTRAINT message_pkey PRIMARY KEY (message_id)
);
CREATE INDEX message_ticket ON message USING btree (ticket_id) WHERE (ticket_id IS NOT NULL);
COMMENT ON COLUMN message.accounts IS 'our addresses that it came to';
COMMENT ON COLUMN message.conversation_id IS 'the message that began it';
COMMENT ON COLUMN message.fingerprint IS 'tells a repetition from another content under the same id';
COMMENT ON COLUMN message.payload IS 'the original of a message by API; larger originals are blobs';
COMMENT ON COLUMN message.submitter IS 'the account that handed it in; empty for mail';
COMMENT ON COLUMN message.ticket_id IS 'the ticket it opens when it joins none; null when its parent is known';

CREATE TABLE message_blob (
    tenant_id text NOT NULL,
    message_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    CONSTRAINT message_blob_pkey PRIMARY KEY (tenant_id, message_id, sha256)
);
CREATE INDEX message_blob_sha256 ON message_blob USING btree (tenant_id, sha256);

CREATE INDEX outbox_tenant ON outbox USING btree (tenant, id);

CREATE TABLE quarantine (
    message_id uuid NOT NULL,
    tenant_id text NOT NULL,
    channel text NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamp with time zone NOT NULL,
    replayed_at timestamp with time zone,
    replayed_as uuid,
    CONSTRAINT quarantine_pkey PRIMARY KEY (message_id)
);
CREATE INDEX quarantine_open ON quarantine USING btree (tenant_id, quarantined_at, message_id) WHERE (replayed_at IS NULL);

CREATE TABLE suppression (
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    address text,
    version bigint NOT NULL,
    reason text NOT NULL,
    detail text,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone,
    lifted_at timestamp with time zone,
    CONSTRAINT suppression_pkey PRIMARY KEY (tenant_id, person_id)
);
CREATE INDEX suppression_open ON suppression USING btree (tenant_id, since, person_id) WHERE (lifted_at IS NULL);
COMMENT ON COLUMN suppression.address IS 'where known: a report need not name it';
COMMENT ON COLUMN suppression.until IS 'null for ever';

CREATE TABLE thread (
    tenant_id text NOT NULL,
    key bytea NOT NULL,
    message_id uuid,
    conversation_id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    ticket_id uuid,
    recipient_id uuid,
    CONSTRAINT thread_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX thread_sent ON thread USING btree (tenant_id, ticket_id, recipient_id) WHERE (ticket_id IS NOT NULL);
COMMENT ON COLUMN thread.recipient_id IS 'the person a mail of ours went to';
COMMENT ON COLUMN thread.ticket_id IS 'the ticket that a mail of ours is about; null for what others sent';

CREATE TABLE upload (
    upload_id uuid NOT NULL,
    tenant_id text NOT NULL,
    account text NOT NULL,
    filename text NOT NULL,
    sha256 bytea NOT NULL,
    size bigint NOT NULL,
    media_type text NOT NULL,
    uploaded_at timestamp with time zone NOT NULL,
    CONSTRAINT upload_pkey PRIMARY KEY (upload_id)
);
CREATE INDEX upload_age ON upload USING btree (uploaded_at);
COMMENT ON COLUMN upload.account IS 'who sent it; only they may attach it';
