-- Capture: what the triggers call that invalidate for writers who know nothing of Larder, and how triggers are put on tables.
-- The triggers' own functions, one for each table, are generated from a mapping (`larder::capture`) into `larder_capture`.

CREATE SCHEMA IF NOT EXISTS larder_capture;
REVOKE ALL ON SCHEMA larder_capture FROM PUBLIC;

-- Which tables are captured, by which function.
CREATE TABLE IF NOT EXISTS larder.captures (
    function name PRIMARY KEY,
    namespace text NOT NULL,
    relation oid NOT NULL,
    -- As it was called when the mapping was applied.
    relation_name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- A column's value arrives as Postgres' output function writes it, with its type: never through a cast, which the table's owner
-- may have made, and which would run with the rights of who applied the mapping. The settings that output depends on are
-- those of the triggers' functions.

-- The type below any domains.
CREATE OR REPLACE FUNCTION larder.base_type(kind oid) RETURNS oid LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    below oid;
BEGIN
    -- Those that come with Postgres are none.
    WHILE kind >= 16384 LOOP
        SELECT t.typbasetype INTO below FROM pg_catalog.pg_type AS t WHERE t.oid = kind AND t.typtype = 'd';
        EXIT WHEN NOT FOUND;
        kind := below;
    END LOOP;
    RETURN kind;
END
$$;

-- A value as words inside of a text; nothing for NULL. Moments are as RFC 3339 has them, in UTC, with no digit too many.
CREATE OR REPLACE FUNCTION larder.column_words(kind oid, words text) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    kind := larder.base_type(kind);
    IF kind IN ('timestamptz'::regtype, 'timestamp'::regtype) AND words LIKE '% %' THEN
        words := overlay(words PLACING 'T' FROM position(' ' IN words) FOR 1);
        RETURN CASE WHEN kind = 'timestamptz'::regtype THEN replace(words, '+00', 'Z') ELSE words END;
    ELSIF kind = 'boolean'::regtype THEN
        RETURN CASE words WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE '' END;
    END IF;
    RETURN coalesce(words, '');
END
$$;

-- A value as a segment: a number without decimal places as a whole number, truth values and bytes as such, NULL as the
-- absent segment, all else as its words.
CREATE OR REPLACE FUNCTION larder.column_segment(kind oid, words text) RETURNS bytea LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF words IS NULL THEN
        RETURN '\x00'::bytea;
    END IF;
    kind := larder.base_type(kind);
    IF kind IN ('integer'::regtype, 'bigint'::regtype, 'smallint'::regtype, 'numeric'::regtype, 'oid'::regtype)
        -- 128 bits have at most 39 digits; a few such numbers have more bits.
        AND words ~ '^-?[0-9]{1,39}$' THEN
        IF abs(words::numeric) < 340282366920938463463374607431768211456 THEN
            RETURN larder.number_segment(words::numeric);
        END IF;
    ELSIF kind = 'boolean'::regtype THEN
        RETURN CASE words WHEN 't' THEN '\x04'::bytea ELSE '\x03'::bytea END;
    ELSIF kind = 'bytea'::regtype THEN
        RETURN '\x02'::bytea || larder.run(words::bytea);
    END IF;
    RETURN larder.text_segment(larder.column_words(kind, words));
END
$$;

-- Adds these targets to the outbox, as few records as their bounds allow.
CREATE OR REPLACE FUNCTION larder.capture(namespace text, cause text, targets bytea[]) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
    chunk bytea;
BEGIN
    FOR chunk IN
        SELECT string_agg(sized.target, ''::bytea) FROM (
            SELECT t.target, (row_number() OVER every - 1) / 100000 AS by_count,
                sum(octet_length(t.target)) OVER every / 8388608 AS by_bytes
            FROM unnest(targets) AS t(target) WINDOW every AS (ROWS UNBOUNDED PRECEDING)
        ) AS sized GROUP BY sized.by_count, sized.by_bytes
    LOOP
        PERFORM larder.outbox_add(convert_to(namespace, 'UTF8'), 0::smallint, 0, chunk,
            convert_to(left(cause, 200), 'UTF8'));
    END LOOP;
END
$$;

-- A table and whatever inherits from it: its partitions, and theirs. A write to a partition by its own name fires the
-- partition's triggers, and not those of the table.
CREATE OR REPLACE FUNCTION larder.captured_tables(root oid) RETURNS SETOF oid LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE tree AS (
        SELECT c.oid FROM pg_class AS c WHERE c.oid = root
        UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN tree AS t ON i.inhparent = t.oid
    ) SELECT t.oid FROM tree AS t
$$;

-- The table of this name, which has these columns. `columns` are pairs: what a mapping reads, and where it says so.
CREATE OR REPLACE FUNCTION larder.capture_table(schema_name text, table_name text, columns text[]) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root oid := (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = schema_name AND c.relname = table_name);
    there text[] := ARRAY(SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = root AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
BEGIN
    IF root IS NULL THEN
        RAISE EXCEPTION 'larder: the mapping names table %.%, which does not exist', schema_name, table_name
            USING ERRCODE = '22023';
    END IF;
    FOR i IN 1..coalesce(array_length(columns, 1), 0) LOOP
        IF columns[i][1] <> ALL (there) THEN
            RAISE EXCEPTION 'larder: table %.%, % names column "%"; expected one of: %',
                schema_name, table_name, columns[i][2], columns[i][1], array_to_string(there, ', ')
                USING ERRCODE = '22023';
        END IF;
    END LOOP;
    RETURN root;
END
$$;

-- Puts the triggers of a generated function on a table and its partitions. What is there already is left alone, so that
-- doing it again takes no lock.
CREATE OR REPLACE FUNCTION larder.capture_attach(namespace text, schema_name text, table_name text, function name, columns text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
    root oid := larder.capture_table(schema_name, table_name, columns);
    one record;
    act record;
BEGIN
    FOR one IN SELECT c.oid, c.relkind FROM larder.captured_tables(root) AS t(oid) JOIN pg_class AS c ON c.oid = t.oid LOOP
        IF one.relkind NOT IN ('r', 'p') THEN
            RAISE EXCEPTION 'larder: % is no ordinary table, and cannot have such triggers', one.oid::regclass
                USING ERRCODE = '22023';
        END IF;
        FOR act IN SELECT * FROM (VALUES
            ('INSERT', 'REFERENCING NEW TABLE AS larder_rows'),
            ('UPDATE', 'REFERENCING OLD TABLE AS larder_rows NEW TABLE AS larder_rows_after'),
            ('DELETE', 'REFERENCING OLD TABLE AS larder_rows'),
            ('TRUNCATE', '')) AS v(operation, rows)
        LOOP
            CONTINUE WHEN EXISTS (SELECT FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
                WHERE g.tgrelid = one.oid AND g.tgname = function || '_' || lower(act.operation)
                    AND p.proname = function AND g.tgenabled IN ('O', 'A'));
            EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT '
                'EXECUTE FUNCTION larder_capture.%I()',
                function || '_' || lower(act.operation), act.operation, one.oid::regclass, act.rows, function);
            -- Replaced, it stays as disabled as it was. Only a table's owner may say otherwise.
            IF EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = one.oid
                AND g.tgname = function || '_' || lower(act.operation) AND g.tgenabled NOT IN ('O', 'A')) THEN
                EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', one.oid::regclass, function || '_' || lower(act.operation));
            END IF;
        END LOOP;
    END LOOP;
    INSERT INTO larder.captures AS c(function, namespace, relation, relation_name)
    VALUES (capture_attach.function, capture_attach.namespace, root, format('%I.%I', schema_name, table_name))
    ON CONFLICT ON CONSTRAINT captures_pkey DO UPDATE
    SET relation = excluded.relation, relation_name = excluded.relation_name, applied_at = excluded.applied_at;
END
$$;

-- Takes a generated function and all its triggers away.
CREATE OR REPLACE FUNCTION larder.capture_detach(function name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
BEGIN
    EXECUTE format('DROP FUNCTION IF EXISTS larder_capture.%I() CASCADE', function);
    DELETE FROM larder.captures AS c WHERE c.function = capture_detach.function;
END
$$;

-- What is captured now: each table and partition of every mapping with each operation. `on`; `off`: disabled; `replica`: fires only
-- for what comes by replication; `missing`, as on partitions made since the mapping was applied. Of a table that is gone: `no table`.
CREATE OR REPLACE FUNCTION larder.captured()
RETURNS TABLE (namespace text, relation text, operation text, state text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.namespace, CASE WHEN r.oid IS NULL OR c.is_swapped THEN c.relation_name ELSE format('%I.%I', n.nspname, r.relname) END,
        o.operation, CASE WHEN r.oid IS NULL THEN 'no table' WHEN c.is_swapped THEN 'missing' WHEN g.tgenabled IN ('O', 'A') THEN 'on'
            WHEN g.tgenabled = 'D' THEN 'off' WHEN g.tgenabled = 'R' THEN 'replica' ELSE 'missing' END
    -- Another table may have taken the name of the one that has the triggers.
    FROM (SELECT *, coalesce(to_regclass(relation_name) <> relation, false) AS is_swapped FROM larder.captures) AS c
    CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS o(operation)
    LEFT JOIN LATERAL larder.captured_tables(c.relation) AS t(oid) ON true
    LEFT JOIN pg_class AS r ON r.oid = t.oid
    LEFT JOIN pg_namespace AS n ON n.oid = r.relnamespace
    LEFT JOIN pg_proc AS p ON p.proname = c.function AND p.pronamespace = 'larder_capture'::regnamespace
    LEFT JOIN pg_trigger AS g ON g.tgrelid = t.oid AND g.tgfoid = p.oid
        AND g.tgname = c.function || '_' || lower(o.operation)
    ORDER BY 1, 2, 3
$$;

-- Nobody may call anything unless granted; `captured` to who watches.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA larder FROM PUBLIC;

INSERT INTO larder.migrations(version) VALUES (7) ON CONFLICT DO NOTHING;
