-- What triage knows of each ticket, one row per ticket: findings, never texts.
CREATE TABLE triaged (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    -- Rises with every change; a writer that read another one starts again.
    revision integer NOT NULL,
    -- The highest version of the ticket that was seen.
    version bigint NOT NULL,
    requester_id uuid,
    -- The requester's support tier and language, as far as known.
    tier text,
    language text,
    -- What the channel said of the ticket.
    said jsonb NOT NULL,
    -- What its texts say: signals, products, topics, people counted, language.
    findings jsonb NOT NULL,
    -- The decision as it stands, every part of it that was published; null before ticket.created was handled.
    decision jsonb,
    decision_id uuid,
    decided_at timestamptz,
    -- Fields that a person set: not decided again.
    held text[] NOT NULL,
    -- A person of ours has worked on it: messages raise nothing any more.
    touched boolean NOT NULL
) WITH (fillfactor = 80);

-- Tickets decided without their requester's tier, looked for when directory tells it.
CREATE INDEX triaged_without_tier ON triaged (requester_id) WHERE tier IS NULL AND NOT touched;

-- Every decision that was published.
CREATE TABLE decision (
    decision_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    decided_at timestamptz NOT NULL,
    -- What led to it: created:<message>, message:<message>, text:<message>, person:<version>.
    cause text NOT NULL,
    based_on_version bigint NOT NULL,
    decision jsonb NOT NULL,
    reasons jsonb NOT NULL,
    confidence double precision NOT NULL,
    policy_version bigint NOT NULL
);
CREATE INDEX decision_ticket ON decision (ticket_id, decided_at DESC);

-- What people set in place of a decision: what there is to learn from.
CREATE TABLE correction (
    event_id uuid NOT NULL,
    field text NOT NULL,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    corrected_at timestamptz NOT NULL,
    actor_id text NOT NULL,
    role text,
    -- What triage had decided; null where it had no opinion.
    decided jsonb,
    corrected jsonb,
    decision_id uuid,
    PRIMARY KEY (event_id, field)
);
CREATE INDEX correction_ticket ON correction (ticket_id, corrected_at DESC);
CREATE INDEX correction_tenant ON correction (tenant_id, corrected_at DESC, event_id, field);
