-- Tickets of which others said something since their state was published: published again once a second at most.
CREATE TABLE untold (
    ticket_id uuid PRIMARY KEY,
    since timestamptz NOT NULL
);
