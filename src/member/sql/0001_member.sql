-- A member is a process on this database. It counts as alive while its lease lasts, and each committing connection of it
-- writes through a lane: group n of a lane runs once or never, and not at all once the lane is closed.

-- Members, lanes and servers are numbered from one sequence. A number is never used twice, whatever is dropped and made anew.
CREATE SEQUENCE holdfast.identity AS bigint;

CREATE TABLE holdfast.member (
  id bigint PRIMARY KEY DEFAULT nextval('holdfast.identity'),
  name text NOT NULL,
  lease_until timestamptz NOT NULL,
  dead boolean NOT NULL DEFAULT false,
  joined_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 20, vacuum_truncate = off);

CREATE INDEX member_by_lease ON holdfast.member (lease_until) WHERE NOT dead;

CREATE TABLE holdfast.lane (
  id bigint PRIMARY KEY DEFAULT nextval('holdfast.identity'),
  member bigint NOT NULL,
  -- The number of the last group that was decided, and which of its parts were refused, counted from 1.
  seq bigint NOT NULL DEFAULT 0,
  refused integer[] NOT NULL DEFAULT '{}',
  closed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 10, vacuum_truncate = off);
CREATE INDEX lane_of_member ON holdfast.lane (member);

CREATE FUNCTION holdfast.join_member(p_name text, p_lease_millis double precision, OUT member bigint, OUT lane bigint)
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO holdfast.member (name, lease_until)
  VALUES (p_name, clock_timestamp() + p_lease_millis * interval '1 millisecond')
  RETURNING id INTO member;
  INSERT INTO holdfast.lane (member) VALUES (join_member.member) RETURNING id INTO lane;
END $$;

-- Declares members dead and closes their lanes: with that, nothing they have under way can be committed any more.
CREATE FUNCTION holdfast.bury_members(p_members bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE holdfast.member SET dead = true WHERE id = ANY (p_members) AND NOT dead;
  PERFORM FROM holdfast.lane WHERE member = ANY (p_members) AND NOT closed ORDER BY id FOR NO KEY UPDATE;
  UPDATE holdfast.lane SET closed = true WHERE member = ANY (p_members) AND NOT closed;
END $$;

-- Declares those dead whose lease has run out, by the database's clock. Members that somebody else is just looking at are
-- left to them. A server that has only just started has kept everybody from renewing: it gives them the time to. And whoever
-- has not renewed its own lease just now judges nobody by theirs: everything may have stood still since.
CREATE FUNCTION holdfast.bury_overdue_members(p_own bigint, p_lease_millis double precision, OUT buried bigint[])
LANGUAGE plpgsql AS $$
BEGIN
  IF pg_postmaster_start_time() + p_lease_millis * interval '1 millisecond' > clock_timestamp() THEN
    RETURN;
  END IF;
  IF NOT EXISTS (
    SELECT FROM holdfast.member
    WHERE id = p_own AND NOT dead AND lease_until > clock_timestamp() + p_lease_millis / 3 * interval '1 millisecond'
  ) THEN
    RETURN;
  END IF;
  SELECT array_agg(due.id ORDER BY due.id) INTO buried
  FROM (
    SELECT id FROM holdfast.member
    WHERE NOT dead AND id <> p_own AND lease_until < clock_timestamp()
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
  ) due;
  IF buried IS NOT NULL THEN
    PERFORM holdfast.bury_members(buried);
  END IF;
END $$;
