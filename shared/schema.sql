-- Written by `deskwire schema` from the migrations; change those.

CREATE SEQUENCE timer_id;

CREATE TABLE clock_offset (
    only_row boolean NOT NULL DEFAULT true,
    shift interval NOT NULL DEFAULT '00:00:00'::interval,
    CONSTRAINT clock_offset_pkey PRIMARY KEY (only_row),
    CONSTRAINT clock_offset_only_row_check CHECK (only_row)
);
COMMENT ON TABLE clock_offset IS 'read-only for the service; only the test role moves it';

CREATE TABLE idempotency (
    tenant_id text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}'::jsonb,
    body bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_created_at ON idempotency USING btree (created_at);

CREATE TABLE inbox (
    group_name text NOT NULL,
    ce_id uuid NOT NULL,
    event_day date NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (ce_id, group_name, event_day)
) PARTITION BY RANGE (event_day);

CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

CREATE TABLE outbox (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    key bytea,
    tenant text NOT NULL,
    ce_id uuid NOT NULL,
    payload bytea,
    headers bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=100000, autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_insert_threshold=-1, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000);
COMMENT ON COLUMN outbox.headers IS 'shared.outbox writes and reads it: ready to send, all but ce_source';
COMMENT ON COLUMN outbox.topic IS 'the manifest''s name; the relay adds the installation''s prefix';

CREATE TABLE replica (
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    event bytea,
    version bigint,
    event_time timestamp with time zone NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    CONSTRAINT replica_pkey PRIMARY KEY (topic, key, type)
);

CREATE TABLE replica_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    CONSTRAINT replica_offset_pkey PRIMARY KEY (topic, partition)
);

CREATE TABLE task (
    id uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    tenant_id text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}'::jsonb,
    due_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamp with time zone,
    parked_at timestamp with time zone,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT task_pkey PRIMARY KEY (id),
    CONSTRAINT task_check CHECK (((lease_token IS NULL) = (lease_until IS NULL)))
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, fillfactor=80);
CREATE INDEX task_due ON task USING btree (kind, due_at) WHERE ((parked_at IS NULL) AND (lease_token IS NULL));
CREATE INDEX task_key ON task USING btree (kind, key);
CREATE INDEX task_leased ON task USING btree (lease_until) WHERE (lease_token IS NOT NULL);
CREATE INDEX task_parked ON task USING btree (parked_at) WHERE (parked_at IS NOT NULL);

CREATE TABLE timer (
    kind text NOT NULL,
    key text NOT NULL,
    id bigint NOT NULL DEFAULT nextval('timer_id'::regclass),
    tenant_id text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}'::jsonb,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    armed_at timestamp with time zone NOT NULL,
    CONSTRAINT timer_pkey PRIMARY KEY (kind, key)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, fillfactor=90);
CREATE INDEX timer_failing ON timer USING btree (kind) WHERE (attempts > 0);
CREATE INDEX timer_run_at ON timer USING btree (run_at);

CREATE TABLE timer_ledger (
    slot smallint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    fired_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL
) PARTITION BY LIST (slot);
COMMENT ON TABLE timer_ledger IS 'append-only: what was due and when it fired';

CREATE TABLE timer_ledger_0 PARTITION OF timer_ledger FOR VALUES IN ('0');
COMMENT ON TABLE timer_ledger_0 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_1 PARTITION OF timer_ledger FOR VALUES IN ('1');
COMMENT ON TABLE timer_ledger_1 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_2 PARTITION OF timer_ledger FOR VALUES IN ('2');
COMMENT ON TABLE timer_ledger_2 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_3 PARTITION OF timer_ledger FOR VALUES IN ('3');
COMMENT ON TABLE timer_ledger_3 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_4 PARTITION OF timer_ledger FOR VALUES IN ('4');
COMMENT ON TABLE timer_ledger_4 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_5 PARTITION OF timer_ledger FOR VALUES IN ('5');
COMMENT ON TABLE timer_ledger_5 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_6 PARTITION OF timer_ledger FOR VALUES IN ('6');
COMMENT ON TABLE timer_ledger_6 IS 'append-only: part of timer_ledger';

CREATE TABLE timer_ledger_7 PARTITION OF timer_ledger FOR VALUES IN ('7');
COMMENT ON TABLE timer_ledger_7 IS 'append-only: part of timer_ledger';

CREATE TABLE waiting (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    group_name text NOT NULL,
    key text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    record_ms bigint NOT NULL,
    payload bytea,
    headers bytea NOT NULL,
    reason text NOT NULL,
    missing_kind text,
    missing_id text,
    error text,
    attempts integer NOT NULL DEFAULT 0,
    since timestamp with time zone NOT NULL DEFAULT now(),
    due_at timestamp with time zone,
    CONSTRAINT waiting_pkey PRIMARY KEY (id),
    CONSTRAINT waiting_group_name_topic_partition_offset_record_ms_key UNIQUE (group_name, topic, partition, "offset", record_ms),
    CONSTRAINT waiting_reason_check CHECK ((reason = ANY (ARRAY['not_yet'::text, 'poison'::text, 'hops'::text, 'behind'::text])))
);
CREATE INDEX waiting_due ON waiting USING btree (group_name, due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX waiting_key ON waiting USING btree (group_name, key, id);
CREATE INDEX waiting_missing ON waiting USING btree (missing_kind, missing_id) WHERE (missing_kind IS NOT NULL);

CREATE OR REPLACE FUNCTION public.desk_now()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ SELECT now() + shift FROM clock_offset $function$;

CREATE OR REPLACE FUNCTION public.inbox_maintain(keep_days integer)
 RETURNS TABLE(made integer, dropped integer)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    today date := (desk_now() AT TIME ZONE 'UTC')::date;
    oldest date := date_trunc('week', today - keep_days)::date;
    week date;
    part text;
BEGIN
    IF keep_days < 1 THEN
        RAISE EXCEPTION 'keep_days must be positive';
    END IF;
    made := 0;
    dropped := 0;
    PERFORM pg_advisory_xact_lock(hashtext('deskwire.inbox_maintain'));
    FOR week IN SELECT generate_series(date_trunc('week', today - 7)::date, today + 35, interval '7 days')::date LOOP
        part := 'inbox_' || to_char(week, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
        -- Made apart and then attached: that locks out no insert into the other weeks. Rows of this week that went
        -- to the default partition meanwhile come along, otherwise attaching would be refused.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.inbox INCLUDING ALL)', part);
        LOCK TABLE public.inbox_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM public.inbox_default WHERE event_day >= %L AND event_day < %L RETURNING *)'
            ' INSERT INTO public.%I SELECT * FROM moved', week, week + 7, part);
        EXECUTE format(
            'ALTER TABLE public.inbox ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', part, week, week + 7);
        made := made + 1;
    END LOOP;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.inbox'::regclass AND c.relname ~ '^inbox_\d{8}$'
          AND to_date(substr(c.relname, 7), 'YYYYMMDD') < oldest
    LOOP
        EXECUTE format('DROP TABLE public.%I', part);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM public.inbox_default WHERE event_day < today - keep_days;
    RETURN NEXT;
END $function$;

CREATE OR REPLACE FUNCTION public.timer_ledger_prune()
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION public.timer_ledger_slot(instant timestamp with time zone)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ SELECT (floor(extract(epoch FROM instant) / 86400)::bigint % 8)::smallint $function$;
