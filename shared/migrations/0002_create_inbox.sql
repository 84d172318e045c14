-- One row per handled fact: what makes "handled exactly once by its id" true.
--
-- Partitioned by the day of the event's OWN time (ce_time), not of its arrival: a redelivery or a replay carries the
-- same ce_time, so it meets the same partition and uniqueness within that partition is uniqueness altogether.
-- Old weeks are dropped whole, which costs nothing, while deleting rows of a table this hot would cost as much as
-- inserting them.
CREATE TABLE inbox (
    group_name text NOT NULL,
    ce_id uuid NOT NULL,
    event_day date NOT NULL,
    PRIMARY KEY (ce_id, group_name, event_day)
) PARTITION BY RANGE (event_day);

-- Odd times (a producer with a wrong clock, years back or ahead) still find a home.
CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

-- What follows makes tables later on, under the role that runs this now: it keeps that right by its own name.
GRANT CREATE ON SCHEMA public TO CURRENT_USER;

-- Makes the weeks from last week to five weeks ahead, drops those older than `keep_days`; the data role may call it
-- although it may not change the schema. Uses the database's clock with its test offset, like ce_time does.
CREATE FUNCTION inbox_maintain(keep_days integer) RETURNS TABLE (made integer, dropped integer)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
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
END $$;
REVOKE ALL ON FUNCTION inbox_maintain(integer) FROM PUBLIC;
SELECT inbox_maintain(67);
