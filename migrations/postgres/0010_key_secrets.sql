-- A secret of each log goes into the keys of its index of events. A key has 40 bits
-- of a hash: without a secret, anybody could compute events with one key in advance,
-- for all logs, and have each of them compared with all the others.
--
-- The server makes a secret when it first needs one, and removes the runs that were
-- made without it: the index of events is built again from the entries, once. Of runs
-- made with another secret nothing would be found, so it is never changed. Runs of the
-- old kind are of no use any more.
--
-- +goose Up

CREATE TABLE stele.key_secrets (
  log_id integer NOT NULL REFERENCES stele.logs,
  kind   text NOT NULL,
  secret bytea NOT NULL CHECK (length(secret) = 16),
  PRIMARY KEY (log_id, kind)
);

CALL stele.make_insert_only('stele.key_secrets');

GRANT SELECT, INSERT ON stele.key_secrets TO stele_server;

DELETE FROM stele.key_runs WHERE kind = 'event';
