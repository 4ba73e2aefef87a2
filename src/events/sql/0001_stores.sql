-- Event stores: each is a schema of its own, `holdfast_events_<id>`, made from one script.

CREATE TABLE holdfast.event_store (
  id text COLLATE "C" PRIMARY KEY,
  -- As JSON.
  config text NOT NULL,
  created_epoch bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  removed boolean NOT NULL DEFAULT false
);

CREATE FUNCTION holdfast.event_store_schema(p_id text, p_removed boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_removed THEN 'holdfast_removed_' ELSE 'holdfast_events_' END || p_id
$$;

-- Makes a store, or brings back one that was removed. False: there is one.
--
-- It acts as the owner of the library's tables, since a role that runs an application makes no schemas. What it does is
-- fixed; only the id is the caller's.
CREATE FUNCTION holdfast.create_event_store(p_id text, p_config text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  schema_name text := holdfast.event_store_schema(p_id, false);
BEGIN
  IF p_id !~ '^[a-z][a-z0-9_]{0,39}$' THEN
    RAISE EXCEPTION 'not the id of an event store: %', p_id USING ERRCODE = '22023';
  END IF;
  -- Whoever makes the same store meanwhile is waited for.
  INSERT INTO holdfast.event_store (id, config) VALUES (p_id, p_config) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    EXECUTE replace(holdfast.event_store_script(), 'store_schema', schema_name);
    EXECUTE format('REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA %I FROM PUBLIC', schema_name);
    PERFORM holdfast.open_event_store_to(schema_name, r.rolname)
    FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.oid = 'holdfast.event_store'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner;
    RETURN true;
  END IF;
  UPDATE holdfast.event_store SET removed = false WHERE id = p_id AND removed;
  IF FOUND THEN
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', holdfast.event_store_schema(p_id, true), schema_name);
    RETURN true;
  END IF;
  RETURN false;
END $$;

-- Removes a store: under its new name nobody finds it, from that moment on, whoever had it open. False: there is none.
CREATE FUNCTION holdfast.remove_event_store(p_id text, p_purge boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  was_removed boolean;
BEGIN
  SELECT removed INTO was_removed FROM holdfast.event_store WHERE id = p_id FOR UPDATE;
  IF NOT FOUND OR (was_removed AND NOT p_purge) THEN
    RETURN false;
  END IF;
  IF p_purge THEN
    EXECUTE format('DROP SCHEMA %I CASCADE', holdfast.event_store_schema(p_id, was_removed));
    DELETE FROM holdfast.event_store WHERE id = p_id;
  ELSE
    EXECUTE format(
      'ALTER SCHEMA %I RENAME TO %I', holdfast.event_store_schema(p_id, false), holdfast.event_store_schema(p_id, true)
    );
    UPDATE holdfast.event_store SET removed = true WHERE id = p_id;
  END IF;
  RETURN true;
END $$;

-- Whoever may make stores may work with each.
CREATE FUNCTION holdfast.open_event_store_to(p_schema text, p_role text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', p_schema, p_role);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', p_schema, p_role);
  EXECUTE format('REVOKE UPDATE, DELETE ON %1$I.event, %1$I.link FROM %2$I', p_schema, p_role);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %I', p_schema, p_role);
  EXECUTE format('GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %I TO %I', p_schema, p_role);
END $$;

-- Gives what a store was made with, or null where there is none, and lets a role work with it that came later than the store.
CREATE FUNCTION holdfast.open_event_store(p_id text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  found_config text;
  schema_name text := holdfast.event_store_schema(p_id, false);
BEGIN
  SELECT config INTO found_config FROM holdfast.event_store WHERE id = p_id AND NOT removed;
  IF found_config IS NULL OR has_schema_privilege(session_user, schema_name, 'USAGE') THEN
    RETURN found_config;
  END IF;
  PERFORM FROM holdfast.event_store WHERE id = p_id FOR UPDATE;
  PERFORM holdfast.open_event_store_to(schema_name, session_user);
  RETURN found_config;
END $$;

-- Events are history: they and the links to them are never changed, whoever asks, and deleted with their stream alone, where
-- the store was made for that.
CREATE FUNCTION holdfast.keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('holdfast.hard_delete', true) = TG_TABLE_SCHEMA AND EXISTS (
    SELECT FROM holdfast.event_store s
    WHERE holdfast.event_store_schema(s.id, false) = TG_TABLE_SCHEMA AND (s.config::json->>'hardDeletes')::boolean
  ) THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'events are never changed: % of % was refused', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END $$;
