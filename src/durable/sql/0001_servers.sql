-- Durable servers: their states, and the lines of messages to them.

-- A server's row is written by its holder alone. Nothing that changes is indexed, and rows leave room: updates stay HOT.
CREATE TABLE holdfast.server (
  id bigint PRIMARY KEY DEFAULT nextval('holdfast.identity'),
  kind text NOT NULL,
  key text NOT NULL,
  -- Goes up with every step and every change of hands: what was prepared against another version is refused.
  version bigint NOT NULL DEFAULT 0,
  -- The position up to which the line is consumed.
  taken bigint NOT NULL DEFAULT 0,
  -- The member that runs it, if that member is alive.
  holder bigint,
  -- The state as JSON, or of which kind its fragments are; null as long as no message was ever handled.
  state text,
  -- The version of the schema that the state was written with.
  state_version integer NOT NULL DEFAULT 1,
  -- The message that locked it, as JSON, as long as what it began is not over.
  lock text,
  UNIQUE (kind, key)
  -- States of up to 3 KB lie in the row itself: whatever is moved out of a row is written anew, as other rows, by every update.
) WITH (fillfactor = 50, toast_tuple_target = 4080, vacuum_truncate = off);
CREATE INDEX server_locked ON holdfast.server (id) WHERE lock IS NOT NULL;

-- What is too large for that lies here, in rows that are updated in place, two versions to a page: those that a step changes.
-- Written by the holder alone, under the lock of the server's row. Whoever deletes or empties a server deletes these.
CREATE TABLE holdfast.fragment (
  server_id bigint NOT NULL,
  number bigint NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (server_id, number)
) WITH (fillfactor = 50, toast_tuple_target = 8160, vacuum_truncate = off);
ALTER TABLE holdfast.fragment ALTER COLUMN text SET STORAGE PLAIN;

-- The fragments of a server's state. Volatile, and so with a snapshot of its own: to whoever has just locked the server's row it
-- gives what belongs to that row, however long it had to wait for the lock.
CREATE FUNCTION holdfast.fragments_of(p_server bigint, OUT numbers bigint[], OUT texts text[]) LANGUAGE sql VOLATILE AS $$
  SELECT array_agg(f.number), array_agg(f.text) FROM holdfast.fragment f WHERE f.server_id = p_server
$$;

-- How many messages were ever put in a server's line. Written by senders alone, so that they and the holder do not fight.
CREATE TABLE holdfast.inbox (
  id bigint PRIMARY KEY,
  pushed bigint NOT NULL
) WITH (fillfactor = 20, vacuum_truncate = off);

-- The lines: dense positions per server, given in the order of commits.
CREATE TABLE holdfast.message (
  server_id bigint NOT NULL,
  seq bigint NOT NULL,
  mode text NOT NULL,
  rpc text NOT NULL,
  payload text NOT NULL,
  key text,
  -- Consumed before those without, out of its place.
  priority boolean NOT NULL DEFAULT false,
  -- The sending member and its number for the message: the message's id, and where a reply goes.
  member bigint NOT NULL,
  call bigint NOT NULL,
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (server_id, seq)
) WITH (
  vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000
);

CREATE INDEX message_with_priority ON holdfast.message (server_id, seq) WHERE priority;

-- What was answered under a primary key. No answer yet: the message that bears the key is in line, or set aside.
CREATE TABLE holdfast.outcome (
  server_id bigint NOT NULL,
  key text NOT NULL,
  reply text,
  answered_at timestamptz,
  PRIMARY KEY (server_id, key)
) WITH (vacuum_truncate = off);
CREATE INDEX outcome_by_age ON holdfast.outcome (answered_at) WHERE answered_at IS NOT NULL;

-- Replies on their way to other members.
CREATE TABLE holdfast.reply (
  member bigint NOT NULL,
  call bigint NOT NULL,
  value text NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (member, call)
) WITH (vacuum_truncate = off);

-- Messages whose handler failed at every attempt.
CREATE TABLE holdfast.parked (
  id bigint PRIMARY KEY DEFAULT nextval('holdfast.identity'),
  server_id bigint NOT NULL,
  mode text NOT NULL,
  rpc text NOT NULL,
  payload text NOT NULL,
  key text,
  priority boolean NOT NULL,
  member bigint NOT NULL,
  call bigint NOT NULL,
  attempts integer NOT NULL,
  failure text NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX parked_of_server ON holdfast.parked (server_id);
