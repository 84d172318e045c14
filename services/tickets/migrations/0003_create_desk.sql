-- Ticket numbers are given out in blocks, by a transaction of its own: no ticket waits for another's number.
CREATE TABLE number_block (
    tenant_id text NOT NULL,
    year integer NOT NULL,
    next bigint NOT NULL,
    PRIMARY KEY (tenant_id, year)
) WITH (fillfactor = 50);

-- Agents as assignment sees them, from person.changed. Whoever gives an agent a ticket locks the row first, so that
-- nobody exceeds their capacity; the load itself is counted from the tickets under that lock and can never drift.
CREATE TABLE agent (
    person_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    -- 0: the pack's default
    capacity integer NOT NULL,
    available boolean NOT NULL,
    team_ids uuid[] NOT NULL
);
CREATE INDEX agent_tenant ON agent (tenant_id, person_id);

-- Teams and the queues they serve, from team.changed.
CREATE TABLE team (
    team_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    queues text[] NOT NULL
);
CREATE INDEX team_tenant ON team (tenant_id);
