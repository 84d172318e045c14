-- Whom a mail of ours went to: nobody's mail refers to one that only others have.
ALTER TABLE thread_entry ADD COLUMN recipient_id uuid;
