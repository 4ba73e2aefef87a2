-- Messages for later, until they are due. Each is a row of its own, with the id that it will have in line.
--
-- A row is written by the commit that schedules it, and is gone by the commit that puts it in line or cancels it, whichever
-- of the two finds it. All of a server's are found by the beginning of the primary key: there they are when it is killed.
CREATE TABLE holdfast.scheduled (
  server_id bigint NOT NULL,
  member bigint NOT NULL,
  call bigint NOT NULL,
  -- By the clock of the database, as everything here.
  due_at timestamptz NOT NULL,
  rpc text NOT NULL,
  payload text NOT NULL,
  key text,
  PRIMARY KEY (server_id, member, call)
) WITH (
  vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000
);
CREATE INDEX scheduled_by_due ON holdfast.scheduled (due_at, member, call);
-- A key that waits here is taken: whoever schedules it again means the same message.
CREATE UNIQUE INDEX scheduled_key ON holdfast.scheduled (server_id, key) WHERE key IS NOT NULL;

-- Puts what is due in line, in the order of due times, p_most messages at most. Whoever lives may do it, as often as he likes;
-- while somebody is at it the others leave it to him, since two at once would mix up the order.
--
-- Locks are taken in the one order: messages for later (those that are just being cancelled are passed over), keys, inboxes.
CREATE FUNCTION holdfast.deliver_due(
  p_most integer,
  -- How many were due and are not scheduled any more; null where somebody else is at it.
  OUT moved integer,
  -- How many milliseconds until there is more: 0 or less where there is more by now, null where nothing is scheduled.
  OUT next_in double precision,
  -- The servers whose lines grew, and which living member holds them.
  OUT line_id bigint[], OUT line_holder bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  now_at timestamptz := clock_timestamp();
  d_server bigint[];
  d_member bigint[];
  d_call bigint[];
  d_rpc text[];
  d_payload text[];
  d_key text[];
  fresh_server bigint[];
  fresh_key text[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'holdfast commits under READ COMMITTED only' USING ERRCODE = '25001';
  END IF;
  moved := 0;
  IF NOT EXISTS (SELECT FROM holdfast.scheduled WHERE due_at <= now_at) THEN
    -- As it is most of the time: there is nobody to be kept away.
  ELSIF NOT pg_try_advisory_xact_lock(7233463514926940) THEN
    moved := NULL;
  ELSE
    WITH due AS MATERIALIZED (
      SELECT * FROM holdfast.scheduled WHERE due_at <= now_at
      ORDER BY due_at, member, call LIMIT p_most
      FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM holdfast.scheduled s USING due d
      WHERE s.server_id = d.server_id AND s.member = d.member AND s.call = d.call
    )
    SELECT count(*), array_agg(server_id ORDER BY due_at, member, call), array_agg(member ORDER BY due_at, member, call),
      array_agg(call ORDER BY due_at, member, call), array_agg(rpc ORDER BY due_at, member, call),
      array_agg(payload ORDER BY due_at, member, call), array_agg(key ORDER BY due_at, member, call)
    INTO moved, d_server, d_member, d_call, d_rpc, d_payload, d_key
    FROM due;

    IF moved > 0 THEN
      -- One whose key is known by now was sent in another way meanwhile, and is left out.
      IF cardinality(array_remove(d_key, NULL)) > 0 THEN
        WITH kept AS (
          INSERT INTO holdfast.outcome (server_id, key)
          SELECT d.server, d.key FROM unnest(d_server, d_key) AS d(server, key) WHERE d.key IS NOT NULL
          ORDER BY d.server, d.key
          ON CONFLICT DO NOTHING
          RETURNING server_id, key
        )
        SELECT array_agg(server_id), array_agg(key) INTO fresh_server, fresh_key FROM kept;
      END IF;
      PERFORM holdfast.put_in_line(
        d_server, array_fill('cast'::text, ARRAY[moved]), d_rpc, d_payload, d_key, array_fill(false, ARRAY[moved]), d_member,
        d_call, coalesce(fresh_server, '{}'), coalesce(fresh_key, '{}')
      );
      SELECT array_agg(t.id ORDER BY t.id), array_agg(h.id ORDER BY t.id) INTO line_id, line_holder
      FROM (SELECT DISTINCT unnest(d_server) AS id) t
      LEFT JOIN holdfast.server s ON s.id = t.id
      LEFT JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead;
    END IF;
  END IF;
  SELECT extract(epoch FROM due_at - clock_timestamp())::double precision * 1000 INTO next_in
  FROM holdfast.scheduled ORDER BY due_at, member, call LIMIT 1;
END $$;
