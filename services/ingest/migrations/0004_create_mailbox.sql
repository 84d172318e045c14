-- Mailboxes polled over IMAP: what to poll, how far it has been read, and how the last attempt went.
CREATE TABLE mailbox (
    mailbox_id uuid PRIMARY KEY,
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
    not_before timestamptz,
    anew_to bigint NOT NULL DEFAULT 0,
    imported bigint NOT NULL DEFAULT 0,
    succeeded_at timestamptz,
    failed_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    problem text,
    detail text,
    next_at timestamptz NOT NULL,
    lease_token uuid,
    lease_until timestamptz,
    UNIQUE (tenant_id, host, username, folder)
);
CREATE INDEX mailbox_due ON mailbox (next_at) WHERE active;
COMMENT ON COLUMN mailbox.password IS 'wrapped by the master key';
COMMENT ON COLUMN mailbox.last_uid IS 'every mail up to this one is stored, in the generation of uidvalidity';
COMMENT ON COLUMN mailbox.not_before IS 'older mails were there before us and are left alone; null: none are';
COMMENT ON COLUMN mailbox.anew_to IS 'mails up to this one were there when the server numbered them anew';
COMMENT ON COLUMN mailbox.lease_until IS 'on real time: one instance polls a mailbox at a time';
