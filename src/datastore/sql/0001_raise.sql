-- Raises one of the PM errors, with the fields that `DatabaseError` reads: PERFORM holdfast.raise('PM101', 'email is taken',
-- detail => '{"email": "ada@example.org"}', hint => 'sign in instead', "table" => 'account'). Never returns.

CREATE FUNCTION holdfast.raise(
  code         text,
  message      text,
  detail       jsonb DEFAULT NULL,
  hint         text  DEFAULT NULL,
  "schema"     text  DEFAULT NULL,
  "table"      text  DEFAULT NULL,
  "column"     text  DEFAULT NULL,
  "constraint" text  DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
  IF code IS NULL OR code !~ '^PM[0-9A-Z]{3}$' THEN
    RAISE EXCEPTION 'holdfast.raise: % is not a PM code', coalesce(quote_literal(code), 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Codes are PM and three digits or capital letters, such as PM101.';
  END IF;
  -- An option of RAISE may not be null; an empty one reads as absent.
  RAISE EXCEPTION USING
    ERRCODE    = code,
    MESSAGE    = coalesce(message, code),
    DETAIL     = coalesce(detail::text, ''),
    HINT       = coalesce(hint, ''),
    SCHEMA     = coalesce("schema", ''),
    TABLE      = coalesce("table", ''),
    COLUMN     = coalesce("column", ''),
    CONSTRAINT = coalesce("constraint", '');
END
$$;

COMMENT ON FUNCTION holdfast.raise(text, text, jsonb, text, text, text, text, text)
  IS 'Raises an error with a PM code and structured fields';

-- Raising an error gives no access to anything, and triggers run as whoever set them off.
GRANT EXECUTE ON FUNCTION holdfast.raise(text, text, jsonb, text, text, text, text, text) TO PUBLIC;
