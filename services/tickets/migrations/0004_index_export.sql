-- The bulk export walks one tenant's tickets by id.
CREATE INDEX ticket_export ON ticket (tenant_id, id);
