-- Short forms of `commit_group` for what servers and their callers do when they are in different processes: messages are put in
-- line, and the line is worked off. They promise what it promises, and there is much less to plan and to look for.

-- Groups that only put messages without keys in line, which nothing can refuse.
CREATE FUNCTION holdfast.commit_messages(
  p_lane bigint, p_seq bigint,
  o_server bigint[], o_mode text[], o_rpc text[], o_payload text[], o_priority boolean[], o_member bigint[], o_call bigint[],
  OUT refused integer[], OUT line_id bigint[], OUT line_pushed bigint[], OUT line_holder bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  first_id bigint := o_server[1];
  one_line boolean := first_id = ALL (o_server);
  line_end bigint;
BEGIN
  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}' WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{}';
  IF one_line THEN
    INSERT INTO holdfast.inbox AS b (id, pushed) VALUES (first_id, cardinality(o_server))
    ON CONFLICT (id) DO UPDATE SET pushed = b.pushed + excluded.pushed
    RETURNING b.pushed INTO line_end;
    INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, priority, member, call)
    SELECT first_id, line_end - cardinality(o_server) + o.ord, o.mode, o.rpc, o.payload, o.priority, o.member, o.call
    FROM unnest(o_mode, o_rpc, o_payload, o_priority, o_member, o_call) WITH ORDINALITY
      AS o(mode, rpc, payload, priority, member, call, ord);
    line_id := ARRAY[first_id];
    line_pushed := ARRAY[line_end];
    line_holder := ARRAY(
      SELECT (SELECT h.id FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead)
      FROM holdfast.server s WHERE s.id = first_id
    );
  ELSE
    WITH sent AS MATERIALIZED (
      SELECT s.*,
        row_number() OVER (PARTITION BY s.server ORDER BY s.ord) AS k,
        count(*) OVER (PARTITION BY s.server) AS n,
        dense_rank() OVER (ORDER BY s.server) AS line
      FROM unnest(o_server, o_mode, o_rpc, o_payload, o_priority, o_member, o_call) WITH ORDINALITY
        AS s(server, mode, rpc, payload, priority, member, call, ord)
    ), lengthened AS MATERIALIZED (
      INSERT INTO holdfast.inbox AS b (id, pushed)
      SELECT s.server, s.n FROM sent s WHERE s.k = 1 ORDER BY s.server
      ON CONFLICT (id) DO UPDATE SET pushed = b.pushed + excluded.pushed
      RETURNING b.id, b.pushed
    ), ends AS MATERIALIZED (
      SELECT array_agg(l.id ORDER BY l.id) AS ids, array_agg(l.pushed ORDER BY l.id) AS pushed FROM lengthened l
    ), placed AS (
      INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, priority, member, call)
      SELECT s.server, e.pushed[s.line] - s.n + s.k, s.mode, s.rpc, s.payload, s.priority, s.member, s.call
      FROM ends e, sent s
      ORDER BY s.server, s.k
    )
    SELECT e.ids, e.pushed, ARRAY(
      SELECT (SELECT h.id FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead)
      FROM unnest(e.ids) WITH ORDINALITY AS l(id, n) LEFT JOIN holdfast.server s ON s.id = l.id ORDER BY l.n
    )
    INTO line_id, line_pushed, line_holder
    FROM ends e;
  END IF;
END $$;

-- Groups in which servers work off the heads of their lines, without keys: states change, messages are consumed, callers elsewhere
-- get their replies.
CREATE FUNCTION holdfast.commit_turns(
  p_lane bigint, p_seq bigint, p_id bigint[], p_version bigint[], p_guard bigint[], p_taken bigint[], p_state text[],
  r_m integer[], r_member bigint[], r_call bigint[], r_value text[],
  OUT refused integer[], OUT pushed bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
  SELECT c.refused, c.pushed INTO refused, pushed
  FROM holdfast.commit_steps(p_lane, p_seq, p_id, p_version, p_guard, p_state, p_taken) c;
  IF refused IS NULL THEN
    RETURN;
  END IF;
  DELETE FROM holdfast.message x
  USING unnest(p_id, p_taken) WITH ORDINALITY AS w(id, taken, m)
  WHERE NOT w.m = ANY (refused) AND x.server_id = w.id AND x.seq <= w.taken;
  IF cardinality(r_m) > 0 THEN
    INSERT INTO holdfast.reply (member, call, value)
    SELECT r.member, r.call, r.value FROM unnest(r_m, r_member, r_call, r_value) AS r(m, member, call, value)
    WHERE NOT r.m = ANY (refused)
    ON CONFLICT DO NOTHING;
  END IF;
END $$;
