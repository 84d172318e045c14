-- What is told to whom, one row per hand-off; its id is made of cause, template, recipient and channel.
CREATE TABLE delivery (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL
);
