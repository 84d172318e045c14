-- Events whose key may not go on: something they need has not arrived (not_yet), they fail alone (poison), they are
-- part of a loop (hops), or an earlier event of their key is in here (behind). The row with the lowest id of a key is
-- its head; only a head has a due instant, and only heads are tried.
CREATE TABLE waiting (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_name text NOT NULL,
    key text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    record_ms bigint NOT NULL,
    payload bytea,
    headers bytea NOT NULL,
    reason text NOT NULL CHECK (reason IN ('not_yet', 'poison', 'hops', 'behind')),
    missing_kind text,
    missing_id text,
    error text,
    attempts integer NOT NULL DEFAULT 0,
    since timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz,
    -- The record's own time is part of it: a topic made anew counts its offsets from zero again.
    UNIQUE (group_name, topic, partition, "offset", record_ms)
);
CREATE INDEX waiting_key ON waiting (group_name, key, id);
CREATE INDEX waiting_due ON waiting (group_name, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX waiting_missing ON waiting (missing_kind, missing_id) WHERE missing_kind IS NOT NULL;
