-- How far each follower has come in each log. A cursor moves in the transaction
-- that stores what its follower has derived, and only from where it was thought to
-- stand: two servers that follow one log need no lease for it. Cursors are derived,
-- so the server may update them.
--
-- The index of leaf hashes gets a cursor, and is built again from entry 0.
--
-- +goose Up

CREATE TABLE stele.cursors (
  log_id   integer NOT NULL REFERENCES stele.logs,
  follower text NOT NULL,
  version  integer NOT NULL CHECK (version >= 1), -- of the form of what is derived
  next     bigint NOT NULL CHECK (next >= 0),     -- the first entry that is not applied
  PRIMARY KEY (log_id, follower)
);

GRANT SELECT, INSERT, UPDATE ON stele.cursors TO stele_server;

DELETE FROM stele.key_runs WHERE kind = 'leaf';
