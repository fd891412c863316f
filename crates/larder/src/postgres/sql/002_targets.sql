-- Targets as bytes, as `Target::encode` of larder-core writes them: every run of bytes with its length before it.
--
-- A list of segments is a JSON array: of texts, whole numbers of up to 128 bits, truth values, and null for the segment that
-- is absent. JSON has no bytes, and Postgres' JSON no NUL. None of these functions has more rights than who calls it, and each is
-- called so often that a search_path of its own would be most of its price.

-- A length, in LEB128.
CREATE OR REPLACE FUNCTION larder.varint(n integer) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN n < 128 THEN set_byte('\x00'::bytea, 0, n)
        WHEN n < 16384 THEN set_byte(set_byte('\x0000'::bytea, 0, n & 127 | 128), 1, n >> 7)
        WHEN n < 2097152 THEN
            set_byte(set_byte(set_byte('\x000000'::bytea, 0, n & 127 | 128), 1, n >> 7 & 127 | 128), 2, n >> 14)
        ELSE
            set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea,
                0, n & 127 | 128), 1, n >> 7 & 127 | 128), 2, n >> 14 & 127 | 128), 3, n >> 21 & 127)
    END
$$;

CREATE OR REPLACE FUNCTION larder.run(bytes bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    IF octet_length(bytes) < 128 THEN
        RETURN set_byte('\x00'::bytea, 0, octet_length(bytes)) || bytes;
    END IF;
    RETURN larder.varint(octet_length(bytes)) || bytes;
END
$$;

CREATE OR REPLACE FUNCTION larder.text_segment(words text) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN '\x01'::bytea || larder.run(convert_to(words, 'UTF8'));
END
$$;

-- A whole number: its kind and how many bytes follow, then those, the most significant first.
CREATE OR REPLACE FUNCTION larder.number_segment(number numeric) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    kind integer := CASE WHEN number < 0 THEN 48 ELSE 16 END;
    rest numeric := CASE WHEN number < 0 THEN -1 - number ELSE number END;
    digits text := '';
    bytes bytea;
BEGIN
    IF number BETWEEN 1 AND 255 AND number = trunc(number) THEN
        RETURN set_byte('\x1100'::bytea, 1, number::integer);
    END IF;
    IF rest <> trunc(rest) OR rest >= 340282366920938463463374607431768211456 THEN
        RAISE EXCEPTION 'larder: a segment is a number that is not whole, or has more than 128 bits' USING ERRCODE = '22023';
    END IF;
    WHILE rest > 0 LOOP
        digits := lpad(to_hex((rest % 72057594037927936)::bigint), 14, '0') || digits;
        rest := div(rest, 72057594037927936);
    END LOOP;
    bytes := ltrim(decode(digits, 'hex'), '\x00'::bytea);
    RETURN set_byte('\x00'::bytea, 0, kind + octet_length(bytes)) || bytes;
END
$$;

CREATE OR REPLACE FUNCTION larder.segment(value jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE jsonb_typeof(value)
        WHEN 'string' THEN larder.text_segment(value #>> '{}')
        WHEN 'number' THEN larder.number_segment((value #>> '{}')::numeric)
        WHEN 'boolean' THEN CASE WHEN value::boolean THEN '\x04'::bytea ELSE '\x03'::bytea END
        WHEN 'null' THEN '\x00'::bytea
    END;
END
$$;

-- One target of a kind: below a tenant, and a region unless it is null, these segments.
CREATE OR REPLACE FUNCTION larder.target(kind integer, tenant text, region text, segments jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    path bytea := coalesce(larder.text_segment(tenant), '\x00'::bytea) || coalesce(larder.text_segment(region), ''::bytea);
    segment bytea;
BEGIN
    IF jsonb_typeof(segments) IS DISTINCT FROM 'array' THEN
        segments := jsonb_build_array(segments);
    END IF;
    FOR i IN 0..jsonb_array_length(segments) - 1 LOOP
        segment := larder.segment(segments -> i);
        IF segment IS NULL THEN
            RAISE EXCEPTION 'larder: a segment is an object or an array; expected a text, a number, true, false or null'
                USING ERRCODE = '22023';
        END IF;
        path := path || segment;
    END LOOP;
    RETURN set_byte('\x00'::bytea, 0, kind) || larder.run(path);
END
$$;

-- A key or a prefix: an array that begins with the region; or a region's name alone, for all its keys.
CREATE OR REPLACE FUNCTION larder.region_target(kind integer, tenant text, named jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF jsonb_typeof(named) = 'string' THEN
        named := jsonb_build_array(named);
    END IF;
    IF jsonb_typeof(named) IS DISTINCT FROM 'array' OR jsonb_typeof(named -> 0) IS DISTINCT FROM 'string' THEN
        RAISE EXCEPTION 'larder: a key or prefix does not begin with its region; expected ["region", segment, ...]'
            USING ERRCODE = '22023';
    END IF;
    RETURN larder.target(kind, tenant, named ->> 0, named - 0);
END
$$;

INSERT INTO larder.migrations(version) VALUES (2) ON CONFLICT DO NOTHING;
