-- How far each follower has come in each log. A cursor moves in the transaction
-- that stores what its follower has derived, and only from where it was thought to
-- stand. Cursors are derived, so they are updated.
--
-- The index of leaf hashes gets a cursor, and is built again from entry 0.
--
-- +goose Up

CREATE TABLE cursors (
  log_id   INTEGER NOT NULL REFERENCES logs,
  follower TEXT NOT NULL,
  version  INTEGER NOT NULL CHECK (version >= 1), -- of the form of what is derived
  next     INTEGER NOT NULL CHECK (next >= 0),    -- the first entry that is not applied
  PRIMARY KEY (log_id, follower)
) STRICT, WITHOUT ROWID;

DELETE FROM key_runs WHERE kind = 'leaf';
