-- What transactions call, in any language, next to the writes they make. It takes no lock that outlives it, tells nobody, and
-- depends on nothing of its session: so it works through a pooler, in a transaction that is prepared, and under any isolation.
-- NOTIFY would make commits wait for each other, and could not be prepared.

-- Targets that are encoded already.
CREATE OR REPLACE FUNCTION larder.outbox_add(namespace bytea, kind smallint, intent bigint, targets bytea, cause bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(targets) > 16777216 THEN
        RAISE EXCEPTION 'larder: a record''s targets take % bytes; expected at most 16777216', octet_length(targets)
            USING ERRCODE = '54000';
    END IF;
    -- A commit that a crash may take back after it was seen would take back the record after it was applied.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
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
    SELECT string_agg(target, ''::bytea) INTO targets FROM (
        SELECT larder.target(3, tenant, NULL, tag) FROM jsonb_array_elements(tags) AS tag
        UNION ALL SELECT larder.region_target(1, tenant, key) FROM jsonb_array_elements(keys) AS key
        UNION ALL SELECT larder.region_target(2, tenant, prefix) FROM jsonb_array_elements(prefixes) AS prefix
        -- Everything of a tenant is the prefix of all its keys.
        UNION ALL SELECT CASE WHEN tenant IS NULL THEN '\x00'::bytea ELSE larder.target(2, tenant, NULL, '[]') END
            WHERE everything
    ) AS named(target);
    IF targets IS NOT NULL THEN
        PERFORM larder.outbox_add(convert_to(namespace, 'UTF8'), 0::smallint, 0, targets,
            convert_to(left(coalesce(cause, ''), 200), 'UTF8'));
    END IF;
END
$$;

INSERT INTO larder.migrations(version) VALUES (3) ON CONFLICT DO NOTHING;
