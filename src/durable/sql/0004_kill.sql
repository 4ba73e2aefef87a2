-- Ends the life of a server: its state, its line, its lock, its messages for later, what it answered and what was set aside are
-- gone, and whoever waits for an answer to a call in its line is told p_answer. The row and its number stay, and the version goes
-- on from where it was: whatever was prepared in the life that ends is refused, and messages that are sent by the number reach
-- the next one.
--
-- A group of its own, number p_seq of a lane: it runs once, or, where `refused` is null, not at all. Locks are taken in the one
-- order of all commits: the lane, the server's messages for later, the server, its keys, its inbox.
CREATE FUNCTION holdfast.kill_server(
  p_lane bigint, p_seq bigint, p_id bigint, p_answer text,
  OUT refused integer[],
  -- The first version of the next life.
  OUT version bigint,
  -- The living member that ran it.
  OUT holder bigint,
  -- The members with callers that are told.
  OUT told bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  locked_by json;
  ends bigint;
BEGIN
  UPDATE holdfast.lane l SET seq = p_seq, refused = '{}' WHERE l.id = p_lane AND l.seq = p_seq - 1 AND NOT l.closed;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  refused := '{}';
  PERFORM FROM holdfast.scheduled s WHERE s.server_id = p_id ORDER BY s.member, s.call FOR UPDATE;
  SELECT s.lock::json, h.id INTO locked_by, holder
  FROM holdfast.server s LEFT JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead
  WHERE s.id = p_id FOR NO KEY UPDATE OF s;

  PERFORM FROM holdfast.outcome o WHERE o.server_id = p_id ORDER BY o.key FOR UPDATE;
  SELECT b.pushed INTO ends FROM holdfast.inbox b WHERE b.id = p_id FOR NO KEY UPDATE;
  -- From here on no message gets into the line: those that did are seen below, with the keys that came with them.
  DELETE FROM holdfast.outcome o WHERE o.server_id = p_id;
  UPDATE holdfast.server s
  SET version = s.version + 1, taken = coalesce(ends, 0), holder = NULL, state = NULL, lock = NULL,
    state_version = 1
  WHERE s.id = p_id RETURNING s.version INTO version;
  DELETE FROM holdfast.scheduled s WHERE s.server_id = p_id;
  DELETE FROM holdfast.fragment f WHERE f.server_id = p_id;
  DELETE FROM holdfast.parked p WHERE p.server_id = p_id;
  WITH gone AS (
    DELETE FROM holdfast.message m WHERE m.server_id = p_id AND m.seq <= ends RETURNING m.mode, m.member, m.call
  ), waiting AS (
    SELECT member, call FROM gone WHERE mode = 'call'
    UNION ALL
    SELECT (locked_by->>'node')::bigint, (locked_by->>'call')::bigint WHERE locked_by->>'mode' = 'call'
  ), replies AS (
    INSERT INTO holdfast.reply (member, call, value)
    SELECT w.member, w.call, p_answer FROM waiting w
    ON CONFLICT DO NOTHING
    RETURNING member
  )
  SELECT coalesce(array_agg(DISTINCT r.member), '{}') INTO told FROM replies r;
END $$;
