-- Reference data of other services, as last published, and how far each partition has been read: written together.
-- A deleted key keeps its row without an event, so that a late repeat of an older one does not bring it back.
CREATE TABLE replica (
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    event bytea,
    version bigint,
    event_time timestamptz NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (topic, key, type)
);
CREATE TABLE replica_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
