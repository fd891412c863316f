-- What transactions call, in any language, next to the writes they make. It takes no lock that outlives it, tells nobody, and
-- depends on nothing of its session: so it works through a pooler, in a transaction that is prepared, and under any isolation.
-- NOTIFY would make commits wait for each other, and could not be prepared.

-- Targets that are encoded already.
CREATE OR REPLACE FUNCTION larder.outbox_add(namespace bytea, kind smallint, intent bigint, targets bytea, cause bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
AS $$
-- Whose every name says where it is, because a search_path of its own would be a fifth of its price.
BEGIN
    IF pg_catalog.octet_length(targets) OPERATOR(pg_catalog.>) 16777216 THEN
        RAISE EXCEPTION 'larder: a record''s targets take % bytes; expected at most 16777216',
            pg_catalog.octet_length(targets) USING ERRCODE = '54000';
    END IF;
    -- A guarded write whose intent was closed because its time was over, or lost with a failover: nobody waits for what this
    -- transaction writes.
    IF $2 OPERATOR(pg_catalog.=) 2 THEN
        -- Any other looks at what was when the transaction began.
        IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
            RAISE EXCEPTION 'larder: a guarded write is committed under isolation %; expected read committed',
                pg_catalog.current_setting('transaction_isolation') USING ERRCODE = '25001';
        END IF;
        IF NOT EXISTS (SELECT FROM larder.intents AS i
            WHERE i.namespace OPERATOR(pg_catalog.=) $1 AND i.intent OPERATOR(pg_catalog.=) $3) THEN
            RAISE EXCEPTION 'larder: the guarded write''s intent is not open any more; expected to be called before its time is over'
                USING ERRCODE = 'LD001';
        END IF;
    END IF;
    -- A commit that a crash may take back after it was seen would take back the record after it was applied.
    IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
    END IF;
    INSERT INTO larder.outbox(namespace, kind, intent, targets, cause)
    VALUES ($1, $2, $3, $4, $5);
END
$$;

-- Invalidates when the transaction commits. `tags`, `keys` and `prefixes` are JSON arrays of what is named:
--   SELECT larder.invalidate('booking', tags => '[["branch", 7]]', keys => '[["availability", 7, "2026-11-21"]]');
-- A tag of one segment may be written without its brackets, and so may a prefix that is a region's name. Names nothing: does
-- nothing.
CREATE OR REPLACE FUNCTION larder.invalidate(
    namespace text,
    tags jsonb DEFAULT '[]',
    keys jsonb DEFAULT '[]',
    prefixes jsonb DEFAULT '[]',
    everything boolean DEFAULT false,
    tenant text DEFAULT NULL,
    cause text DEFAULT ''
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    targets bytea;
BEGIN
    IF jsonb_typeof(tags) IS DISTINCT FROM 'array' OR jsonb_typeof(keys) IS DISTINCT FROM 'array'
        OR jsonb_typeof(prefixes) IS DISTINCT FROM 'array' OR namespace IS NULL OR everything IS NULL THEN
        RAISE EXCEPTION 'larder: tags, keys and prefixes are JSON arrays of what is named, and nothing but tenant is null'
            USING ERRCODE = '22023';
    END IF;
    IF tags <> '[]' THEN
        targets := (SELECT string_agg(larder.target(3, tenant, NULL, tag), ''::bytea)
            FROM jsonb_array_elements(tags) AS tag);
    END IF;
    IF keys <> '[]' THEN
        targets := coalesce(targets, ''::bytea) || (SELECT string_agg(larder.region_target(1, tenant, key), ''::bytea)
            FROM jsonb_array_elements(keys) AS key);
    END IF;
    IF prefixes <> '[]' THEN
        targets := coalesce(targets, ''::bytea) || (SELECT string_agg(larder.region_target(2, tenant, prefix), ''::bytea)
            FROM jsonb_array_elements(prefixes) AS prefix);
    END IF;
    IF everything THEN
        -- Everything of a tenant is the prefix of all its keys.
        targets := coalesce(targets, ''::bytea)
            || CASE WHEN tenant IS NULL THEN '\x00'::bytea ELSE larder.target(2, tenant, NULL, '[]') END;
    END IF;
    IF targets IS NOT NULL THEN
        PERFORM larder.outbox_add(convert_to(namespace, 'UTF8'), 0::smallint, 0, targets,
            convert_to(left(coalesce(cause, ''), 200), 'UTF8'));
    END IF;
END
$$;

INSERT INTO larder.migrations(version) VALUES (3) ON CONFLICT DO NOTHING;
