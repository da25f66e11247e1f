-- The key index, with pages of another form, in tables with rowids: without them
-- SQLite reads whole rows to compare keys, and a run's filter is large. What is
-- there of it goes; it is built anew from the entries.
--
-- +goose Up

DROP TABLE key_pages;
DROP TABLE key_runs;

CREATE TABLE key_runs (
  log_id INTEGER NOT NULL REFERENCES logs,
  kind   TEXT NOT NULL,
  start  INTEGER NOT NULL CHECK (start >= 0),
  "end"  INTEGER NOT NULL,
  filter BLOB NOT NULL,
  PRIMARY KEY (log_id, kind, start),
  CHECK ("end" > start)
) STRICT;

CREATE TABLE key_pages (
  log_id    INTEGER NOT NULL,
  kind      TEXT NOT NULL,
  run_start INTEGER NOT NULL,
  first_key INTEGER NOT NULL,
  data      BLOB NOT NULL,
  PRIMARY KEY (log_id, kind, run_start, first_key),
  FOREIGN KEY (log_id, kind, run_start) REFERENCES key_runs ON DELETE CASCADE
) STRICT;
