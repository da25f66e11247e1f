-- What a witness must not forget. The tables are those of PostgreSQL; their
-- reasons stand there.
--
-- +goose Up

CREATE TABLE owner (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  vkey TEXT NOT NULL CHECK (vkey <> '')
) STRICT;

CREATE TABLE logs (
  origin      TEXT NOT NULL PRIMARY KEY CHECK (origin <> ''),
  origin_hash TEXT NOT NULL UNIQUE CHECK (length(origin_hash) = 64),
  size        INTEGER NOT NULL CHECK (size >= 0),
  root        BLOB NOT NULL CHECK (length(root) = 32),
  note        BLOB,
  signed_at   INTEGER,
  paused      INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  listed      INTEGER NOT NULL CHECK (listed IN (0, 1)),
  qpd         INTEGER NOT NULL CHECK (qpd >= 0),
  day         INTEGER NOT NULL DEFAULT 0,
  used        INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
  CHECK ((note IS NULL) = (signed_at IS NULL)),
  CHECK (note IS NOT NULL OR size = 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
  key_id INTEGER PRIMARY KEY,
  origin TEXT NOT NULL REFERENCES logs,
  vkey   TEXT NOT NULL CHECK (vkey <> ''),
  UNIQUE (origin, vkey)
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER logs_only_grow BEFORE UPDATE ON logs
WHEN new.origin <> old.origin OR new.origin_hash <> old.origin_hash OR new.size < old.size
  OR new.size = old.size AND new.root <> old.root
BEGIN
  SELECT RAISE(ABORT, 'logs_only_grow: a witness does not go back on what it has signed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER logs_stay BEFORE DELETE ON logs
BEGIN
  SELECT RAISE(ABORT, 'logs_stay: a witness does not forget what it has signed; pause the log instead');
END;
-- +goose StatementEnd

-- REPLACE would delete the row in its way without a word.
--
-- +goose StatementBegin
CREATE TRIGGER logs_new BEFORE INSERT ON logs
WHEN EXISTS (SELECT 1 FROM logs WHERE origin = new.origin OR origin_hash = new.origin_hash)
BEGIN
  SELECT RAISE(ABORT, 'logs_new: the witness follows a log of that origin already');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER owner_stays BEFORE UPDATE ON owner
BEGIN
  SELECT RAISE(ABORT, 'owner_stays: the database belongs to another witness');
END;
-- +goose StatementEnd
