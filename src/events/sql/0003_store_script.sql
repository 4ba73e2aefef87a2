-- The script that makes a store. In it, store_schema stands for its schema.
CREATE FUNCTION holdfast.event_store_script() RETURNS text LANGUAGE sql IMMUTABLE AS $script$ SELECT $store$

CREATE SCHEMA store_schema;

-- A stream's row is what its writers meet at: whoever holds its lock gives out its next numbers.
CREATE TABLE store_schema.stream (
  name text COLLATE "C" PRIMARY KEY,
  -- The number of its last event or link; -1 while the first is under way.
  version bigint NOT NULL,
  created_epoch bigint NOT NULL,
  deleted boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50, vacuum_truncate = off);

-- The last global position. Its row is locked until the commit, so that the order of positions is that of commits.
CREATE TABLE store_schema.counter (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  last bigint NOT NULL,
  -- How often a link was made: what may be new in a stream without being new in the store.
  links bigint NOT NULL
) WITH (fillfactor = 10, vacuum_truncate = off);
INSERT INTO store_schema.counter (last, links) VALUES (-1, 0);

CREATE TABLE store_schema.event (
  position bigint PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  id uuid NOT NULL UNIQUE,
  type text NOT NULL,
  -- JSON. Null metadata: none; null types: application/json.
  data text NOT NULL,
  metadata text,
  data_type text,
  metadata_type text,
  -- Whether data or metadata have something that jsonb does not take.
  opaque boolean NOT NULL,
  created_epoch bigint NOT NULL,
  UNIQUE (stream, version)
) WITH (
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000
);
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE OR TRUNCATE ON store_schema.event
  FOR EACH STATEMENT EXECUTE FUNCTION holdfast.keep_history();
ALTER TABLE store_schema.event ENABLE ALWAYS TRIGGER keep_history;

CREATE TABLE store_schema.link (
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (stream, version),
  UNIQUE (stream, position)
);
CREATE INDEX link_of_event ON store_schema.link (position);
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE OR TRUNCATE ON store_schema.link
  FOR EACH STATEMENT EXECUTE FUNCTION holdfast.keep_history();
ALTER TABLE store_schema.link ENABLE ALWAYS TRIGGER keep_history;

-- What transactions that are open have appended. It is given its positions when they commit, all at once.
CREATE TABLE store_schema.staged (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ord bigint GENERATED ALWAYS AS IDENTITY,
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  id uuid NOT NULL,
  type text NOT NULL,
  data text NOT NULL,
  metadata text,
  data_type text,
  metadata_type text,
  opaque boolean NOT NULL,
  PRIMARY KEY (xid, ord),
  UNIQUE (xid, id)
) WITH (vacuum_truncate = off);

-- One row for each such transaction, and one trigger when it commits, however much it has appended.
CREATE TABLE store_schema.staging (
  xid xid8 PRIMARY KEY DEFAULT pg_current_xact_id()
) WITH (vacuum_truncate = off);

CREATE TABLE store_schema.snapshot (
  source text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  record text NOT NULL,
  created_epoch bigint NOT NULL,
  PRIMARY KEY (source, stream, version)
);

CREATE TABLE store_schema.subscription (
  id bigint PRIMARY KEY DEFAULT nextval('holdfast.identity'),
  name text COLLATE "C" NOT NULL,
  -- As JSON, its keys in order.
  selector text COLLATE "C" NOT NULL,
  -- The last number of the stream, or global position, up to which everything is done.
  position bigint NOT NULL,
  -- The member that has it, if that member is alive, and what fences it: it goes up with each claim.
  holder bigint,
  token bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20, vacuum_truncate = off);
CREATE UNIQUE INDEX subscription_by_name ON store_schema.subscription (name, md5(selector));

-- Events that a subscriber has set aside.
CREATE TABLE store_schema.parked (
  subscription bigint NOT NULL,
  position bigint NOT NULL,
  event_id uuid NOT NULL,
  attempts integer NOT NULL,
  reason text NOT NULL,
  parked_epoch bigint NOT NULL,
  PRIMARY KEY (subscription, position)
);

-- Microseconds since 1970.
CREATE FUNCTION store_schema.epoch() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- ---------------------------------------------------------------------------------------------------- appending

-- Locks streams in the order of their names, and waits for none; where p_wait is above 0, for so many milliseconds, in line with
-- all others who want them. What each is: its version (-1: it is not there), and
-- as its state null, 'deleted', or 'busy' where somebody else has it. Those that may be made are made, at version -1: whoever
-- makes a stream holds a lock on its name from before to after, so that nobody waits in the unique index either.
CREATE FUNCTION store_schema.lock_streams(
  s_name text[], s_create boolean[], p_wait integer, OUT s_version bigint[], OUT s_state text[], OUT made boolean
) LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  made := false;
  IF p_wait > 0 THEN
    PERFORM set_config('lock_timeout', p_wait::text, true);
    BEGIN
      PERFORM FROM store_schema.stream s WHERE s.name = ANY (s_name) ORDER BY s.name FOR NO KEY UPDATE;
      IF NOT FOUND THEN
        PERFORM pg_advisory_xact_lock(hashtext('store_schema'), hashtext(x.name))
        FROM (SELECT x.name FROM unnest(s_name) AS x(name) ORDER BY x.name COLLATE "C") x;
      END IF;
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END IF;
  s_version := array_fill(-1::bigint, ARRAY[cardinality(s_name)]);
  s_state := array_fill('missing'::text, ARRAY[cardinality(s_name)]);
  FOR r IN
    SELECT x.i, s.version, s.deleted
    FROM unnest(s_name) WITH ORDINALITY AS x(name, i) JOIN store_schema.stream s ON s.name = x.name
    ORDER BY s.name FOR NO KEY UPDATE OF s SKIP LOCKED
  LOOP
    s_version[r.i] := r.version;
    s_state[r.i] := CASE WHEN r.deleted THEN 'deleted' END;
  END LOOP;
  IF 'missing' = ANY (s_state) THEN
    INSERT INTO store_schema.stream (name, version, created_epoch)
    SELECT x.name, -1, store_schema.epoch()
    FROM (
      SELECT x.name FROM unnest(s_name, s_create) WITH ORDINALITY AS x(name, creates, i)
      WHERE x.creates AND s_state[x.i] = 'missing' AND NOT EXISTS (SELECT FROM store_schema.stream s WHERE s.name = x.name)
      ORDER BY x.name COLLATE "C"
    ) x
    WHERE pg_try_advisory_xact_lock(hashtext('store_schema'), hashtext(x.name))
    ON CONFLICT DO NOTHING;
    made := FOUND;
    FOR r IN
      SELECT x.i, s.version, s.deleted
      FROM unnest(s_name) WITH ORDINALITY AS x(name, i) JOIN store_schema.stream s ON s.name = x.name
      WHERE s_state[x.i] = 'missing'
      ORDER BY s.name FOR NO KEY UPDATE OF s SKIP LOCKED
    LOOP
      s_version[r.i] := r.version;
      s_state[r.i] := CASE WHEN r.deleted THEN 'deleted' END;
    END LOOP;
    FOR i IN 1 .. cardinality(s_name) LOOP
      IF s_state[i] = 'missing' THEN
        s_state[i] := CASE
          WHEN s_create[i] OR EXISTS (SELECT FROM store_schema.stream s WHERE s.name = s_name[i]) THEN 'busy'
        END;
      END IF;
    END LOOP;
  END IF;
END $$;

-- Which members are refused because of their streams, one text for each: null where a member passes. An expectation is a
-- version (-1: no stream), -2 for any, -3 for a stream that is there.
CREATE FUNCTION store_schema.refusals(m_stream integer[], m_expected bigint[], s_version bigint[], s_state text[])
RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(
    CASE
      WHEN s_state[m.stream] IS NOT NULL THEN s_state[m.stream]
      WHEN m.expected >= -1 AND m.expected <> s_version[m.stream] THEN 'version'
      WHEN m.expected = -3 AND s_version[m.stream] = -1 THEN 'version'
    END ORDER BY m.m
  )
  FROM unnest(m_stream, m_expected) WITH ORDINALITY AS m(stream, expected, m)
$$;

-- Writes events whose streams are locked, from the versions that they were locked at. The counter comes last of all locks.
CREATE FUNCTION store_schema.write_events(
  s_name text[], s_version bigint[], e_stream integer[], e_id uuid[], e_type text[], e_data text[], e_metadata text[],
  e_data_type text[], e_metadata_type text[], e_opaque boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  before bigint;
  now bigint := store_schema.epoch();
BEGIN
  UPDATE store_schema.stream s SET version = s_version[g.stream] + g.n
  FROM (SELECT e.stream, count(*) AS n FROM unnest(e_stream) AS e(stream) GROUP BY e.stream) g
  WHERE s.name = s_name[g.stream];
  UPDATE store_schema.counter SET last = last + cardinality(e_id) RETURNING last - cardinality(e_id) INTO before;
  INSERT INTO store_schema.event (
    position, stream, version, id, type, data, metadata, data_type, metadata_type, opaque, created_epoch
  )
  SELECT before + e.o, s_name[e.stream], s_version[e.stream] + row_number() OVER (PARTITION BY e.stream ORDER BY e.o),
    e.id, e.type, e.data, e.metadata, e.data_type, e.metadata_type, coalesce(e.opaque, false), now
  FROM unnest(e_stream, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque) WITH ORDINALITY
    AS e(stream, id, type, data, metadata, data_type, metadata_type, opaque, o);
END $$;

-- One group of appends: a lane's number p_seq. It runs once, or, when the lane is not at p_seq - 1 or is closed, not at all,
-- and then `refused` is null. A member is appended whole, or refused and nothing of it is. At most one member of a stream has
-- an expectation other than any, and it comes first.
--
-- Locks are taken in one order: the lane, then streams by name, then the counter.
CREATE FUNCTION store_schema.append_group(
  p_lane bigint, p_seq bigint, s_name text[], s_create boolean[],
  -- Members: their stream, as an index, and what they expect of it.
  m_stream integer[], m_expected bigint[],
  -- Events: their member and its stream. Columns that hold nothing are null. p_known: whether ids may be known already.
  e_m integer[], e_stream integer[], e_id uuid[], e_type text[], e_data text[], e_metadata text[], e_data_type text[],
  e_metadata_type text[], e_opaque boolean[], p_known boolean, p_wait integer,
  OUT refused integer[], OUT why text[], OUT s_version bigint[],
  -- Events that were known: their members, and where they are.
  OUT k_m integer[], OUT k_id text[], OUT k_stream text[], OUT k_version bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  s_state text[];
  made boolean;
  m_why text[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'holdfast commits under READ COMMITTED only' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE holdfast.lane SET seq = p_seq WHERE id = p_lane AND seq = p_seq - 1 AND NOT closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  SELECT l.s_version, l.s_state, l.made INTO append_group.s_version, s_state, made
  FROM store_schema.lock_streams(s_name, s_create, p_wait) l;
  m_why := store_schema.refusals(m_stream, m_expected, s_version, s_state);

  -- Under the counter's lock nobody else makes events, so what is not known then will not be when these are written.
  IF p_known THEN
    PERFORM FROM store_schema.counter FOR NO KEY UPDATE;
    SELECT array_agg(e.m), array_agg(x.id::text), array_agg(x.stream), array_agg(x.version)
    INTO k_m, k_id, k_stream, k_version
    FROM unnest(e_m, e_id) AS e(m, id) JOIN store_schema.event x ON x.id = e.id
    WHERE m_why[e.m] IS NULL;
    FOR i IN 1 .. coalesce(cardinality(k_m), 0) LOOP
      m_why[k_m[i]] := 'known';
    END LOOP;
  END IF;

  IF cardinality(array_remove(m_why, NULL)) = 0 THEN
    PERFORM store_schema.write_events(
      s_name, s_version, e_stream, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque
    );
    refused := '{}';
  ELSE
    PERFORM store_schema.write_events(
      s_name, s_version, array_agg(e.stream ORDER BY e.o), array_agg(e.id ORDER BY e.o), array_agg(e.type ORDER BY e.o),
      array_agg(e.data ORDER BY e.o), array_agg(e.metadata ORDER BY e.o), array_agg(e.data_type ORDER BY e.o),
      array_agg(e.metadata_type ORDER BY e.o), array_agg(e.opaque ORDER BY e.o)
    )
    FROM unnest(e_m, e_stream, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque) WITH ORDINALITY
      AS e(m, stream, id, type, data, metadata, data_type, metadata_type, opaque, o)
    WHERE m_why[e.m] IS NULL
    HAVING count(*) > 0;
    SELECT array_agg(x.m::integer ORDER BY x.m), array_agg(x.why ORDER BY x.m) INTO refused, why
    FROM unnest(m_why) WITH ORDINALITY AS x(why, m) WHERE x.why IS NOT NULL;
    IF made THEN
      DELETE FROM store_schema.stream s WHERE s.name = ANY (s_name) AND s.version = -1;
    END IF;
  END IF;
  UPDATE holdfast.lane l SET refused = append_group.refused WHERE l.id = p_lane AND l.refused <> append_group.refused;
END $$;

-- Groups in which nothing is expected of any stream and no event can be known, which is what most of them are, on streams that are
-- there and free: the same as above, and much less to plan. Where a stream is not, nothing is done but the lane's part, and all
-- members are refused, to be tried again by the above.
CREATE FUNCTION store_schema.append_any(
  p_lane bigint, p_seq bigint, p_members integer, s_name text[], s_count bigint[],
  -- Events: their stream, as an index, and the how many-th of it, counted from 1. Columns that hold nothing are null.
  e_stream integer[], e_nth bigint[], e_id uuid[], e_type text[], e_data text[], e_metadata text[], e_data_type text[],
  e_metadata_type text[], e_opaque boolean[],
  OUT refused integer[], OUT s_version bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  -- Where the rows of the streams are. They are locked, and so stay there: they need not be looked for again.
  s_row tid[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'holdfast commits under READ COMMITTED only' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}' WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{}';
  SELECT array_agg(h.version ORDER BY h.i), array_agg(h.ctid ORDER BY h.i) INTO s_version, s_row
  FROM (
    SELECT x.i, s.version, s.ctid
    FROM unnest(s_name) WITH ORDINALITY AS x(name, i) JOIN store_schema.stream s ON s.name = x.name
    WHERE NOT s.deleted ORDER BY s.name FOR NO KEY UPDATE OF s SKIP LOCKED
  ) h;
  IF cardinality(s_version) IS DISTINCT FROM cardinality(s_name) THEN
    refused := ARRAY(SELECT generate_series(1, p_members));
    UPDATE holdfast.lane l SET refused = append_any.refused WHERE l.id = p_lane;
    RETURN;
  END IF;
  UPDATE store_schema.stream s SET version = s.version + x.n FROM unnest(s_row, s_count) AS x(at, n) WHERE s.ctid = x.at;
  WITH taken AS (
    UPDATE store_schema.counter SET last = last + cardinality(e_id) RETURNING last - cardinality(e_id) AS before
  )
  INSERT INTO store_schema.event (
    position, stream, version, id, type, data, metadata, data_type, metadata_type, opaque, created_epoch
  )
  SELECT t.before + e.o, s_name[e.stream], s_version[e.stream] + e.nth, e.id, e.type, e.data, e.metadata, e.data_type,
    e.metadata_type, coalesce(e.opaque, false), c.now
  FROM taken t, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now OFFSET 0) c,
    unnest(e_stream, e_nth, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque) WITH ORDINALITY
      AS e(stream, nth, id, type, data, metadata, data_type, metadata_type, opaque, o);
END $$;

-- Appends inside a transaction of the caller's. The stream is locked until that ends, and its versions are given now;
-- positions are given when it commits. `why`: null, or why nothing was appended.
CREATE FUNCTION store_schema.stage_events(
  p_stream text, p_expected bigint, e_id uuid[], e_type text[], e_data text[], e_metadata text[], e_data_type text[],
  e_metadata_type text[], e_opaque boolean[],
  OUT why text, OUT version bigint, OUT known_id text, OUT known_stream text, OUT known_version bigint
) LANGUAGE plpgsql AS $$
DECLARE
  is_deleted boolean;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    why := 'isolation ' || current_setting('transaction_isolation');
    RETURN;
  END IF;
  SELECT s.version, s.deleted INTO version, is_deleted FROM store_schema.stream s WHERE s.name = p_stream FOR NO KEY UPDATE;
  IF NOT FOUND AND p_expected IN (-1, -2) THEN
    PERFORM pg_advisory_xact_lock(hashtext('store_schema'), hashtext(p_stream));
    INSERT INTO store_schema.stream (name, version, created_epoch) VALUES (p_stream, -1, store_schema.epoch())
    ON CONFLICT DO NOTHING;
    SELECT s.version, s.deleted INTO version, is_deleted FROM store_schema.stream s WHERE s.name = p_stream FOR NO KEY UPDATE;
  END IF;
  version := coalesce(version, -1);
  IF is_deleted THEN
    why := 'deleted';
    RETURN;
  END IF;
  IF (p_expected >= -1 AND p_expected <> version) OR (p_expected = -3 AND version = -1) THEN
    why := 'version';
    RETURN;
  END IF;
  SELECT x.id::text, x.stream, x.version INTO known_id, known_stream, known_version FROM (
    SELECT x.id, x.stream, x.version FROM unnest(e_id) AS e(id) JOIN store_schema.event x ON x.id = e.id
    UNION ALL
    SELECT x.id, x.stream, x.version FROM unnest(e_id) AS e(id)
    JOIN store_schema.staged x ON x.xid = pg_current_xact_id() AND x.id = e.id
  ) x LIMIT 1;
  IF FOUND THEN
    why := 'known';
    DELETE FROM store_schema.stream s WHERE s.name = p_stream AND s.version = -1;
    RETURN;
  END IF;
  INSERT INTO store_schema.staged (stream, version, id, type, data, metadata, data_type, metadata_type, opaque)
  SELECT p_stream, stage_events.version + e.o, e.id, e.type, e.data, e.metadata, e.data_type, e.metadata_type,
    coalesce(e.opaque, false)
  FROM unnest(e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque) WITH ORDINALITY
    AS e(id, type, data, metadata, data_type, metadata_type, opaque, o)
  ORDER BY e.o;
  version := version + cardinality(e_id);
  UPDATE store_schema.stream s SET version = stage_events.version WHERE s.name = p_stream;
  INSERT INTO store_schema.staging DEFAULT VALUES ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION store_schema.write_staged() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  n bigint;
  before bigint;
BEGIN
  SELECT count(*) INTO n FROM store_schema.staged s WHERE s.xid = NEW.xid;
  UPDATE store_schema.counter SET last = last + n RETURNING last - n INTO before;
  INSERT INTO store_schema.event (
    position, stream, version, id, type, data, metadata, data_type, metadata_type, opaque, created_epoch
  )
  SELECT before + row_number() OVER (ORDER BY s.ord), s.stream, s.version, s.id, s.type, s.data, s.metadata, s.data_type,
    s.metadata_type, s.opaque, store_schema.epoch()
  FROM store_schema.staged s WHERE s.xid = NEW.xid ORDER BY s.ord;
  DELETE FROM store_schema.staged s WHERE s.xid = NEW.xid;
  DELETE FROM store_schema.staging s WHERE s.xid = NEW.xid;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER write_staged AFTER INSERT ON store_schema.staging
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION store_schema.write_staged();

-- ---------------------------------------------------------------------------------------------------- outcomes

-- What steps of durable servers append is committed with them, by the statement that commits them: see `commit_group`. Here are the
-- two things that it does in each store, with everything that is appended in any: first it has streams locked and looked at, then
-- it has events appended. At most the first append to a stream expects anything of it.

-- What cannot be appended, and why, as a list of objects; null where all can be.
CREATE FUNCTION store_schema.look_at_outcomes(
  a_schema text[], a_stream text[], a_expected bigint[], g_a integer[], g_id uuid[], p_wait integer
) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  own integer[];
  own_expected bigint[];
  own_stream integer[];
  s_name text[];
  s_create boolean[];
  s_version bigint[];
  s_state text[];
  why text[];
  usual text := current_setting('lock_timeout');
BEGIN
  SELECT array_agg(x.a ORDER BY x.a), array_agg(x.expected ORDER BY x.a), array_agg(x.s ORDER BY x.a)
  INTO own, own_expected, own_stream
  FROM (
    SELECT x.a::integer, x.expected, dense_rank() OVER (ORDER BY x.stream COLLATE "C")::integer AS s
    FROM unnest(a_schema, a_stream, a_expected) WITH ORDINALITY AS x(schema, stream, expected, a)
    WHERE x.schema = 'store_schema'
  ) x;
  SELECT array_agg(x.stream ORDER BY x.stream COLLATE "C"), array_agg(x.creates ORDER BY x.stream COLLATE "C")
  INTO s_name, s_create
  FROM (
    SELECT x.stream, bool_or(x.expected IN (-1, -2)) AS creates
    FROM unnest(a_schema, a_stream, a_expected) AS x(schema, stream, expected)
    WHERE x.schema = 'store_schema' GROUP BY x.stream
  ) x;
  SELECT l.s_version, l.s_state INTO s_version, s_state FROM store_schema.lock_streams(s_name, s_create, p_wait) l;
  IF p_wait > 0 THEN
    PERFORM set_config('lock_timeout', usual, true);
  END IF;
  why := store_schema.refusals(own_stream, own_expected, s_version, s_state);
  RETURN (
    SELECT json_agg(x.one) FROM (
      SELECT json_build_object('a', own[x.n], 'why', x.why, 'version', s_version[own_stream[x.n]]) AS one
      FROM unnest(why) WITH ORDINALITY AS x(why, n) WHERE x.why IS NOT NULL
      UNION ALL
      SELECT json_build_object('a', g.a, 'why', 'known', 'version', e.version, 'stream', e.stream, 'id', e.id)
      FROM unnest(g_a, g_id) AS g(a, id) JOIN store_schema.event e ON e.id = g.id
      WHERE a_schema[g.a] = 'store_schema'
    ) x
  );
END $$;

-- Appends what is good, to streams that are locked. In a transaction that has staged events already, it comes behind them.
CREATE FUNCTION store_schema.append_outcomes(a_schema text[], a_stream text[], a_events text[], a_good boolean[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  s_name text[];
  s_version bigint[];
BEGIN
  SELECT array_agg(s.name ORDER BY s.name), array_agg(s.version ORDER BY s.name) INTO s_name, s_version
  FROM (
    SELECT DISTINCT x.stream FROM unnest(a_schema, a_stream, a_good) AS x(schema, stream, good)
    WHERE x.schema = 'store_schema' AND x.good
  ) x JOIN store_schema.stream s ON s.name = x.stream;
  IF s_name IS NOT NULL THEN
    PERFORM store_schema.write_or_stage_events(
      s_name, s_version, array_agg(x.s ORDER BY x.a, x.o), array_agg(x.id ORDER BY x.a, x.o),
      array_agg(x.type ORDER BY x.a, x.o), array_agg(x.data ORDER BY x.a, x.o), array_agg(x.metadata ORDER BY x.a, x.o),
      array_agg(x.data_type ORDER BY x.a, x.o), array_agg(x.metadata_type ORDER BY x.a, x.o),
      array_agg(x.opaque ORDER BY x.a, x.o)
    )
    FROM (
      SELECT x.a, e.*, dense_rank() OVER (ORDER BY x.stream COLLATE "C")::integer AS s
      FROM unnest(a_schema, a_stream, a_events, a_good) WITH ORDINALITY AS x(schema, stream, events, good, a)
      CROSS JOIN LATERAL ROWS FROM (
        json_to_recordset(x.events::json) AS (
          id uuid, type text, data text, metadata text, data_type text, metadata_type text, opaque boolean
        )
      ) WITH ORDINALITY AS e(id, type, data, metadata, data_type, metadata_type, opaque, o)
      WHERE x.schema = 'store_schema' AND x.good
    ) x;
  END IF;
  -- Streams that were made for steps that did not come to be.
  IF false = ANY (a_good) THEN
    DELETE FROM store_schema.stream s WHERE s.version = -1 AND s.name = ANY (
      SELECT x.stream FROM unnest(a_schema, a_stream, a_good) AS x(schema, stream, good)
      WHERE x.schema = 'store_schema' AND NOT x.good
    );
  END IF;
END $$;

-- Positions are given in the order of versions: where a transaction has staged events, what it appends now is staged as well.
CREATE FUNCTION store_schema.write_or_stage_events(
  s_name text[], s_version bigint[], e_stream integer[], e_id uuid[], e_type text[], e_data text[], e_metadata text[],
  e_data_type text[], e_metadata_type text[], e_opaque boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM store_schema.staging s WHERE s.xid = pg_current_xact_id()) THEN
    PERFORM store_schema.write_events(
      s_name, s_version, e_stream, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque
    );
    RETURN;
  END IF;
  INSERT INTO store_schema.staged (stream, version, id, type, data, metadata, data_type, metadata_type, opaque)
  SELECT s_name[e.stream], s_version[e.stream] + row_number() OVER (PARTITION BY e.stream ORDER BY e.o),
    e.id, e.type, e.data, e.metadata, e.data_type, e.metadata_type, coalesce(e.opaque, false)
  FROM unnest(e_stream, e_id, e_type, e_data, e_metadata, e_data_type, e_metadata_type, e_opaque) WITH ORDINALITY
    AS e(stream, id, type, data, metadata, data_type, metadata_type, opaque, o)
  ORDER BY e.o;
  UPDATE store_schema.stream s SET version = s_version[g.stream] + g.n
  FROM (SELECT e.stream, count(*) AS n FROM unnest(e_stream) AS e(stream) GROUP BY e.stream) g
  WHERE s.name = s_name[g.stream];
END $$;

-- ---------------------------------------------------------------------------------------------------- links, deletions

CREATE FUNCTION store_schema.link_events(
  p_lane bigint, p_seq bigint, p_stream text, p_expected bigint, p_id uuid[],
  OUT refused integer[], OUT why text, OUT version bigint, OUT known_id text, OUT known_version bigint
) LANGUAGE plpgsql AS $$
DECLARE
  made boolean;
BEGIN
  UPDATE holdfast.lane SET seq = p_seq, refused = '{1}' WHERE id = p_lane AND seq = p_seq - 1 AND NOT closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{1}';
  SELECT l.s_version[1], (store_schema.refusals('{1}', ARRAY[p_expected], l.s_version, l.s_state))[1], l.made
  INTO version, why, made
  FROM store_schema.lock_streams(ARRAY[p_stream], ARRAY[p_expected IN (-1, -2)], 0) l;
  IF why IS NULL THEN
    SELECT e.id::text INTO known_id FROM unnest(p_id) AS e(id)
    WHERE NOT EXISTS (SELECT FROM store_schema.event x WHERE x.id = e.id) LIMIT 1;
    IF FOUND THEN
      why := 'unknown';
    END IF;
  END IF;
  IF why IS NULL THEN
    SELECT x.id::text, coalesce(l.version, x.version) INTO known_id, known_version
    FROM store_schema.event x LEFT JOIN store_schema.link l ON l.stream = p_stream AND l.position = x.position
    WHERE x.id = ANY (p_id) AND (x.stream = p_stream OR l.version IS NOT NULL) LIMIT 1;
    IF FOUND THEN
      why := 'known';
    END IF;
  END IF;
  IF why IS NOT NULL THEN
    IF made THEN
      DELETE FROM store_schema.stream s WHERE s.name = p_stream AND s.version = -1;
    END IF;
    RETURN;
  END IF;
  INSERT INTO store_schema.link (stream, version, position)
  SELECT p_stream, link_events.version + e.o, x.position
  FROM unnest(p_id) WITH ORDINALITY AS e(id, o) JOIN store_schema.event x ON x.id = e.id;
  version := version + cardinality(p_id);
  UPDATE store_schema.stream s SET version = link_events.version WHERE s.name = p_stream;
  UPDATE store_schema.counter SET links = links + 1;
  UPDATE holdfast.lane SET refused = '{}' WHERE id = p_lane;
  refused := '{}';
END $$;

-- Acts as the owner: nobody else may delete events, and the owner only here.
CREATE FUNCTION store_schema.delete_history(p_stream text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM set_config('holdfast.hard_delete', 'store_schema', true);
  DELETE FROM store_schema.link l USING store_schema.event e WHERE e.stream = p_stream AND l.position = e.position;
  DELETE FROM store_schema.link l WHERE l.stream = p_stream;
  DELETE FROM store_schema.event e WHERE e.stream = p_stream;
  DELETE FROM store_schema.stream s WHERE s.name = p_stream;
  PERFORM set_config('holdfast.hard_delete', '', true);
END $$;

CREATE FUNCTION store_schema.delete_stream(
  p_lane bigint, p_seq bigint, p_stream text, p_expected bigint, p_hard boolean,
  OUT refused integer[], OUT why text, OUT version bigint
) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE holdfast.lane SET seq = p_seq, refused = '{1}' WHERE id = p_lane AND seq = p_seq - 1 AND NOT closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{1}';
  SELECT l.s_version[1], CASE
      WHEN p_hard AND l.s_state[1] = 'deleted' THEN NULL
      ELSE (store_schema.refusals('{1}', ARRAY[p_expected], l.s_version, l.s_state))[1]
    END
  INTO version, why
  FROM store_schema.lock_streams(ARRAY[p_stream], '{f}', 0) l;
  why := CASE WHEN why IS NULL AND version = -1 THEN 'missing' ELSE why END;
  IF why IS NOT NULL THEN
    RETURN;
  END IF;
  IF p_hard THEN
    PERFORM store_schema.delete_history(p_stream);
  ELSE
    UPDATE store_schema.stream s SET deleted = true WHERE s.name = p_stream;
  END IF;
  UPDATE holdfast.lane SET refused = '{}' WHERE id = p_lane;
  refused := '{}';
END $$;
$store$ || holdfast.event_store_script_reading() $script$;
