-- Puts messages in line. Positions are dense per server and given in the order of commits, since the inbox row stays locked
-- until the commit; inbox rows are locked in the order of their ids. A cast whose key is known already is left out.
-- p_fresh_*: the keys, of all that these messages bear, that were unknown before.
CREATE FUNCTION holdfast.put_in_line(
  p_server bigint[], p_mode text[], p_rpc text[], p_payload text[], p_key text[], p_priority boolean[], p_member bigint[],
  p_call bigint[], p_fresh_server bigint[], p_fresh_key text[]
) RETURNS void LANGUAGE sql AS $$
  WITH sent AS MATERIALIZED (
    SELECT s.*, row_number() OVER (PARTITION BY s.server, s.key ORDER BY s.ord) AS nth
    FROM unnest(p_server, p_mode, p_rpc, p_payload, p_key, p_priority, p_member, p_call) WITH ORDINALITY
      AS s(server, mode, rpc, payload, key, priority, member, call, ord)
  ), kept AS MATERIALIZED (
    SELECT s.*,
      row_number() OVER (PARTITION BY s.server ORDER BY s.ord) AS k,
      count(*) OVER (PARTITION BY s.server) AS n,
      dense_rank() OVER (ORDER BY s.server) AS line
    FROM sent s
    WHERE s.key IS NULL OR s.mode = 'call'
      OR (s.nth = 1 AND (s.server, s.key) IN (SELECT f.s, f.k FROM unnest(p_fresh_server, p_fresh_key) AS f(s, k)))
  ), pushed AS MATERIALIZED (
    INSERT INTO holdfast.inbox AS b (id, pushed)
    SELECT server, count(*) FROM kept GROUP BY server ORDER BY server
    ON CONFLICT (id) DO UPDATE SET pushed = b.pushed + excluded.pushed
    RETURNING b.id, b.pushed
  ), ends AS MATERIALIZED (
    SELECT array_agg(pushed ORDER BY id) AS pushed FROM pushed
  )
  INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, key, priority, member, call)
  SELECT k.server, e.pushed[k.line] - k.n + k.k, k.mode, k.rpc, k.payload, k.key, k.priority, k.member, k.call
  FROM ends e, kept k
  ORDER BY k.server, k.k
$$;

-- Writes fragments of the states of those members of a group that passed: all that have a text; the others go. The rows of their
-- servers are locked already, and nobody writes fragments without that.
CREATE FUNCTION holdfast.write_fragments(
  p_id bigint[], p_good integer[], f_m integer[], f_number bigint[], f_text text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM holdfast.fragment x
  USING unnest(f_m, f_number, f_text) AS f(m, number, text)
  WHERE f.text IS NULL AND f.m = ANY (p_good) AND x.server_id = p_id[f.m] AND x.number = f.number;
  INSERT INTO holdfast.fragment (server_id, number, text)
  SELECT p_id[f.m], f.number, f.text FROM unnest(f_m, f_number, f_text) AS f(m, number, text)
  WHERE f.text IS NOT NULL AND f.m = ANY (p_good)
  ON CONFLICT (server_id, number) DO UPDATE SET text = excluded.text;
END $$;

-- One group: a lane's number p_seq. It runs once, or, when the lane is not at p_seq - 1 or is closed, not at all, and then
-- `refused` is null. A member is a server's step (its row id, the version it starts from, where its line must end if that
-- matters, the position it consumes to, its new state if there is one, its lock if that changes: none is ''), or, with a null id, only messages to others.
-- Each member is done whole, or refused and nothing of it is done.
--
-- Locks are taken in one order: the lane, then messages for later that are cancelled, then streams of event stores, then servers,
-- then keys, then inboxes, within each by id, and last of all the counters of event stores.
CREATE FUNCTION holdfast.commit_group(
  p_lane bigint, p_seq bigint,
  w_id bigint[], w_version bigint[], w_guard bigint[], w_taken bigint[], w_state text[], w_lock text[],
  -- The version of the state's schema, where it is to be another one from now on.
  w_state_version integer[],
  -- Fragments of states that are written, or, where there is no text, go.
  f_m integer[], f_number bigint[], f_text text[],
  -- Messages consumed out of their turn: their positions.
  c_m integer[], c_seq bigint[],
  -- Answers under keys: the member they belong to (from 1), key, answer (none yet, where it comes later), and whether this is
  -- such a late one, which is kept only where there is none.
  k_m integer[], k_key text[], k_reply text[], k_late boolean[],
  -- Replies to other members.
  r_m integer[], r_member bigint[], r_call bigint[], r_value text[],
  -- Messages to servers.
  o_m integer[], o_server bigint[], o_mode text[], o_rpc text[], o_payload text[],
  o_priority boolean[], o_member bigint[], o_call bigint[], o_key text[],
  -- Messages set aside.
  p_m integer[], p_mode text[], p_rpc text[], p_payload text[], p_key text[], p_priority boolean[], p_member bigint[],
  p_call bigint[], p_attempts integer[], p_failure text[],
  -- Messages for later: due at a time, in milliseconds since 1970, or so many milliseconds from now.
  s_m integer[], s_server bigint[], s_rpc text[], s_payload text[], s_key text[], s_member bigint[], s_call bigint[],
  s_at double precision[], s_after double precision[],
  -- Messages for later that are cancelled. One that is not there any more refuses its member.
  x_m integer[], x_server bigint[], x_member bigint[], x_call bigint[],
  -- Events for streams of event stores, in the order in which they are appended: their member, the store's schema, the stream, where
  -- it is expected to be, and the events as JSON. Then the ids among them that may be known already, and how long streams are
  -- waited for.
  a_m integer[], a_schema text[], a_stream text[], a_expected bigint[], a_events text[], g_a integer[], g_id uuid[],
  p_wait integer,
  OUT refused integer[],
  -- Where the line of each member's server ends now.
  OUT pushed bigint[],
  -- Known answers, because of which members were refused.
  OUT known_m integer[], OUT known_key text[], OUT known_reply text[],
  -- The servers that messages were put in line for: where their lines end, and which living member holds them.
  OUT line_id bigint[], OUT line_pushed bigint[], OUT line_holder bigint[],
  -- Which of those to be cancelled were gone, counted from 1, and in how many milliseconds the next of the new ones is due.
  OUT missed integer[], OUT due_in double precision,
  -- What could not be appended, and why.
  OUT unappended json
) LANGUAGE plpgsql AS $$
DECLARE
  good integer[];
  unappended_m integer[] := '{}';
  all_good boolean;
  fresh_server bigint[] := '{}';
  fresh_key text[] := '{}';
  missed_m integer[] := '{}';
  now_at timestamptz := clock_timestamp();
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'holdfast commits under READ COMMITTED only' USING ERRCODE = '25001';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  -- This group once, or never.
  UPDATE holdfast.lane SET seq = p_seq WHERE id = p_lane AND seq = p_seq - 1 AND NOT closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  -- Of several that would cancel the same message the first one may.
  IF cardinality(x_m) > 0 THEN
    WITH held AS MATERIALIZED (
      SELECT s.server_id, s.member, s.call
      FROM unnest(x_server, x_member, x_call) AS x(server, member, call)
      JOIN holdfast.scheduled s ON s.server_id = x.server AND s.member = x.member AND s.call = x.call
      ORDER BY s.server_id, s.member, s.call FOR UPDATE OF s
    ), wanted AS (
      SELECT x.*, row_number() OVER (PARTITION BY x.server, x.member, x.call ORDER BY x.n) AS nth
      FROM unnest(x_m, x_server, x_member, x_call) WITH ORDINALITY AS x(m, server, member, call, n)
    )
    SELECT array_agg(w.n::integer), coalesce(array_agg(w.m), '{}') INTO missed, missed_m
    FROM wanted w
    WHERE w.nth > 1
      OR NOT EXISTS (SELECT FROM held h WHERE h.server_id = w.server AND h.member = w.member AND h.call = w.call);
  END IF;

  IF cardinality(a_m) > 0 THEN
    SELECT l.refused, l.unappended INTO unappended_m, unappended
    FROM holdfast.look_at_appends(a_m, a_schema, a_stream, a_expected, g_a, g_id, p_wait) l;
  END IF;

  -- Whatever can refuse a member beside its server's row. Only the holder writes answers, so what is read here stays true
  -- for every member whose version is then found unchanged.
  IF cardinality(k_m) > 0 THEN
    SELECT array_agg(k.m), array_agg(k.key), array_agg(x.reply) INTO known_m, known_key, known_reply
    FROM unnest(k_m, k_key, k_late) AS k(m, key, late)
    JOIN holdfast.outcome x ON x.server_id = w_id[k.m] AND x.key = k.key
    WHERE x.reply IS NOT NULL AND NOT k.late;
  END IF;

  -- The one statement that decides.
  WITH part AS MATERIALIZED (
    SELECT w.* FROM unnest(w_id, w_version, w_guard, w_taken, w_state, w_lock, w_state_version) WITH ORDINALITY
      AS w(id, version, guard, taken, state, lock, state_version, m)
    WHERE (known_m IS NULL OR NOT w.m = ANY (known_m)) AND NOT w.m = ANY (missed_m) AND NOT w.m = ANY (unappended_m)
  ), done AS (
    UPDATE holdfast.server s
    SET version = s.version + 1, taken = w.taken, state = coalesce(w.state, s.state),
      lock = CASE WHEN w.lock IS NULL THEN s.lock ELSE nullif(w.lock, '') END,
      state_version = coalesce(w.state_version, s.state_version)
    FROM (SELECT * FROM part WHERE id IS NOT NULL ORDER BY id) w
    WHERE s.id = w.id AND s.version = w.version
      AND (w.guard IS NULL OR w.guard = coalesce((SELECT b.pushed FROM holdfast.inbox b WHERE b.id = w.id), 0))
    RETURNING w.m
  )
  SELECT coalesce(array_agg(x.m::integer), '{}') INTO good
  FROM (SELECT m FROM done UNION ALL SELECT m FROM part WHERE id IS NULL) x;
  all_good := cardinality(good) = cardinality(w_id);

  -- All the rest, only for those that passed.
  IF cardinality(good) > 0 THEN
    DELETE FROM holdfast.message x
    USING unnest(w_id, w_taken) WITH ORDINALITY AS w(id, taken, m)
    WHERE w.taken > 0 AND (all_good OR w.m = ANY (good)) AND x.server_id = w.id AND x.seq <= w.taken;

    IF cardinality(f_m) > 0 THEN
      PERFORM holdfast.write_fragments(w_id, good, f_m, f_number, f_text);
    END IF;

    IF cardinality(c_m) > 0 THEN
      DELETE FROM holdfast.message x
      USING unnest(c_m, c_seq) AS c(m, seq)
      WHERE (all_good OR c.m = ANY (good)) AND x.server_id = w_id[c.m] AND x.seq = c.seq;
    END IF;

    IF cardinality(x_m) > 0 THEN
      DELETE FROM holdfast.scheduled s
      USING unnest(x_m, x_server, x_member, x_call) AS x(m, server, member, call)
      WHERE (all_good OR x.m = ANY (good)) AND s.server_id = x.server AND s.member = x.member AND s.call = x.call;
    END IF;

    -- One whose key is known, or waits here already, is left out.
    IF cardinality(s_m) > 0 THEN
      WITH later AS MATERIALIZED (
        SELECT s.*, coalesce(to_timestamp(s.at / 1000), now_at + s.after * interval '1 millisecond') AS due_at
        FROM unnest(s_m, s_server, s_rpc, s_payload, s_key, s_member, s_call, s_at, s_after) WITH ORDINALITY
          AS s(m, server, rpc, payload, key, member, call, at, after, ord)
        WHERE all_good OR s.m = ANY (good)
      ), kept AS (
        INSERT INTO holdfast.scheduled (server_id, member, call, due_at, rpc, payload, key)
        SELECT s.server, s.member, s.call, s.due_at, s.rpc, s.payload, s.key FROM later s
        WHERE s.key IS NULL
          OR NOT EXISTS (SELECT FROM holdfast.outcome x WHERE x.server_id = s.server AND x.key = s.key)
        ORDER BY s.server, s.key, s.ord
        ON CONFLICT (server_id, key) WHERE key IS NOT NULL DO NOTHING
      )
      SELECT extract(epoch FROM min(due_at) - now_at)::double precision * 1000 INTO due_in FROM later;
    END IF;

    IF cardinality(r_m) > 0 THEN
      INSERT INTO holdfast.reply (member, call, value)
      SELECT r.member, r.call, r.value FROM unnest(r_m, r_member, r_call, r_value) AS r(m, member, call, value)
      WHERE all_good OR r.m = ANY (good)
      ON CONFLICT DO NOTHING;
    END IF;

    IF cardinality(p_m) > 0 THEN
      INSERT INTO holdfast.parked (server_id, mode, rpc, payload, key, priority, member, call, attempts, failure)
      SELECT w_id[p.m], p.mode, p.rpc, p.payload, p.key, p.priority, p.member, p.call, p.attempts, p.failure
      FROM unnest(p_m, p_mode, p_rpc, p_payload, p_key, p_priority, p_member, p_call, p_attempts, p_failure)
        AS p(m, mode, rpc, payload, key, priority, member, call, attempts, failure)
      WHERE all_good OR p.m = ANY (good);
      -- A repeat of a message that was set aside is a message of its own again.
      DELETE FROM holdfast.outcome WHERE (server_id, key) IN (
        SELECT x.server_id, x.key
        FROM unnest(p_m, p_key) AS p(m, key) JOIN holdfast.outcome x ON x.server_id = w_id[p.m] AND x.key = p.key
        WHERE (all_good OR p.m = ANY (good)) AND x.reply IS NULL
        ORDER BY x.server_id, x.key FOR UPDATE OF x
      );
    END IF;

    -- Keys, all in one pass and in order: answers for those that were handled, a place held for those sent.
    IF cardinality(k_m) > 0 OR cardinality(array_remove(o_key, NULL)) > 0 THEN
      WITH named AS (
        SELECT w_id[k.m] AS server, k.key, k.reply FROM unnest(k_m, k_key, k_reply) AS k(m, key, reply)
        WHERE all_good OR k.m = ANY (good)
        UNION ALL
        SELECT o.server, o.key, NULL FROM unnest(o_m, o_server, o_key) AS o(m, server, key)
        WHERE o.key IS NOT NULL AND (all_good OR o.m = ANY (good))
      ), kept AS (
        INSERT INTO holdfast.outcome AS x (server_id, key, reply, answered_at)
        SELECT DISTINCT ON (server, key) server, key, reply, CASE WHEN reply IS NOT NULL THEN clock_timestamp() END
        FROM named
        ORDER BY server, key, reply NULLS LAST
        ON CONFLICT (server_id, key) DO UPDATE SET reply = excluded.reply, answered_at = excluded.answered_at
          WHERE excluded.reply IS NOT NULL AND x.reply IS NULL
        RETURNING x.server_id, x.key, x.xmax = 0 AS fresh
      )
      SELECT coalesce(array_agg(server_id), '{}'), coalesce(array_agg(key), '{}') INTO fresh_server, fresh_key
      FROM kept WHERE fresh;
    END IF;

    IF cardinality(o_m) > 0 THEN
      IF all_good THEN
        PERFORM holdfast.put_in_line(
          o_server, o_mode, o_rpc, o_payload, o_key, o_priority, o_member, o_call, fresh_server, fresh_key
        );
      ELSE
        PERFORM holdfast.put_in_line(
          array_agg(o.server ORDER BY o.ord), array_agg(o.mode ORDER BY o.ord), array_agg(o.rpc ORDER BY o.ord),
          array_agg(o.payload ORDER BY o.ord), array_agg(o.key ORDER BY o.ord), array_agg(o.priority ORDER BY o.ord),
          array_agg(o.member ORDER BY o.ord), array_agg(o.call ORDER BY o.ord), fresh_server, fresh_key
        )
        FROM unnest(o_m, o_server, o_mode, o_rpc, o_payload, o_key, o_priority, o_member, o_call) WITH ORDINALITY
          AS o(m, server, mode, rpc, payload, key, priority, member, call, ord)
        WHERE o.m = ANY (good)
        HAVING count(*) > 0;
      END IF;
      SELECT array_agg(t.id ORDER BY t.id), array_agg(coalesce(b.pushed, 0) ORDER BY t.id), array_agg(h.id ORDER BY t.id)
      INTO line_id, line_pushed, line_holder
      FROM (SELECT DISTINCT unnest(o_server) AS id) t
      LEFT JOIN holdfast.inbox b ON b.id = t.id
      LEFT JOIN holdfast.server s ON s.id = t.id
      LEFT JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead;
    END IF;
  END IF;

  IF cardinality(a_m) > 0 AND cardinality(g_a) = 0 THEN
    PERFORM holdfast.append_in_stores(a_m, a_schema, a_stream, a_events, CASE WHEN NOT all_good THEN good END);
  ELSIF cardinality(a_m) > 0 THEN
    PERFORM holdfast.append_unless_known(a_m, a_schema, a_stream, a_events, CASE WHEN NOT all_good THEN good END);
  END IF;

  -- What the next group needs to know, and what is left for one whose answer gets lost.
  SELECT array_agg(coalesce(b.pushed, 0) ORDER BY w.m) INTO pushed
  FROM unnest(w_id) WITH ORDINALITY AS w(id, m) LEFT JOIN holdfast.inbox b ON b.id = w.id;
  refused := '{}';
  IF NOT all_good THEN
    refused := ARRAY(SELECT m FROM generate_series(1, cardinality(w_id)) AS m WHERE NOT m = ANY (good));
  END IF;
  UPDATE holdfast.lane l SET refused = commit_group.refused
  WHERE l.id = p_lane AND l.refused <> commit_group.refused;
END $$;

-- Groups in which servers only change their state, which is what most of them are: the same as above, and much less to plan. Where
-- they work off their lines (`commit_turns`), how far they come is written as well.
-- The servers' rows are visited in the order of their ids: the planner, pinned, has no other way to join them.
CREATE FUNCTION holdfast.commit_steps(
  p_lane bigint, p_seq bigint, p_id bigint[], p_version bigint[], p_guard bigint[], p_state text[], p_taken bigint[],
  OUT refused integer[], OUT pushed bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  passed integer;
BEGIN
  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}' WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE holdfast.server s SET version = s.version + 1, taken = coalesce(p.taken, s.taken), state = coalesce(p.state, s.state)
  FROM (
    SELECT x.* FROM unnest(p_id, p_version, p_guard, p_state, p_taken) AS x(id, version, guard, state, taken) ORDER BY x.id
  ) p
  WHERE s.id = p.id AND s.version = p.version
    AND (p.guard IS NULL OR p.guard = coalesce((SELECT b.pushed FROM holdfast.inbox b WHERE b.id = p.id), 0));
  GET DIAGNOSTICS passed = ROW_COUNT;
  refused := '{}';
  IF passed = cardinality(p_id) AND array_position(p_guard, NULL) IS NULL THEN
    -- As it was found to be.
    pushed := p_guard;
    RETURN;
  END IF;
  SELECT array_agg(coalesce(b.pushed, 0) ORDER BY x.m) INTO pushed
  FROM unnest(p_id) WITH ORDINALITY AS x(id, m) LEFT JOIN holdfast.inbox b ON b.id = x.id;
  IF passed < cardinality(p_id) THEN
    -- All whose rows were not written just now: by this transaction, which has no savepoints, and from that version on.
    refused := ARRAY(
      SELECT x.m::integer FROM unnest(p_id, p_version) WITH ORDINALITY AS x(id, version, m)
      WHERE NOT EXISTS (
        SELECT FROM holdfast.server s
        WHERE s.id = x.id AND s.version = x.version + 1 AND s.xmin = pg_current_xact_id()::xid
      )
      ORDER BY x.m
    );
    UPDATE holdfast.lane l SET refused = commit_steps.refused WHERE l.id = p_lane;
  END IF;
END $$;

-- The same for one server alone, which is what a quiet process and one hot server commit: and has even less to plan.
CREATE FUNCTION holdfast.commit_step(
  p_lane bigint, p_seq bigint, p_id bigint, p_version bigint, p_guard bigint, p_state text,
  OUT refused integer[], OUT pushed bigint
) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}' WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{}';
  SELECT b.pushed INTO pushed FROM holdfast.inbox b WHERE b.id = p_id;
  pushed := coalesce(pushed, 0);
  UPDATE holdfast.server SET version = version + 1, state = coalesce(p_state, state)
  WHERE id = p_id AND version = p_version AND (p_guard IS NULL OR p_guard = commit_step.pushed);
  IF NOT FOUND THEN
    refused := '{1}';
    UPDATE holdfast.lane l SET refused = commit_step.refused WHERE l.id = p_lane;
  END IF;
END $$;

-- The same for servers whose states lie in fragments.
CREATE FUNCTION holdfast.commit_steps_in_fragments(
  p_lane bigint, p_seq bigint, p_id bigint[], p_version bigint[], p_guard bigint[], p_state text[],
  f_m integer[], f_number bigint[], f_text text[],
  OUT refused integer[], OUT pushed bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  good integer[];
BEGIN
  SELECT c.refused, c.pushed INTO refused, pushed
  FROM holdfast.commit_steps(p_lane, p_seq, p_id, p_version, p_guard, p_state, NULL) c;
  IF refused IS NULL THEN
    RETURN;
  END IF;
  good := ARRAY(SELECT m FROM generate_series(1, cardinality(p_id)) AS m WHERE NOT m = ANY (refused));
  PERFORM holdfast.write_fragments(p_id, good, f_m, f_number, f_text);
END $$;
