-- Puts a message that was set aside back in line, at the end, with another payload where one is given. It happens once, since
-- what decides is that the message is still set aside. As a cast: whoever called was told that it was set aside, or finds that
-- among the replies. Nothing is done where its key is known by now, which is then `known_key`.
--
-- Locks are taken in the one order there is: keys, then lines, then what was set aside.
CREATE FUNCTION holdfast.retry_parked(
  p_id bigint, p_payload text,
  OUT is_there boolean, OUT known_key text, OUT known_answered boolean,
  -- The server and the living member that holds it, where the message stands in line now, and whether it has priority.
  OUT server bigint, OUT holder bigint, OUT "position" bigint, OUT priority boolean
) LANGUAGE plpgsql AS $$
DECLARE
  aside holdfast.parked;
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  SELECT p.* INTO aside FROM holdfast.parked p WHERE p.id = p_id;
  is_there := FOUND;
  IF NOT is_there THEN
    RETURN;
  END IF;

  BEGIN
    IF aside.key IS NOT NULL THEN
      INSERT INTO holdfast.outcome (server_id, key) VALUES (aside.server_id, aside.key) ON CONFLICT DO NOTHING;
      IF NOT FOUND THEN
        -- By a repeat; or by somebody who was faster with this very message, which is not set aside any more then.
        is_there := EXISTS (SELECT FROM holdfast.parked p WHERE p.id = p_id);
        IF is_there THEN
          known_key := aside.key;
          known_answered := EXISTS (
            SELECT FROM holdfast.outcome x
            WHERE x.server_id = aside.server_id AND x.key = aside.key AND x.reply IS NOT NULL
          );
        END IF;
        RETURN;
      END IF;
    END IF;

    PERFORM holdfast.put_in_line(
      ARRAY[aside.server_id], ARRAY['cast'], ARRAY[aside.rpc], ARRAY[coalesce(p_payload, aside.payload)],
      ARRAY[aside.key], ARRAY[aside.priority], ARRAY[aside.member], ARRAY[aside.call],
      ARRAY[aside.server_id], ARRAY[aside.key]
    );
    DELETE FROM holdfast.parked p WHERE p.id = p_id;
    IF NOT FOUND THEN
      RAISE no_data_found;
    END IF;
  EXCEPTION WHEN no_data_found THEN
    -- Somebody was faster, with a retry, a drop or a kill: what was done since BEGIN is undone.
    is_there := false;
    RETURN;
  END;

  server := aside.server_id;
  priority := aside.priority;
  SELECT b.pushed INTO "position" FROM holdfast.inbox b WHERE b.id = aside.server_id;
  SELECT h.id INTO holder
  FROM holdfast.server s JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead
  WHERE s.id = aside.server_id;
END $$;
