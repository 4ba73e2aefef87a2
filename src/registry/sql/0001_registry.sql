-- The registry: which member holds which profile, under which fencing token.

-- Fencing tokens, of all profiles. It is drawn from only while the row of the profile is locked, so that for each profile they
-- grow in the order in which it was granted, whatever becomes of the row in between.
CREATE SEQUENCE holdfast.fencing_token AS bigint;

CREATE TABLE holdfast.registration (
  registry text NOT NULL,
  profile text NOT NULL,
  -- Who holds it, if that member is alive. Null: nobody, since it was given back.
  member bigint,
  -- The token of the last grant.
  token bigint NOT NULL,
  -- What the holder says of how it is reached, as JSON.
  address text,
  -- The transaction that changed it last. Whoever has seen everything up to a snapshot reads on from that snapshot's xmin: no
  -- transaction is overlooked, in whatever order they end.
  changed xid8 NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (registry, profile)
) WITH (fillfactor = 70, vacuum_truncate = off);
CREATE INDEX registration_by_change ON holdfast.registration (registry, changed);
CREATE INDEX registration_of_member ON holdfast.registration (member) WHERE member IS NOT NULL;
CREATE INDEX registration_given_back ON holdfast.registration (changed_at) WHERE member IS NULL;

-- One group: number p_seq of a lane. It runs once, or, when the lane is not at p_seq - 1 or is closed, not at all, and then
-- `refused` is null. So a member that was declared dead registers nothing.
--
-- First what is given back (b_*), by the token it was granted under; then what is asked for (a_*), each profile once. Nothing
-- waits for a row: one that somebody else has locked is `busy`, and to be asked for again.
CREATE FUNCTION holdfast.commit_registrations(
  p_lane bigint, p_seq bigint,
  b_registry text[], b_profile text[], b_token bigint[],
  a_registry text[], a_profile text[], a_address text[],
  OUT refused integer[],
  -- Of what was given back: the numbers, from 1, of those that are still held under their token.
  OUT back_busy integer[],
  -- Of what was asked for, in its order: what became of it, and who has it under which token now.
  OUT became text[], OUT holder bigint[], OUT token bigint[], OUT address text[]
) LANGUAGE plpgsql AS $$
DECLARE
  own bigint;
  l_registry text[];
  l_profile text[];
  l_address text[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'holdfast commits under READ COMMITTED only' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}'
  WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed
  RETURNING l.member INTO own;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{}';

  IF cardinality(b_token) > 0 THEN
    WITH held AS MATERIALIZED (
      SELECT r.registry, r.profile
      FROM unnest(b_registry, b_profile, b_token) AS b(registry, profile, token)
      JOIN holdfast.registration r ON r.registry = b.registry AND r.profile = b.profile
      WHERE r.token = b.token AND r.member IS NOT NULL
      FOR NO KEY UPDATE OF r SKIP LOCKED
    )
    UPDATE holdfast.registration r
    SET member = NULL, address = NULL, changed = pg_current_xact_id(), changed_at = clock_timestamp()
    FROM held h WHERE r.registry = h.registry AND r.profile = h.profile;

    SELECT array_agg(b.n::integer) INTO back_busy
    FROM unnest(b_registry, b_profile, b_token) WITH ORDINALITY AS b(registry, profile, token, n)
    JOIN holdfast.registration r ON r.registry = b.registry AND r.profile = b.profile
    WHERE r.token = b.token AND r.member IS NOT NULL;
  END IF;

  IF cardinality(a_profile) = 0 THEN
    RETURN;
  END IF;

  -- A row for each, in one order, so that two groups with the same new profiles do not wait for each other.
  INSERT INTO holdfast.registration (registry, profile, token, changed)
  SELECT a.registry, a.profile, 0, pg_current_xact_id()
  FROM unnest(a_registry, a_profile) AS a(registry, profile)
  WHERE NOT EXISTS (
    SELECT FROM holdfast.registration r WHERE r.registry = a.registry AND r.profile = a.profile
  )
  ORDER BY a.registry, a.profile
  ON CONFLICT DO NOTHING;

  -- Locked by one statement and decided by the next: only a snapshot that is taken under the lock knows for certain whether
  -- the member that it names is alive. (This one might see a member in a row and not yet among the members.)
  SELECT array_agg(f.registry), array_agg(f.profile), array_agg(f.address) INTO l_registry, l_profile, l_address FROM (
    SELECT a.registry, a.profile, a.address
    FROM unnest(a_registry, a_profile, a_address) AS a(registry, profile, address)
    JOIN holdfast.registration r ON r.registry = a.registry AND r.profile = a.profile
    WHERE r.member IS NULL OR r.member = own
      OR NOT EXISTS (SELECT FROM holdfast.member m WHERE m.id = r.member AND NOT m.dead)
    FOR NO KEY UPDATE OF r SKIP LOCKED
  ) f;

  UPDATE holdfast.registration r
  SET member = own, address = l.address, token = nextval('holdfast.fencing_token'),
    changed = pg_current_xact_id(), changed_at = clock_timestamp()
  FROM unnest(l_registry, l_profile, l_address) AS l(registry, profile, address)
  WHERE r.registry = l.registry AND r.profile = l.profile
    AND (r.member IS NULL OR r.member = own
      OR NOT EXISTS (SELECT FROM holdfast.member m WHERE m.id = r.member AND NOT m.dead));

  SELECT
    array_agg(
      CASE
        WHEN r.member = own AND r.changed = pg_current_xact_id() THEN 'granted'
        WHEN EXISTS (SELECT FROM holdfast.member m WHERE m.id = r.member AND NOT m.dead AND m.id <> own) THEN 'held'
        ELSE 'busy'
      END ORDER BY a.n),
    array_agg(r.member ORDER BY a.n), array_agg(r.token ORDER BY a.n), array_agg(r.address ORDER BY a.n)
  INTO became, holder, token, address
  FROM unnest(a_registry, a_profile) WITH ORDINALITY AS a(registry, profile, n)
  LEFT JOIN holdfast.registration r ON r.registry = a.registry AND r.profile = a.profile;
END $$;

-- For the transactions of applications: whether a profile is held under this token, and nobody is granted it before the
-- transaction ends.
CREATE FUNCTION holdfast.holds(p_registry text, p_profile text, p_token bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM holdfast.registration r
  WHERE r.registry = p_registry AND r.profile = p_profile AND r.token = p_token AND r.member IS NOT NULL
  FOR SHARE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  -- A process that is stopped from here on must not keep others from it for ever.
  PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
  RETURN true;
END $$;
