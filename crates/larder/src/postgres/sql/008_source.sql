-- What a load asks a server that may lag, before it looks at anything there: a standby, or the primary itself.

-- Whether everything is visible here that was written before this record of the journal, or any earlier one: the head is moved
-- by a transaction that begins after all of those were visible on the primary, and a standby shows transactions in the order in which
-- they were committed. So what else is read under the same snapshot, or a later one, is no older.
CREATE OR REPLACE FUNCTION larder.shows(name bytea, at_epoch bytea, at_position bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM larder.heads AS h WHERE h.namespace = name AND h.epoch = at_epoch AND h.position >= at_position)
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA larder FROM PUBLIC;

INSERT INTO larder.migrations(version) VALUES (8) ON CONFLICT DO NOTHING;
