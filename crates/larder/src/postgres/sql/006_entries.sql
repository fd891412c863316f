-- Entries of the store, if it is used. Unlogged: they cost no WAL, and are gone after a crash or a failover, as a cache may be.
-- A name is a hash of the key, which stands in the bytes.

CREATE UNLOGGED TABLE IF NOT EXISTS larder.entries (
    name bytea PRIMARY KEY,
    bytes bytea NOT NULL,
    -- In milliseconds since 1970: may be dropped after that.
    expires_ms bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- They are compressed already, if that was worth it.
ALTER TABLE larder.entries ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE INDEX IF NOT EXISTS entries_by_expiry ON larder.entries (expires_ms);

INSERT INTO larder.migrations(version) VALUES (6) ON CONFLICT DO NOTHING;
