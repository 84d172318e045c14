-- The one clock of this database: real time plus an offset that is zero outside tests.
CREATE TABLE clock_offset (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shift interval NOT NULL DEFAULT interval '0'
);
INSERT INTO clock_offset DEFAULT VALUES;
COMMENT ON TABLE clock_offset IS 'read-only for the service; only the test role moves it';

-- STABLE, so that `due_at <= (SELECT desk_now())` is an index condition; a volatile function would scan every timer.
CREATE FUNCTION desk_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT now() + shift FROM clock_offset $$;
