-- What was accepted, from whichever channel. The id is UUIDv5(tenant, what the source calls it): the same twice is one row.
CREATE TABLE message (
    message_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    conversation_id uuid NOT NULL,
    ticket_id uuid,
    channel text NOT NULL,
    person_id uuid NOT NULL,
    submitter text NOT NULL,
    external_id text,
    fingerprint bytea NOT NULL,
    accounts text[] NOT NULL DEFAULT '{}',
    parent text NOT NULL,
    parent_message_id uuid,
    automatic boolean NOT NULL,
    received_at timestamptz NOT NULL,
    payload bytea,
    original_sha256 bytea,
    original_size bigint,
    original_type text
);
COMMENT ON COLUMN message.conversation_id IS 'the message that began it';
COMMENT ON COLUMN message.ticket_id IS 'the ticket it opens when it joins none; null when its parent is known';
COMMENT ON COLUMN message.submitter IS 'the account that handed it in; empty for mail';
COMMENT ON COLUMN message.fingerprint IS 'tells a repetition from another content under the same id';
COMMENT ON COLUMN message.accounts IS 'our addresses that it came to';
COMMENT ON COLUMN message.payload IS 'the original of a message by API; larger originals are blobs';
CREATE INDEX message_ticket ON message (ticket_id) WHERE ticket_id IS NOT NULL;

-- Every Message-ID seen or referred to, by hash. Without a message it is a parent that has not come (yet).
CREATE TABLE thread (
    tenant_id text NOT NULL,
    key bytea NOT NULL,
    message_id uuid,
    conversation_id uuid NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

-- Which message needs which blob, for retention, erasure and the sweep of orphans.
CREATE TABLE message_blob (
    tenant_id text NOT NULL,
    message_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    PRIMARY KEY (tenant_id, message_id, sha256)
);
CREATE INDEX message_blob_sha256 ON message_blob (tenant_id, sha256);

-- Messages that could not be read within the bounds.
CREATE TABLE quarantine (
    message_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    channel text NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamptz NOT NULL,
    replayed_at timestamptz,
    replayed_as uuid
);
CREATE INDEX quarantine_open ON quarantine (tenant_id, quarantined_at, message_id) WHERE replayed_at IS NULL;

-- Which tenant an address or domain of ours belongs to, from tenant.changed. Of two claims the older one counts.
CREATE TABLE inbound (
    place text NOT NULL,
    tenant_id text NOT NULL,
    catch_all boolean NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (place, tenant_id)
);
CREATE INDEX inbound_tenant ON inbound (tenant_id);
COMMENT ON COLUMN inbound.place IS 'a whole address, or a domain';
COMMENT ON COLUMN inbound.catch_all IS 'every address of the domain, not only replies by token';

-- The relay releases tenants in turn.
CREATE INDEX outbox_tenant ON outbox (tenant, id);

-- Files sent ahead of the message that will name them.
CREATE TABLE upload (
    upload_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    account text NOT NULL,
    filename text NOT NULL,
    sha256 bytea NOT NULL,
    size bigint NOT NULL,
    media_type text NOT NULL,
    uploaded_at timestamptz NOT NULL
);
CREATE INDEX upload_age ON upload (uploaded_at);
COMMENT ON COLUMN upload.account IS 'who sent it; only they may attach it';
