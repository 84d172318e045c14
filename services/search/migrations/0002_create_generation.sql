-- Indexes behind the alias. At most one is live and at most one is being filled.
CREATE TABLE generation (
    number bigint PRIMARY KEY,
    -- What its mapping and settings were made of.
    fingerprint text NOT NULL,
    state text NOT NULL CHECK (state IN ('filling', 'live', 'retired')),
    -- The walk over all documents: behind this ticket, NULL at its start.
    after uuid,
    walked boolean NOT NULL DEFAULT false,
    written bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    live_at timestamptz
);
CREATE UNIQUE INDEX generation_one_of_a_kind ON generation (state) WHERE state <> 'retired';
