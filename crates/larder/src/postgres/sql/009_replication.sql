-- Capture by logical replication: how far a slot's transactions are in the outbox, and when they may come there.

CREATE TABLE IF NOT EXISTS larder.capture_slots (
    slot name PRIMARY KEY,
    namespace text NOT NULL,
    -- The last transaction whose targets are in the outbox.
    lsn pg_lsn NOT NULL
);

-- Whether who looks now sees what this transaction wrote, which has committed. A commit can be decoded before it is visible: while
-- it waits for a synchronous standby, for as long as that takes. `xid` is of 32 bits, and not 2^31 transactions ago.
CREATE OR REPLACE FUNCTION larder.is_visible(xid bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen pg_snapshot := pg_current_snapshot();
    next bigint := pg_snapshot_xmax(seen)::text::bigint;
    ahead bigint := (xid - next) & 4294967295;
BEGIN
    IF ahead < 2147483648 THEN
        RETURN false;
    END IF;
    RETURN pg_visible_in_snapshot((next + ahead - 4294967296)::text::xid8, seen);
END
$$;

-- The targets of one transaction, at most once. False if it is not visible yet: ask again.
CREATE OR REPLACE FUNCTION larder.replicated(slot_name name, at pg_lsn, xid bigint, cause text, targets bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one larder.capture_slots;
BEGIN
    -- It must not wait for the standby that the transaction waits for.
    PERFORM set_config('synchronous_commit', 'local', true);
    SELECT * INTO one FROM larder.capture_slots AS s WHERE s.slot = slot_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'larder: slot % has not been begun', slot_name USING ERRCODE = '55000';
    END IF;
    IF at <= one.lsn THEN
        RETURN true;
    END IF;
    IF NOT larder.is_visible(xid) THEN
        RETURN false;
    END IF;
    PERFORM larder.capture(one.namespace, cause, targets);
    UPDATE larder.capture_slots AS s SET lsn = at WHERE s.slot = slot_name;
    RETURN true;
END
$$;

-- A slot is new: what was written before it is not known, so all is invalidated.
CREATE OR REPLACE FUNCTION larder.replication_began(slot_name name, namespace text, at pg_lsn) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'local', true);
    INSERT INTO larder.capture_slots AS s VALUES (slot_name, namespace, at)
    ON CONFLICT ON CONSTRAINT capture_slots_pkey DO UPDATE SET namespace = excluded.namespace, lsn = excluded.lsn;
    PERFORM larder.capture(namespace, 'postgres replication began: what was written before is not known', ARRAY['\x00'::bytea]);
END
$$;

-- Refuses a table whose changes would not say what they fed: old rows are written to the WAL with the columns of the replica identity.
CREATE OR REPLACE FUNCTION larder.replication_check(schema_name text, table_name text, columns text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root oid := larder.capture_table(schema_name, table_name, columns);
    lack record;
BEGIN
    SELECT c.oid::regclass AS relation, columns[i][1] AS name INTO lack
    FROM larder.captured_tables(root) AS t(oid) JOIN pg_class AS c ON c.oid = t.oid
    CROSS JOIN generate_series(1, coalesce(array_length(columns, 1), 0)) AS i
    WHERE c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (
        SELECT FROM pg_index AS x JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
        WHERE x.indrelid = c.oid AND a.attname = columns[i][1]
            AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'larder: the replica identity of % lacks column "%"; expected one with all mapped columns: ALTER TABLE % REPLICA IDENTITY FULL',
            lack.relation, lack.name, lack.relation USING ERRCODE = '22023';
    END IF;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA larder FROM PUBLIC;

INSERT INTO larder.migrations(version) VALUES (9) ON CONFLICT DO NOTHING;
