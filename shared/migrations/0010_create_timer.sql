-- Instants at which something is due. `due_at` is what was asked for; `run_at` is when to try, later after a failure.
-- A new id is drawn whenever a timer is armed or moved: whoever read the former instant must not fire it.
CREATE SEQUENCE timer_id;
CREATE TABLE timer (
    kind text NOT NULL,
    key text NOT NULL,
    id bigint NOT NULL DEFAULT nextval('timer_id'),
    tenant_id text NOT NULL,
    due_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    armed_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE INDEX timer_run_at ON timer (run_at);
CREATE INDEX timer_failing ON timer (kind) WHERE attempts > 0;

-- What was due and when it fired. Eight parts by day, the oldest emptied as a whole: nothing is deleted row by row,
-- and no table is created at run time. A row belongs to the part of its day whatever the year.
CREATE TABLE timer_ledger (
    slot smallint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    due_at timestamptz NOT NULL,
    fired_at timestamptz NOT NULL,
    attempts integer NOT NULL
) PARTITION BY LIST (slot);
COMMENT ON TABLE timer_ledger IS 'append-only: what was due and when it fired';

DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format('CREATE TABLE timer_ledger_%s PARTITION OF timer_ledger FOR VALUES IN (%s)', part, part);
        EXECUTE format('COMMENT ON TABLE timer_ledger_%s IS %L', part, 'append-only: part of timer_ledger');
    END LOOP;
END $$;

CREATE FUNCTION timer_ledger_slot(instant timestamptz) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (floor(extract(epoch FROM instant) / 86400)::bigint % 8)::smallint $$;

-- Empties the part that tomorrow's rows will fall into, if all it holds is older than six days.
-- SECURITY DEFINER: the data role appends to the ledger and may neither change nor truncate it otherwise.
CREATE FUNCTION timer_ledger_prune() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    part text := 'timer_ledger_' || timer_ledger_slot(desk_now() + interval '1 day');
    newest timestamptz;
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    EXECUTE format('SELECT max(fired_at) FROM %I', part) INTO newest;
    IF newest IS NULL OR newest > desk_now() - interval '6 days' THEN
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE %I', part);
    RETURN true;
END $$;
