-- Who may open chats for a tenant: the public key that its web pages carry, and where those pages are.
CREATE TABLE chat_site (
    tenant_id text PRIMARY KEY,
    version bigint NOT NULL,
    enabled boolean NOT NULL,
    key text NOT NULL UNIQUE,
    origins text[] NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON COLUMN chat_site.origins IS 'of pages that may open chats; empty: any';

-- A visitor's chat; begins with their first message.
CREATE TABLE chat_session (
    session_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    person_id uuid NOT NULL,
    address text,
    last_seq bigint NOT NULL,
    acked_seq bigint NOT NULL,
    seen_at timestamptz NOT NULL,
    begun_at timestamptz NOT NULL
);
COMMENT ON COLUMN chat_session.address IS 'an e-mail address, if the visitor gave one';
COMMENT ON COLUMN chat_session.last_seq IS 'lines there are';
COMMENT ON COLUMN chat_session.acked_seq IS 'the last line that the visitor has surely seen';
COMMENT ON COLUMN chat_session.seen_at IS 'when the visitor was last connected, to within some seconds';

-- The transcript: what both sides wrote, numbered in the order in which the visitor gets it.
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
    at timestamptz NOT NULL,
    told_at timestamptz,
    PRIMARY KEY (session_id, seq),
    UNIQUE (message_id, session_id)
);
CREATE INDEX chat_line_ticket ON chat_line (tenant_id, ticket_id);
COMMENT ON COLUMN chat_line.ticket_id IS 'the ticket it joined; of a visitor''s line until then the ticket it would open';
COMMENT ON COLUMN chat_line.side IS 'visitor, agent or system';
COMMENT ON COLUMN chat_line.text_sha256 IS 'the blob of a text too long for the row';
COMMENT ON COLUMN chat_line.told_at IS 'when somebody else was left to tell the visitor, who had gone';
