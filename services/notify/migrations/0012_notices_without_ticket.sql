-- A notice may be about something else than a ticket: a webhook that was switched off.
ALTER TABLE notice ALTER COLUMN ticket_id DROP NOT NULL;
