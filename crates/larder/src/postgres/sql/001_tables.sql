-- The tables. Namespaces and causes are bytes: names that Larder allows, and Postgres' text does not, are kept as they are.

CREATE SCHEMA IF NOT EXISTS larder;
REVOKE ALL ON SCHEMA larder FROM PUBLIC;

-- Which files have been applied.
CREATE TABLE IF NOT EXISTS larder.migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- What transactions have committed and nobody has put into order yet. A row's id orders it among those that become visible
-- together, and says nothing else: a lower id may become visible later.
CREATE TABLE IF NOT EXISTS larder.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    namespace bytea NOT NULL,
    -- 0: an invalidation. 2: the end of a guarded write.
    kind smallint NOT NULL CHECK (kind IN (0, 2)),
    intent bigint NOT NULL,
    targets bytea NOT NULL CHECK (octet_length(targets) BETWEEN 1 AND 16777216),
    cause bytea NOT NULL,
    PRIMARY KEY (namespace, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Where each namespace's history ends and begins. Written only under the namespace's lock.
CREATE TABLE IF NOT EXISTS larder.heads (
    namespace bytea PRIMARY KEY,
    epoch bytea NOT NULL CHECK (octet_length(epoch) = 16),
    position bigint NOT NULL,
    nonce bigint NOT NULL,
    oldest_position bigint NOT NULL,
    oldest_nonce bigint NOT NULL,
    -- Bytes of records appended so far, and how many of them up to the oldest place.
    total bigint NOT NULL,
    oldest_total bigint NOT NULL,
    -- The life of the database that this epoch belongs to.
    life text NOT NULL
) WITH (fillfactor = 50);

-- The records: positions are dense.
CREATE TABLE IF NOT EXISTS larder.journal (
    namespace bytea NOT NULL,
    position bigint NOT NULL,
    nonce bigint NOT NULL,
    kind smallint NOT NULL,
    intent bigint NOT NULL,
    lasts_ms bigint NOT NULL,
    targets bytea NOT NULL,
    cause bytea NOT NULL,
    -- Bytes of records up to this one.
    total bigint NOT NULL,
    -- For people; nothing decides by it.
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, position)
);

-- The intents that are open as of the head.
CREATE TABLE IF NOT EXISTS larder.intents (
    namespace bytea NOT NULL,
    intent bigint NOT NULL,
    lasts_ms bigint NOT NULL,
    targets bytea NOT NULL,
    PRIMARY KEY (namespace, intent)
);

-- Which nodes are there; the row without a node says since when nobody was lost. Unlogged: it costs no WAL, and a crash or a
-- failover empties it, which is noticed by that row.
CREATE UNLOGGED TABLE IF NOT EXISTS larder.presence (
    namespace bytea NOT NULL,
    node bytea NOT NULL,
    epoch bytea NOT NULL,
    position bigint NOT NULL,
    nonce bigint NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (namespace, node)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

INSERT INTO larder.migrations(version) VALUES (1) ON CONFLICT DO NOTHING;
