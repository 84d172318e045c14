-- What triage, search, sla and escalation say of a ticket, what people set by hand, and what becomes of two tickets
-- that are one.
ALTER TABLE ticket
    ADD COLUMN impact text,
    ADD COLUMN urgency text,
    ADD COLUMN eta_at timestamptz,
    ADD COLUMN merged_at timestamptz,
    -- [kind, ticket id, number, suggested, score]
    ADD COLUMN links jsonb NOT NULL DEFAULT '[]',
    -- Suggested duplicates that a person dismissed: they are not suggested again.
    ADD COLUMN dismissed_ids uuid[] NOT NULL DEFAULT '{}',
    -- The handover that waits for its answer.
    ADD COLUMN transfer jsonb,
    -- Given to nobody before this instant, unless triage speaks first.
    ADD COLUMN held_until timestamptz,
    -- field -> instant at which a person set it; no decision touches it
    ADD COLUMN set_by jsonb NOT NULL DEFAULT '{}',
    -- kind of decision -> [version the newest applied one saw, ids of the last few]
    ADD COLUMN decided jsonb NOT NULL DEFAULT '{}',
    -- Which events of others made `derived`; not published.
    ADD COLUMN heard jsonb NOT NULL DEFAULT '{}';

-- Merges: the pointer is in the ticket's row; here is what taking one back needs. The newest merge of a ticket counts.
CREATE TABLE merge (
    ticket_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    into_id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- People who follow the other ticket because of this merge.
    watcher_ids uuid[] NOT NULL DEFAULT '{}'
);
-- Who leads here: a chain of merges read from its end.
CREATE INDEX ticket_merged ON ticket (merged_into) WHERE merged_into IS NOT NULL;

-- Handovers, open and answered; the open one is in its ticket's row too.
CREATE TABLE transfer (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    ticket_id uuid NOT NULL,
    state text NOT NULL,
    from_id uuid,
    to_id uuid NOT NULL,
    asked_by text NOT NULL,
    note text,
    asked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX transfer_ticket ON transfer (ticket_id, asked_at, id);
CREATE INDEX transfer_to ON transfer (tenant_id, to_id, asked_at, id) WHERE state = 'requested';

-- What people thought of a cycle; the comment is theirs and erasable.
CREATE TABLE rating (
    ticket_id uuid NOT NULL,
    cycle integer NOT NULL,
    person_id uuid NOT NULL,
    tenant_id text NOT NULL,
    score smallint NOT NULL CHECK (score BETWEEN 1 AND 5),
    comment text,
    rated_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, cycle, person_id)
);
