-- What nodes ask. Each is one statement of one transaction, and an answer that may be large is never given under the lock: a
-- client that stands still cannot hold it.
--
-- `outcome` of an answer: 0 it is there; 1 ask again, without the step; 2 ask again, with the step; 3 no history, 4 another
-- epoch, 5 beyond the head, 6 no longer kept, 7 another record stands there.

-- Whether there is anything for the sequencer to do.
CREATE OR REPLACE FUNCTION larder.is_behind(name bytea, head larder.heads, seen_epoch bytea, seen bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN head.life IS DISTINCT FROM larder.life()
        OR head.epoch = seen_epoch AND seen > larder.flushed()
        OR EXISTS (SELECT FROM larder.outbox AS o WHERE o.namespace = name);
END
$$;

-- Where the history begins and ends and what is open, in one answer; begins one if there is none.
CREATE OR REPLACE FUNCTION larder.history(name bytea, sequence boolean, records_max bigint, bytes_max bigint)
RETURNS TABLE (outcome integer, epoch bytea, head_position bigint, head_nonce bigint, oldest_position bigint,
    oldest_nonce bigint, flushed bigint, intent bigint, lasts_ms bigint, targets bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head larder.heads;
    again integer;
BEGIN
    SELECT * INTO head FROM larder.heads AS h WHERE h.namespace = name;
    IF sequence AND larder.is_behind(name, head, NULL, 0) THEN
        again := CASE WHEN larder.sequence(name, NULL, 0, records_max, bytes_max) THEN 2 ELSE 1 END;
    ELSIF NOT sequence AND head.life IS DISTINCT FROM larder.life() THEN
        again := 2;
    END IF;
    IF again IS NOT NULL THEN
        RETURN QUERY SELECT again, NULL::bytea, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::bigint, NULL::bigint, NULL::bytea;
        RETURN;
    END IF;
    RETURN QUERY SELECT 0, h.epoch, h.position, h.nonce, h.oldest_position, h.oldest_nonce, larder.flushed(),
        i.intent, i.lasts_ms, i.targets
    FROM larder.heads AS h LEFT JOIN larder.intents AS i ON i.namespace = h.namespace WHERE h.namespace = name;
END
$$;

-- Notes that a node is there for so long; for no time: that it is gone.
CREATE OR REPLACE FUNCTION larder.attend(name bytea, who bytea, at_epoch bytea, at_position bigint, at_nonce bigint,
    for_ms bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF for_ms <= 0 THEN
        DELETE FROM larder.presence AS p WHERE p.namespace = name AND p.node = who;
        RETURN;
    END IF;
    INSERT INTO larder.presence VALUES (name, ''::bytea, ''::bytea, 0, 0, clock_timestamp()) ON CONFLICT DO NOTHING;
    INSERT INTO larder.presence AS p
    VALUES (name, who, at_epoch, at_position, at_nonce, clock_timestamp() + for_ms * interval '1 ms')
    ON CONFLICT (namespace, node) DO UPDATE
    SET epoch = excluded.epoch, position = excluded.position, nonce = excluded.nonce, until = excluded.until;
    -- Nobody may ever look; what is over goes now and then.
    IF random() < 0.02 THEN
        DELETE FROM larder.presence AS p WHERE p.namespace = name AND p.node IN (
            SELECT o.node FROM larder.presence AS o
            WHERE o.namespace = name AND o.node <> ''::bytea AND o.until < clock_timestamp() FOR UPDATE SKIP LOCKED);
    END IF;
END
$$;

-- Who is there, and for how long, in ms, nobody was lost.
CREATE OR REPLACE FUNCTION larder.attendance(name bytea)
RETURNS TABLE (whole_ms bigint, node bytea, epoch bytea, at_position bigint, nonce bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    whole bigint;
BEGIN
    PERFORM larder.life();
    SELECT greatest(0, floor(1000 * extract(epoch FROM clock_timestamp() - greatest(p.until, pg_postmaster_start_time()))))
    INTO whole FROM larder.presence AS p WHERE p.namespace = name AND p.node = ''::bytea;
    RETURN QUERY SELECT coalesce(whole, 0), NULL::bytea, NULL::bytea, NULL::bigint, NULL::bigint
        UNION ALL SELECT coalesce(whole, 0), p.node, p.epoch, p.position, p.nonce FROM larder.presence AS p
        WHERE p.namespace = name AND p.node <> ''::bytea AND p.until >= clock_timestamp();
END
$$;

-- The records right after a place, and the head, in one answer. With a node, notes first that it is there.
CREATE OR REPLACE FUNCTION larder.read(name bytea, at_epoch bytea, at_position bigint, at_nonce bigint, most bigint,
    sequence boolean, who bytea, for_ms bigint, seen bigint, records_max bigint, bytes_max bigint)
RETURNS TABLE (outcome integer, head_position bigint, head_nonce bigint, flushed bigint,
    at_place bigint, nonce bigint, kind smallint, intent bigint, lasts_ms bigint, targets bytea, cause bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    head larder.heads;
    said larder.presence;
    left_ms double precision;
    again integer;
BEGIN
    SELECT * INTO head FROM larder.heads AS h WHERE h.namespace = name;
    IF who IS NOT NULL THEN
        SELECT * INTO said FROM larder.presence AS p WHERE p.namespace = name AND p.node = who;
        left_ms := 1000 * extract(epoch FROM said.until - clock_timestamp());
        IF left_ms IS NULL OR left_ms < for_ms * 0.75
            OR (said.epoch, said.position, said.nonce) IS DISTINCT FROM (at_epoch, at_position, at_nonce) THEN
            PERFORM larder.attend(name, who, at_epoch, at_position, at_nonce, for_ms);
        END IF;
        -- Others see it only once this has committed. If they do not see it by what was said before, the records must be
        -- asked for after that.
        IF left_ms IS NULL OR left_ms < for_ms * 0.5 THEN
            again := CASE WHEN sequence THEN 2 ELSE 1 END;
        END IF;
    END IF;
    IF again IS NULL AND head.epoch IS NOT NULL THEN
        IF sequence AND larder.is_behind(name, head, at_epoch, seen) THEN
            again := CASE WHEN larder.sequence(name, at_epoch, seen, records_max, bytes_max) THEN 2 ELSE 1 END;
        ELSIF NOT sequence AND head.life <> larder.life() THEN
            again := 2;
        END IF;
    END IF;
    IF again IS NULL AND head.epoch IS NULL THEN
        PERFORM larder.life();
        again := 3;
    END IF;
    IF again IS NOT NULL THEN
        RETURN QUERY SELECT again, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::smallint,
            NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea;
        RETURN;
    END IF;
    RETURN QUERY
    WITH ends AS MATERIALIZED (
        SELECT h.position, h.nonce, CASE
            WHEN h.epoch <> at_epoch THEN 4
            WHEN at_position > h.position THEN 5
            WHEN at_position < h.oldest_position THEN 6
            WHEN at_nonce IS DISTINCT FROM CASE WHEN at_position = h.oldest_position THEN h.oldest_nonce ELSE
                (SELECT j.nonce FROM larder.journal AS j WHERE j.namespace = name AND j.position = at_position) END THEN 7
            ELSE 0 END AS verdict
        FROM larder.heads AS h WHERE h.namespace = name
    )
    SELECT e.verdict, e.position, e.nonce, larder.flushed(), r.position, r.nonce, r.kind, r.intent, r.lasts_ms, r.targets, r.cause
    FROM ends AS e LEFT JOIN LATERAL (
        SELECT j.*, sum(octet_length(j.targets)) OVER (ORDER BY j.position) AS bytes FROM larder.journal AS j
        WHERE e.verdict = 0 AND j.namespace = name AND j.position > at_position AND j.position <= e.position
        ORDER BY j.position LIMIT most
    ) AS r ON r.bytes <= 16777216 OR r.bytes = octet_length(r.targets)
    ORDER BY r.position;
END
$$;

-- Appends one record: its place, and what it followed. `outcome` 1: not opened, for one of its name is open, or too many are.
CREATE OR REPLACE FUNCTION larder.record(name bytea, act smallint, about bigint, lasts bigint, named bytea, why bytea,
    records_max bigint, bytes_max bigint, intents_max bigint)
RETURNS TABLE (outcome integer, epoch bytea, at_position bigint, at_nonce bigint, after_nonce bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head larder.heads;
    drawn bigint := larder.draw();
    bytes bigint := octet_length(named) + octet_length(why) + 64;
    durable text := current_setting('synchronous_commit');
BEGIN
    PERFORM larder.lock(name);
    -- An intent is waited for where its transaction would be: the history that comes after a failover keeps what is open.
    IF act = 1 AND durable <> 'off' THEN
        PERFORM set_config('synchronous_commit', durable, true);
    END IF;
    head := larder.current_head(name);
    IF act = 1 AND (
        (SELECT count(*) FROM larder.intents AS i WHERE i.namespace = name) >= intents_max
        OR EXISTS (SELECT FROM larder.intents AS i WHERE i.namespace = name AND i.intent = about)
    ) THEN
        RETURN QUERY SELECT 1, NULL::bytea, NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    INSERT INTO larder.journal(namespace, position, nonce, kind, intent, lasts_ms, targets, cause, total)
    VALUES (name, head.position + 1, drawn, act, about, lasts, named, why, head.total + bytes);
    IF act = 1 THEN
        INSERT INTO larder.intents VALUES (name, about, lasts, named);
    ELSIF act = 2 THEN
        DELETE FROM larder.intents AS i WHERE i.namespace = name AND i.intent = about;
    END IF;
    PERFORM larder.advance(head, head.position + 1, drawn, head.total + bytes, records_max, bytes_max);
    RETURN QUERY SELECT 0, head.epoch, head.position + 1, drawn, head.nonce;
END
$$;

-- Another epoch, if it is still this one.
CREATE OR REPLACE FUNCTION larder.roll(name bytea, seen bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head larder.heads;
BEGIN
    PERFORM larder.lock(name);
    head := larder.current_head(name);
    IF head.epoch = seen THEN
        PERFORM larder.begin_epoch(name);
    END IF;
END
$$;

-- The version of what is here.
CREATE OR REPLACE FUNCTION larder.version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT max(version) FROM larder.migrations $$;

-- Nobody may call anything unless granted: `outbox_add` and `invalidate` to applications; `history`, `read`, `record`, `roll`,
-- `attend`, `attendance` and `version` to nodes.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA larder FROM PUBLIC;

INSERT INTO larder.migrations(version) VALUES (5) ON CONFLICT DO NOTHING;
