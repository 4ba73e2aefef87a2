-- The second half of the script that makes a store: what reads it, and what looks after subscriptions and snapshots.
CREATE FUNCTION holdfast.event_store_script_reading() RETURNS text LANGUAGE sql IMMUTABLE AS $script$ SELECT $store$

-- What a stream is, and its events and links from a number on, in one or the other direction. Where there are none there is
-- one row, with nothing but the state; null: there is no such stream.
CREATE FUNCTION store_schema.read_forward(p_stream text, p_start bigint, p_count bigint)
RETURNS TABLE (
  state text, number double precision, "position" double precision, stream text, version double precision, id text,
  type text, data text, metadata text, data_type text, metadata_type text, created_epoch double precision,
  link double precision
) LANGUAGE sql STABLE AS $$
  SELECT (SELECT CASE WHEN s.deleted THEN 'deleted' ELSE 'there' END FROM store_schema.stream s WHERE s.name = p_stream),
    e.number, e.position, e.stream, e.version, e.id::text, e.type, e.data, e.metadata, e.data_type, e.metadata_type,
    e.created_epoch, e.link
  FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    (
      SELECT e.version AS number, e.*, NULL::bigint AS link
      FROM store_schema.event e WHERE e.stream = p_stream AND e.version >= p_start ORDER BY e.version LIMIT p_count
    ) UNION ALL (
      SELECT l.version AS number, e.*, l.version AS link
      FROM store_schema.link l JOIN store_schema.event e ON e.position = l.position
      WHERE l.stream = p_stream AND l.version >= p_start ORDER BY l.version LIMIT p_count
    )
    ORDER BY number LIMIT p_count
  ) e ON true
  ORDER BY e.number
$$;

CREATE FUNCTION store_schema.read_backward(p_stream text, p_start bigint, p_count bigint)
RETURNS TABLE (
  state text, number double precision, "position" double precision, stream text, version double precision, id text,
  type text, data text, metadata text, data_type text, metadata_type text, created_epoch double precision,
  link double precision
) LANGUAGE sql STABLE AS $$
  SELECT (SELECT CASE WHEN s.deleted THEN 'deleted' ELSE 'there' END FROM store_schema.stream s WHERE s.name = p_stream),
    e.number, e.position, e.stream, e.version, e.id::text, e.type, e.data, e.metadata, e.data_type, e.metadata_type,
    e.created_epoch, e.link
  FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    (
      SELECT e.version AS number, e.*, NULL::bigint AS link
      FROM store_schema.event e WHERE e.stream = p_stream AND e.version <= p_start ORDER BY e.version DESC LIMIT p_count
    ) UNION ALL (
      SELECT l.version AS number, e.*, l.version AS link
      FROM store_schema.link l JOIN store_schema.event e ON e.position = l.position
      WHERE l.stream = p_stream AND l.version <= p_start ORDER BY l.version DESC LIMIT p_count
    )
    ORDER BY number DESC LIMIT p_count
  ) e ON true
  ORDER BY e.number DESC
$$;

-- All events from a position on.
CREATE FUNCTION store_schema.read_all_forward(p_start bigint, p_count bigint)
RETURNS TABLE (
  number double precision, "position" double precision, stream text, version double precision, id text,
  type text, data text, metadata text, data_type text, metadata_type text, created_epoch double precision,
  link double precision
) LANGUAGE sql STABLE AS $$
  SELECT e.position, e.position, e.stream, e.version, e.id::text, e.type, e.data, e.metadata, e.data_type, e.metadata_type,
    e.created_epoch, NULL::double precision
  FROM store_schema.event e WHERE e.position >= p_start ORDER BY e.position LIMIT p_count
$$;

CREATE FUNCTION store_schema.read_all_backward(p_start bigint, p_count bigint)
RETURNS TABLE (
  number double precision, "position" double precision, stream text, version double precision, id text,
  type text, data text, metadata text, data_type text, metadata_type text, created_epoch double precision,
  link double precision
) LANGUAGE sql STABLE AS $$
  SELECT e.position, e.position, e.stream, e.version, e.id::text, e.type, e.data, e.metadata, e.data_type, e.metadata_type,
    e.created_epoch, NULL::double precision
  FROM store_schema.event e WHERE e.position <= p_start ORDER BY e.position DESC LIMIT p_count
$$;

-- What a subscription to more than one stream is given: of the next p_window events after a position, those that are
-- selected. In every row is the last position there was, and so there is at least one row. Text that jsonb does not take is
-- not compared here: such events are given out, for the process to look at.
CREATE FUNCTION store_schema.scan(
  p_after bigint, p_window bigint, p_limit bigint, p_types text[], p_stream text, p_id uuid, p_version bigint,
  p_data_type text, p_metadata_type text, p_data jsonb, p_metadata jsonb
) RETURNS TABLE (head double precision,
  number double precision, "position" double precision, stream text, version double precision, id text,
  type text, data text, metadata text, data_type text, metadata_type text, created_epoch double precision,
  link double precision
) LANGUAGE sql STABLE AS $$
  SELECT (SELECT c.last FROM store_schema.counter c), e.position, e.position, e.stream, e.version, e.id::text, e.type,
    e.data, e.metadata, e.data_type, e.metadata_type, e.created_epoch, NULL::double precision
  FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    -- The inner limit has the planner walk the index in order, and stop.
    SELECT * FROM (SELECT * FROM store_schema.event e WHERE e.position > p_after ORDER BY e.position LIMIT p_window) e
    WHERE (p_types IS NULL OR e.type = ANY (p_types))
      AND (p_stream IS NULL OR e.stream = p_stream)
      AND (p_id IS NULL OR e.id = p_id)
      AND (p_version IS NULL OR e.version = p_version)
      AND (p_data_type IS NULL OR coalesce(e.data_type, 'application/json') = p_data_type)
      AND (p_metadata_type IS NULL OR coalesce(e.metadata_type, 'application/json') = p_metadata_type)
      AND CASE WHEN p_data IS NULL OR e.opaque THEN true ELSE e.data::jsonb @> p_data END
      AND CASE WHEN p_metadata IS NULL OR e.opaque THEN true ELSE coalesce(e.metadata, '{}')::jsonb @> p_metadata END
    ORDER BY e.position LIMIT p_limit
  ) e ON true
  ORDER BY e.position
$$;

-- The last number of a stream, or the last position of all; and how much was ever appended or linked.
CREATE FUNCTION store_schema.head(p_stream text, OUT head double precision, OUT changes double precision)
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p_stream IS NULL THEN c.last
      ELSE coalesce((SELECT s.version FROM store_schema.stream s WHERE s.name = p_stream), -1) END,
    c.last + c.links
  FROM store_schema.counter c
$$;

CREATE FUNCTION store_schema.streams(p_after text, p_limit bigint)
RETURNS TABLE (name text, version double precision, created_epoch double precision, deleted boolean)
LANGUAGE sql STABLE AS $$
  SELECT s.name, s.version, s.created_epoch, s.deleted FROM store_schema.stream s
  WHERE s.name > p_after ORDER BY s.name LIMIT p_limit
$$;

CREATE FUNCTION store_schema.stream(p_name text)
RETURNS TABLE (name text, version double precision, created_epoch double precision, deleted boolean)
LANGUAGE sql STABLE AS $$
  SELECT s.name, s.version, s.created_epoch, s.deleted FROM store_schema.stream s WHERE s.name = p_name
$$;

-- Where events are, by their ids.
CREATE FUNCTION store_schema.versions_of(p_id uuid[]) RETURNS TABLE (id text, stream text, version double precision)
LANGUAGE sql STABLE AS $$
  SELECT e.id::text, e.stream, e.version FROM unnest(p_id) AS x(id) JOIN store_schema.event e ON e.id = x.id
$$;

CREATE FUNCTION store_schema.status(OUT last double precision, OUT streams double precision, OUT subscriptions double precision)
LANGUAGE sql STABLE AS $$
  SELECT c.last, (SELECT count(*) FROM store_schema.stream), (SELECT count(*) FROM store_schema.subscription)
  FROM store_schema.counter c
$$;

-- ---------------------------------------------------------------------------------------------------- subscriptions

CREATE FUNCTION store_schema.save_subscription(p_name text, p_selector text, p_position bigint) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO store_schema.subscription (name, selector, position) VALUES (p_name, p_selector, p_position)
  ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION store_schema.remove_subscription(p_name text, p_selector text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  gone bigint[];
BEGIN
  WITH removed AS (
    DELETE FROM store_schema.subscription s
    WHERE s.name = p_name AND (p_selector IS NULL OR s.selector = p_selector) RETURNING s.id
  )
  SELECT array_agg(id) INTO gone FROM removed;
  DELETE FROM store_schema.parked WHERE subscription = ANY (gone);
  RETURN gone IS NOT NULL;
END $$;

CREATE FUNCTION store_schema.subscriptions() RETURNS TABLE (
  name text, selector text, "position" double precision, head double precision, parked double precision, active boolean
) LANGUAGE sql STABLE AS $$
  SELECT s.name, s.selector, s.position,
    CASE
      WHEN s.selector::json->>'_tag' = 'byStream' AND s.selector::json->>'eventStreamId' <> '$all'
      THEN coalesce((SELECT t.version FROM store_schema.stream t WHERE t.name = s.selector::json->>'eventStreamId'), -1)
      ELSE (SELECT c.last FROM store_schema.counter c)
    END,
    (SELECT count(*) FROM store_schema.parked p WHERE p.subscription = s.id),
    EXISTS (SELECT FROM holdfast.member m WHERE m.id = s.holder AND NOT m.dead)
  FROM store_schema.subscription s ORDER BY s.name, s.selector
$$;

-- Takes a subscription that no living member has. p_mine: this member may have it already, and nobody there knows.
CREATE FUNCTION store_schema.claim(
  p_name text, p_selector text, p_member bigint, p_mine boolean,
  OUT state text, OUT id double precision, OUT token double precision, OUT "position" double precision
) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE store_schema.subscription s SET holder = p_member, token = s.token + 1
  WHERE s.name = p_name AND md5(s.selector) = md5(p_selector)
    AND (
      s.holder IS NULL OR (p_mine AND s.holder = p_member)
      OR NOT EXISTS (SELECT FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead)
    )
    AND EXISTS (SELECT FROM holdfast.member me WHERE me.id = p_member AND NOT me.dead)
  RETURNING 'claimed', s.id, s.token, s.position INTO state, id, token, "position";
  IF NOT FOUND THEN
    state := CASE WHEN EXISTS (
      SELECT FROM store_schema.subscription s WHERE s.name = p_name AND md5(s.selector) = md5(p_selector)
    ) THEN 'held' ELSE 'gone' END;
  END IF;
END $$;

-- What became of something done under a claim: done, or nothing, since the subscription is lost or gone.
CREATE FUNCTION store_schema.standing(p_id bigint, p_token bigint) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(
    (SELECT CASE WHEN s.token = p_token THEN 'done' ELSE 'lost' END FROM store_schema.subscription s WHERE s.id = p_id),
    'gone'
  )
$$;

-- Moves a checkpoint, under the latest claim and never back.
CREATE FUNCTION store_schema.checkpoint(p_id bigint, p_token bigint, p_position bigint) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE store_schema.subscription s SET position = p_position
  WHERE s.id = p_id AND s.token = p_token AND s.position < p_position;
  RETURN store_schema.standing(p_id, p_token);
END $$;

-- Moves a checkpoint from exactly one place to another, as the last thing of a transaction. Should the process stop here, the
-- transaction does not outlive its lease.
CREATE FUNCTION store_schema.advance(p_id bigint, p_token bigint, p_from bigint, p_to bigint, p_lease_millis integer)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('idle_in_transaction_session_timeout', p_lease_millis::text, true);
  UPDATE store_schema.subscription s SET position = p_to
  WHERE s.id = p_id AND s.token = p_token AND s.position = p_from;
  RETURN CASE WHEN FOUND THEN 'done' ELSE 'lost' END;
END $$;

CREATE FUNCTION store_schema.park(
  p_id bigint, p_token bigint, p_position bigint, p_event uuid, p_attempts integer, p_reason text
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO store_schema.parked (subscription, position, event_id, attempts, reason, parked_epoch)
  SELECT s.id, p_position, p_event, p_attempts, p_reason, store_schema.epoch()
  FROM (SELECT s.id FROM store_schema.subscription s WHERE s.id = p_id AND s.token = p_token FOR SHARE) s
  ON CONFLICT DO NOTHING;
  RETURN store_schema.standing(p_id, p_token);
END $$;

CREATE FUNCTION store_schema.release(p_id bigint, p_token bigint) RETURNS boolean LANGUAGE sql AS $$
  UPDATE store_schema.subscription s SET holder = NULL WHERE s.id = p_id AND s.token = p_token RETURNING true
$$;

-- ---------------------------------------------------------------------------------------------------- snapshots

CREATE FUNCTION store_schema.record_snapshot(p_source text, p_stream text, p_version bigint, p_record text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO store_schema.snapshot AS s (source, stream, version, record, created_epoch)
  VALUES (p_source, p_stream, p_version, p_record, store_schema.epoch())
  ON CONFLICT (source, stream, version) DO UPDATE SET record = excluded.record, created_epoch = excluded.created_epoch
$$;

CREATE FUNCTION store_schema.snapshots(p_source text, p_stream text, p_version bigint, p_limit bigint)
RETURNS TABLE (source text, stream text, version double precision, record text, created_epoch double precision)
LANGUAGE sql STABLE AS $$
  SELECT s.source, s.stream, s.version, s.record, s.created_epoch FROM store_schema.snapshot s
  WHERE (p_source IS NULL OR s.source = p_source) AND (p_stream IS NULL OR s.stream = p_stream)
    AND (p_version IS NULL OR s.version = p_version)
  ORDER BY s.source, s.stream, s.version DESC LIMIT p_limit
$$;

CREATE FUNCTION store_schema.delete_snapshot(p_source text, p_stream text, p_version bigint) RETURNS boolean
LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM store_schema.snapshot s WHERE s.source = p_source AND s.stream = p_stream AND s.version = p_version RETURNING 1
  )
  SELECT EXISTS (SELECT FROM gone)
$$;
$store$ $script$;
