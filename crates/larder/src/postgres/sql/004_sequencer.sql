-- The sequencer: moves what is visible in the outbox into the journal. Any node runs it; two at once wait for each other.
--
-- Each statement of these functions sees what was committed when it begins, as READ COMMITTED has it: so what comes after the
-- lock has been taken sees all that its last holder did.

-- 64 random bits: those of a random UUID that are random.
CREATE OR REPLACE FUNCTION larder.draw() RETURNS bigint LANGUAGE sql VOLATILE
AS $$
    SELECT ('x' || substr(drawn, 1, 12) || substr(drawn, 18, 4))::bit(64)::bigint
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS drawn) AS uuid
$$;

-- Which life of which database this is. It changes with another cluster (a dump, an upgrade) and with another timeline (a
-- failover, a recovery to a point in time); without fsync also with a start, which may have lost what was acknowledged.
-- Refuses on a standby: what it has may lag.
CREATE OR REPLACE FUNCTION larder.life() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'larder: this server is a standby, which may lag; expected the primary' USING ERRCODE = '25006';
    END IF;
    RETURN (SELECT system_identifier FROM pg_control_system())
        || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
        || CASE WHEN current_setting('fsync') = 'off' THEN '/' || pg_postmaster_start_time() ELSE '' END;
END
$$;

-- How far what is written survives a crash, as a number.
CREATE OR REPLACE FUNCTION larder.flushed() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint $$;

-- Tells who listens that there may be something new.
CREATE OR REPLACE FUNCTION larder.tell(name bytea) RETURNS void LANGUAGE sql VOLATILE
AS $$ SELECT pg_notify('larder', CASE WHEN octet_length(name) <= 1000 THEN encode(name, 'hex') ELSE '' END) $$;

-- The namespace's lock, until the transaction ends. Who does not get it in time is told so, before its client goes away: sessions
-- must not pile up behind one that stands still.
CREATE OR REPLACE FUNCTION larder.lock(name bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
BEGIN
    -- Under any other isolation the snapshot is older than the lock, and a record that was committed could be missed.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'larder: the isolation is %; expected read committed (default_transaction_isolation of this role)',
            current_setting('transaction_isolation') USING ERRCODE = '25001';
    END IF;
    PERFORM pg_advisory_xact_lock(1818325604, hashtext(encode(name, 'hex')));
    -- Durable here, and no standby is waited for, least of all with the lock held: one that takes over without this is another
    -- history, in which whatever was cached is a miss, and outbox rows are there to be moved or never were. So leases go on while
    -- a synchronous standby stands still.
    PERFORM set_config('synchronous_commit', 'local', true);
END
$$;

-- Another epoch, which goes on from the head; what is open stays open. Under the lock.
CREATE OR REPLACE FUNCTION larder.begin_epoch(name bytea) RETURNS larder.heads
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head larder.heads;
    drawn bigint := larder.draw();
BEGIN
    UPDATE larder.heads AS h SET epoch = int8send(larder.draw()) || int8send(larder.draw()), nonce = drawn,
        oldest_position = h.position, oldest_nonce = drawn, oldest_total = h.total, life = larder.life()
    WHERE h.namespace = name RETURNING h.* INTO STRICT head;
    PERFORM larder.tell(name);
    RETURN head;
END
$$;

-- The head, of the life that the database lives now. Under the lock.
CREATE OR REPLACE FUNCTION larder.current_head(name bytea) RETURNS larder.heads
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head larder.heads;
BEGIN
    SELECT * INTO head FROM larder.heads AS h WHERE h.namespace = name;
    IF NOT FOUND THEN
        INSERT INTO larder.heads VALUES
            (name, int8send(larder.draw()) || int8send(larder.draw()), 0, 0, 0, 0, 0, 0, larder.life())
        RETURNING * INTO STRICT head;
    ELSIF head.life <> larder.life() THEN
        head := larder.begin_epoch(name);
    END IF;
    RETURN head;
END
$$;

-- Writes a new head, and drops the oldest records now and then, a bounded number at a time: all but the newest `records_max`,
-- and of those all but the newest `bytes_max` bytes. Under the lock.
CREATE OR REPLACE FUNCTION larder.advance(head larder.heads, position_now bigint, nonce_now bigint, total_now bigint,
    records_max bigint, bytes_max bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    drop_to bigint := head.oldest_position;
    kept record;
BEGIN
    IF head.position / 64 <> position_now / 64 OR total_now - head.total > 65536 THEN
        IF total_now - head.oldest_total > bytes_max THEN
            SELECT coalesce(min(j.position) - 1, head.oldest_position + 10000) INTO drop_to FROM (
                SELECT o.position FROM larder.journal AS o WHERE o.namespace = head.namespace
                    AND o.position > head.oldest_position AND o.position <= head.oldest_position + 10000
                    AND total_now - o.total < bytes_max
                ORDER BY o.position LIMIT 1) AS j;
        END IF;
        -- The newest record is never dropped. Where a record is missing, nothing is moved: readers find the hole.
        drop_to := least(greatest(drop_to, position_now - records_max), head.oldest_position + 10000, position_now - 1);
        SELECT j.position, j.nonce, j.total INTO kept FROM larder.journal AS j
        WHERE j.namespace = head.namespace AND j.position = drop_to AND drop_to > head.oldest_position;
        IF FOUND THEN
            head.oldest_position := kept.position;
            head.oldest_nonce := kept.nonce;
            head.oldest_total := kept.total;
        END IF;
        DELETE FROM larder.journal AS j WHERE j.namespace = head.namespace AND j.position = ANY (ARRAY(
            SELECT o.position FROM larder.journal AS o
            WHERE o.namespace = head.namespace AND o.position <= head.oldest_position ORDER BY o.position LIMIT 10000));
    END IF;
    UPDATE larder.heads AS h SET position = position_now, nonce = nonce_now, total = total_now,
        oldest_position = head.oldest_position, oldest_nonce = head.oldest_nonce, oldest_total = head.oldest_total
    WHERE h.namespace = head.namespace;
    PERFORM larder.tell(head.namespace);
END
$$;

-- The step: waits for the lock, then moves what is visible by then, in the order of the ids. Says whether it stopped early,
-- because there was much; then it is to be run again. `seen` is how far the WAL was when somebody read `seen_epoch`: if it is
-- not as far now, the database was put back to an earlier state.
CREATE OR REPLACE FUNCTION larder.sequence(name bytea, seen_epoch bytea, seen bigint, records_max bigint, bytes_max bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    head larder.heads;
    moved record;
BEGIN
    PERFORM larder.lock(name);
    head := larder.current_head(name);
    IF head.epoch = seen_epoch AND seen > larder.flushed() THEN
        head := larder.begin_epoch(name);
    END IF;
    WITH taken AS (
        DELETE FROM larder.outbox AS o WHERE o.namespace = name AND o.id = ANY (ARRAY(
            SELECT first.id FROM (
                SELECT v.id, sum(octet_length(v.targets)) OVER (ORDER BY v.id) - octet_length(v.targets) AS before
                FROM larder.outbox AS v WHERE v.namespace = name ORDER BY v.id LIMIT 5000
            ) AS first WHERE first.before < 16777216))
        RETURNING o.id, o.kind, o.intent, o.targets, o.cause
    ), placed AS (
        SELECT t.*, head.position + row_number() OVER (ORDER BY t.id) AS position, larder.draw() AS nonce,
            sum(octet_length(t.targets) + octet_length(t.cause) + 64) OVER (ORDER BY t.id) AS bytes
        FROM taken AS t
    ), closed AS (
        DELETE FROM larder.intents AS i USING placed AS p
        WHERE i.namespace = name AND p.kind = 2 AND i.intent = p.intent
    ), written AS (
        INSERT INTO larder.journal(namespace, position, nonce, kind, intent, lasts_ms, targets, cause, total)
        SELECT name, p.position, p.nonce, p.kind, p.intent, 0, p.targets, p.cause, head.total + p.bytes FROM placed AS p
        RETURNING journal.position, journal.nonce, journal.total
    )
    SELECT w.position, w.nonce, w.total INTO moved FROM written AS w ORDER BY w.position DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM larder.advance(head, moved.position, moved.nonce, moved.total, records_max, bytes_max);
    RETURN moved.position - head.position >= 5000 OR moved.total - head.total >= 16777216;
END
$$;

INSERT INTO larder.migrations(version) VALUES (4) ON CONFLICT DO NOTHING;
