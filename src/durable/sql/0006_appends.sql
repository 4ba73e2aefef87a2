-- Events that steps append to event stores. Each store is a schema with two functions for it: one that locks the streams and
-- looks at them, before any step is decided, and one that appends, last of all. A store that is not there has neither.

-- Which members are refused because of what they append, and why: an object for each such append. Streams are locked in the order
-- of their stores' schemas and then of their names; p_wait: for how many milliseconds they are waited for, in line with others.
CREATE FUNCTION holdfast.look_at_appends(
  a_m integer[], a_schema text[], a_stream text[], a_expected bigint[], g_a integer[], g_id uuid[], p_wait integer,
  OUT refused integer[], OUT unappended json
) LANGUAGE plpgsql AS $$
DECLARE
  store text;
  found json;
  all_found json[] := '{}';
BEGIN
  FOR store IN SELECT DISTINCT s.name FROM unnest(a_schema) AS s(name) ORDER BY s.name LOOP
    IF to_regnamespace(store) IS NULL THEN
      SELECT json_agg(json_build_object('a', x.a, 'why', 'store')) INTO found
      FROM unnest(a_schema) WITH ORDINALITY AS x(name, a) WHERE x.name = store;
    ELSE
      EXECUTE format('SELECT %I.look_at_outcomes($1, $2, $3, $4, $5, $6)', store) INTO found
      USING a_schema, a_stream, a_expected, g_a, g_id, p_wait;
    END IF;
    IF found IS NOT NULL THEN
      all_found := all_found || found;
    END IF;
  END LOOP;
  refused := '{}';
  IF cardinality(all_found) > 0 THEN
    SELECT array_agg(DISTINCT a_m[(x.one->>'a')::integer]), json_agg(x.one) INTO refused, unappended
    FROM unnest(all_found) AS f(list), json_array_elements(f.list) AS x(one);
  END IF;
END $$;

-- Appends what the members that passed append. p_good: null, where all of them have.
CREATE FUNCTION holdfast.append_in_stores(
  a_m integer[], a_schema text[], a_stream text[], a_events text[], p_good integer[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  store text;
  a_good boolean[];
BEGIN
  SELECT array_agg(p_good IS NULL OR x.m = ANY (p_good) ORDER BY x.a) INTO a_good FROM unnest(a_m) WITH ORDINALITY AS x(m, a);
  FOR store IN SELECT DISTINCT s.name FROM unnest(a_schema) AS s(name) ORDER BY s.name LOOP
    IF to_regnamespace(store) IS NOT NULL THEN
      EXECUTE format('SELECT %I.append_outcomes($1, $2, $3, $4)', store) USING a_schema, a_stream, a_events, a_good;
    END IF;
  END LOOP;
END $$;

-- The same where ids may be known: one that was appended by somebody else since it was looked for is found by the next look.
CREATE FUNCTION holdfast.append_unless_known(
  a_m integer[], a_schema text[], a_stream text[], a_events text[], p_good integer[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM holdfast.append_in_stores(a_m, a_schema, a_stream, a_events, p_good);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'an event of that id was appended meanwhile' USING ERRCODE = '40001';
END $$;
