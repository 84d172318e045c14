-- Pages, from either side first: a cancellation may arrive before what it cancels.
CREATE TABLE page (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    escalation_id uuid NOT NULL,
    person_id uuid NOT NULL,
    number text,
    reason text,
    urgency text,
    requested_at timestamptz,
    expires_at timestamptz,
    cancelled_at timestamptz,
    answer text,
    answered_at timestamptz,
    answered_by text
);
COMMENT ON COLUMN page.answered_by IS 'the way the answer came: link, app';
CREATE INDEX page_person ON page (tenant_id, person_id, requested_at);

-- Answers of agents in chats, and those whose visitor had left: whichever comes first waits here for the other.
CREATE TABLE chat_reply (
    message_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    facts jsonb,
    missed jsonb,
    at timestamptz NOT NULL
);
COMMENT ON COLUMN chat_reply.facts IS 'the answer, as a delivery would carry it';
COMMENT ON COLUMN chat_reply.missed IS 'who left, and when';
CREATE INDEX chat_reply_at ON chat_reply (at);
