-- The core: logs, what their trees cover, and what was signed. Beside it the
-- key index, which is derived. The tables are those of PostgreSQL; their
-- reasons stand there.
--
-- The core is insert-only. SQLite has no roles, so triggers alone refuse UPDATE
-- and DELETE (there is no TRUNCATE). INSERT OR REPLACE deletes what is in its
-- way, without firing triggers unless the connection asks for that, which a
-- stranger's does not. So there is a trigger before each insert as well, which
-- refuses a row whose place is taken; and no table has a hidden rowid, which
-- could be in the way too.
--
-- These triggers also carry what the database refuses for the driver. Each
-- message begins with the name of the rule, by which the driver knows it.
-- One transaction writes at a time, so what a trigger reads is the newest.
--
-- Times are microseconds since 1970, UTC.
--
-- +goose Up

CREATE TABLE logs (
  log_id     INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE CHECK (name <> ''),
  origin     TEXT NOT NULL UNIQUE CHECK (origin <> ''),
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE epochs (
  log_id   INTEGER NOT NULL REFERENCES logs,
  epoch    INTEGER NOT NULL CHECK (epoch >= 1),
  holder   TEXT NOT NULL,
  begun_at INTEGER NOT NULL,
  PRIMARY KEY (log_id, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE heads (
  log_id       INTEGER NOT NULL REFERENCES logs,
  size         INTEGER NOT NULL CHECK (size >= 0),
  base         INTEGER,
  root         BLOB NOT NULL CHECK (length(root) = 32),
  epoch        INTEGER NOT NULL,
  committed_at INTEGER NOT NULL,
  PRIMARY KEY (log_id, size),
  UNIQUE (log_id, base),
  FOREIGN KEY (log_id, base) REFERENCES heads (log_id, size),
  CHECK ((base IS NULL) = (size = 0)),
  CHECK (size > base),
  CHECK ((epoch = 0) = (size = 0))
) STRICT, WITHOUT ROWID;

CREATE TABLE chunks (
  log_id INTEGER NOT NULL,
  start  INTEGER NOT NULL CHECK (start >= 0),
  count  INTEGER NOT NULL,
  data   BLOB NOT NULL,
  PRIMARY KEY (log_id, start),
  CHECK (count >= 1 AND start % 256 + count <= 256)
) STRICT, WITHOUT ROWID;

CREATE TABLE tiles (
  log_id  INTEGER NOT NULL,
  level   INTEGER NOT NULL CHECK (level BETWEEN 0 AND 7),
  "index" INTEGER NOT NULL CHECK ("index" >= 0),
  root    BLOB NOT NULL CHECK (length(root) = 32),
  data    BLOB NOT NULL CHECK (length(data) = 8192),
  PRIMARY KEY (log_id, level, "index")
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
  log_id       INTEGER NOT NULL,
  number       INTEGER NOT NULL CHECK (number >= 0),
  size         INTEGER NOT NULL,
  note         BLOB NOT NULL,
  published_at INTEGER NOT NULL,
  PRIMARY KEY (log_id, number),
  FOREIGN KEY (log_id, size) REFERENCES heads (log_id, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_runs (
  log_id INTEGER NOT NULL REFERENCES logs,
  kind   TEXT NOT NULL,
  start  INTEGER NOT NULL CHECK (start >= 0),
  "end"  INTEGER NOT NULL,
  filter BLOB NOT NULL,
  PRIMARY KEY (log_id, kind, start),
  CHECK ("end" > start)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_pages (
  log_id    INTEGER NOT NULL,
  kind      TEXT NOT NULL,
  run_start INTEGER NOT NULL,
  first_key INTEGER NOT NULL,
  data      BLOB NOT NULL,
  PRIMARY KEY (log_id, kind, run_start, first_key),
  FOREIGN KEY (log_id, kind, run_start) REFERENCES key_runs ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- What may be inserted.

-- +goose StatementBegin
CREATE TRIGGER migrations_insert BEFORE INSERT ON migrations
BEGIN
  SELECT RAISE(ABORT, 'migrations_key: the row is there already')
  WHERE EXISTS (SELECT 1 FROM migrations WHERE id = NEW.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER logs_insert BEFORE INSERT ON logs
BEGIN
  SELECT RAISE(ABORT, 'logs_key: a log has that name or origin already')
  WHERE EXISTS (
    SELECT 1 FROM logs WHERE log_id = NEW.log_id
    UNION ALL SELECT 1 FROM logs WHERE name = NEW.name
    UNION ALL SELECT 1 FROM logs WHERE origin = NEW.origin
  );
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER epochs_insert BEFORE INSERT ON epochs
BEGIN
  SELECT RAISE(ABORT, 'epochs_next: the epoch does not follow the newest one')
  WHERE NEW.epoch IS NOT (SELECT coalesce(max(epoch), 0) + 1 FROM epochs WHERE log_id = NEW.log_id);
END;
-- +goose StatementEnd

-- The chunks of a commit are stored before its head, each where the one before
-- ends. So if the last one ends at the head's size there are no gaps.
--
-- +goose StatementBegin
CREATE TRIGGER heads_insert BEFORE INSERT ON heads
BEGIN
  SELECT RAISE(ABORT, 'heads_epoch_newest: the log has a newer epoch')
  WHERE NEW.epoch IS NOT (SELECT coalesce(max(epoch), 0) FROM epochs WHERE log_id = NEW.log_id);
  SELECT RAISE(ABORT, 'heads_base_newest: the base is not the newest head')
  WHERE NEW.base IS NOT (SELECT max(size) FROM heads WHERE log_id = NEW.log_id);
  SELECT RAISE(ABORT, 'heads_no_gaps: the chunks do not end where the head does')
  WHERE NEW.size IS NOT coalesce(
    (SELECT start + count FROM chunks WHERE log_id = NEW.log_id ORDER BY start DESC LIMIT 1), 0);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER chunks_insert BEFORE INSERT ON chunks
BEGIN
  SELECT RAISE(ABORT, 'chunks_no_gaps: the chunk does not start where the last one ends')
  WHERE NEW.start IS NOT coalesce(
    (SELECT start + count FROM chunks WHERE log_id = NEW.log_id ORDER BY start DESC LIMIT 1), 0);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tiles_insert BEFORE INSERT ON tiles
BEGIN
  SELECT RAISE(ABORT, 'tiles_key: the tile is there already')
  WHERE EXISTS (SELECT 1 FROM tiles WHERE log_id = NEW.log_id AND level = NEW.level AND "index" = NEW."index");
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER checkpoints_insert BEFORE INSERT ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints_next: the number does not follow the last one')
  WHERE NEW.number IS NOT (SELECT coalesce(max(number) + 1, 0) FROM checkpoints WHERE log_id = NEW.log_id);
  SELECT RAISE(ABORT, 'checkpoints_size: no head has that size')
  WHERE NOT EXISTS (SELECT 1 FROM heads WHERE log_id = NEW.log_id AND size = NEW.size);
END;
-- +goose StatementEnd

-- Nothing of it may be changed.

-- +goose StatementBegin
CREATE TRIGGER migrations_update BEFORE UPDATE ON migrations
BEGIN
  SELECT RAISE(ABORT, 'migrations is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER migrations_delete BEFORE DELETE ON migrations
BEGIN
  SELECT RAISE(ABORT, 'migrations is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER logs_update BEFORE UPDATE ON logs
BEGIN
  SELECT RAISE(ABORT, 'logs is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER logs_delete BEFORE DELETE ON logs
BEGIN
  SELECT RAISE(ABORT, 'logs is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER epochs_update BEFORE UPDATE ON epochs
BEGIN
  SELECT RAISE(ABORT, 'epochs is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER epochs_delete BEFORE DELETE ON epochs
BEGIN
  SELECT RAISE(ABORT, 'epochs is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER heads_update BEFORE UPDATE ON heads
BEGIN
  SELECT RAISE(ABORT, 'heads is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER heads_delete BEFORE DELETE ON heads
BEGIN
  SELECT RAISE(ABORT, 'heads is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER chunks_update BEFORE UPDATE ON chunks
BEGIN
  SELECT RAISE(ABORT, 'chunks is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER chunks_delete BEFORE DELETE ON chunks
BEGIN
  SELECT RAISE(ABORT, 'chunks is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tiles_update BEFORE UPDATE ON tiles
BEGIN
  SELECT RAISE(ABORT, 'tiles is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tiles_delete BEFORE DELETE ON tiles
BEGIN
  SELECT RAISE(ABORT, 'tiles is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER checkpoints_update BEFORE UPDATE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER checkpoints_delete BEFORE DELETE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints is insert-only: DELETE is refused');
END;
-- +goose StatementEnd
