-- Which of the tenant's own addresses a ticket's first message was sent to: what is answered leaves from there.
ALTER TABLE ticket ADD COLUMN inbound_address text;
