-- The ledger: which file of which source was applied to this database, with what content, by whom and when.
-- It is the first thing that is made in a database, before any migration, and it is never itself a migration.
-- Names compare byte by byte ("C"), so that the order in the ledger is the order in which files are applied.

CREATE SCHEMA IF NOT EXISTS holdfast;

CREATE TABLE IF NOT EXISTS holdfast.migration (
  source   text COLLATE "C" NOT NULL,
  file     text COLLATE "C" NOT NULL,
  sha256   text             NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  role     text             NOT NULL,
  started  timestamptz      NOT NULL,
  finished timestamptz      NOT NULL,

  -- Of built migrations; a database has those of one type, and the type is the name of their source.
  version              text COLLATE "C" UNIQUE,
  release_number       int,
  version_number       int,
  update_number        int,
  sponsor              bigint,
  sponsor_modification int,

  PRIMARY KEY (source, file),
  CHECK (num_nulls(version, release_number, version_number, update_number, sponsor, sponsor_modification) IN (0, 6))
);

COMMENT ON SCHEMA holdfast IS 'Tables and functions of the holdfast library, and the ledger of all migrations';
COMMENT ON TABLE holdfast.migration IS 'One row for each migration file that was applied to this database';
COMMENT ON COLUMN holdfast.migration.sha256 IS 'SHA-256 of the content as applied, in hexadecimal';
COMMENT ON COLUMN holdfast.migration.version IS 'The five numbers as in the name of the file, in base 36';
COMMENT ON COLUMN holdfast.migration.role IS 'The role that ran the file';
